# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The catalogue of failures that ``kbtf-ci repro`` provokes."""

from __future__ import annotations

from collections.abc import Iterator

from docs.from_code.markdown import block, plain
from kbtf_ci.btf.cases.catalogue import CASES
from kbtf_ci.report import repro


def page() -> Iterator[str]:
    """Yield a section a case: what ``repro show`` says of it."""
    for case in CASES:
        yield f"## {case.name}"
        yield ""
        number = case.failure_class
        yield f"{plain(case.title)}. [Class {number}](../troubleshooting.md#class-{number})"
        yield ""
        yield from block(list(repro.page(case))[1:])
