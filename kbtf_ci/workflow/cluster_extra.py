# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether what a cluster takes is installed: the extra ``cluster``, which nothing else wants."""

from __future__ import annotations

from importlib.util import find_spec

from kbtf_ci.errors import UsageError


def require() -> None:
    """Raise UsageError where Dask's distributed is not installed."""
    if find_spec("distributed") is None:
        raise UsageError(
            "a scheduler takes Dask's distributed, which is not installed",
            hint="pip install 'kbtf-ci[cluster]'",
        )
