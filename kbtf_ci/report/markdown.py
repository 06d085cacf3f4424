# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""summary.md: the summary for a pull request or a CI job's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kbtf_ci.infra.text import printable
from kbtf_ci.model.cause import Cause, causes
from kbtf_ci.model.names import some
from kbtf_ci.model.results import Results

_CAUSES: Final = 50
_NAMES: Final = 20
_LINES: Final = 12  # of the kernel's, of one cause
_LONGEST: Final = 500  # characters of one line


def markdown(results: Results, stages: Mapping[str, float]) -> str:
    """Return the document: the verdict, a section a cause, seconds of each stage.

    It is far below the 1 MiB that GitHub takes for a job's summary: it shows so many causes, names and lines,
    and says how many more there are.
    """
    found = causes(results)
    lines = [*_head(results), *(line for one in found[:_CAUSES] for line in _cause(one))]
    if len(found) > _CAUSES:
        lines += ["", f"and {len(found) - _CAUSES} more causes, in results.json and report.html"]
    lines += ["", "| stage | seconds |", "| --- | ---: |"]
    lines += [f"| {_cell(name)} | {seconds:.1f} |" for name, seconds in stages.items()]
    return "".join(f"{line}\n" for line in lines)


def _head(results: Results) -> Iterator[str]:
    kernel = results.kernel
    yield f"# Module BTF of {_cell(kernel.release)}: {results.verified} of {len(results.modules)} verified"
    yield ""
    yield f"pahole {_cell(kernel.pahole)}, {_cell(kernel.compiler)}; {results.btf_bytes:,} bytes of split BTF"


def _cause(cause: Cause) -> Iterator[str]:
    yield from ("", f"## {_cell(cause.title)}", "")
    told = [f"{count} {name}" for name, count in (cause.outcomes or {}).items()]
    told += [] if cause.counts else ["does not end the run with 1"]
    if told:
        yield from (", ".join(told), "")
    if cause.modules:
        yield from (_cell(some(cause.modules, _NAMES)), "")
    if cause.explanation:
        yield from (_cell(cause.explanation), "")
    yield from (f"    {printable(line)[:_LONGEST]}" for line in cause.lines[:_LINES])
    if len(cause.lines) > _LINES:
        yield f"    and {len(cause.lines) - _LINES:,} more lines"


def _cell(text: str) -> str:
    return printable(text)[:_LONGEST].replace("|", "\\|").replace("<", "&lt;")
