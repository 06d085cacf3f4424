# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel says of itself, whoever built it."""

from __future__ import annotations

from pydantic.dataclasses import dataclass


@dataclass(frozen=True)
class KernelFacts:
    """What kernel the results speak of; "" for what its files do not say.

    ``pahole`` is its version as Kconfig writes it (``"130"`` for 1.30).
    """

    release: str
    config_sha256: str = ""
    pahole: str = ""
    compiler: str = ""
