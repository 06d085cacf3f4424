# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Outcomes, exit codes, findings and load modes: the words of a verdict."""

from __future__ import annotations

from collections.abc import Iterator

from docs.from_code.markdown import code, plain, table
from kbtf_ci.errors import MEANINGS, ExitCode
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FINDINGS, FailOn
from kbtf_ci.model.outcome import LOAD_POLICIES, OUTCOMES, LoadPolicy, Outcome


def outcomes() -> Iterator[str]:
    """Yield the table of outcomes."""
    yield from table(("outcome", "when"), ((code(one), plain(OUTCOMES[one])) for one in Outcome))


def exit_codes() -> Iterator[str]:
    """Yield the table of exit codes."""
    yield from table(("exit code", "meaning"), ((str(int(one)), plain(MEANINGS[one])) for one in ExitCode))


def findings() -> Iterator[str]:
    """Yield the table of what --fail-on may name."""
    rows = ((code(one), plain(FINDINGS[one]), "yes" if one in DEFAULT_FAIL_ON else "no") for one in FailOn)
    yield from table(("finding", "what it is", "counts by itself"), rows)


def load_modes() -> Iterator[str]:
    """Yield the table of what --load takes."""
    yield from table(("`--load`", "how"), ((code(one), plain(LOAD_POLICIES[one])) for one in LoadPolicy))
