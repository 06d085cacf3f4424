# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""summary.md: the summary for a pull request or a CI job's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from kbtf_ci.infra.text import printable
from kbtf_ci.model.cause import Cause, causes
from kbtf_ci.model.names import some
from kbtf_ci.model.results import Results
from kbtf_ci.report.markdown_text import LONGEST, text

_CAUSES: Final = 50
_NAMES: Final = 20
_LINES: Final = 12  # of the kernel's, of one cause
_STAGES: Final = 50
_BYTES: Final = 512 * 1024  # of all causes


def markdown(results: Results, stages: Mapping[str, float], note: str = "") -> str:
    """Return the document: the verdict, a section a cause, seconds of each stage, and ``note``, if any.

    It is below the 1 MiB that GitHub takes for a step's summary: it shows so many causes, names and lines,
    and says how many more there are.
    """
    found = causes(results)
    sections = _within([list(_cause(one)) for one in found[:_CAUSES]])
    lines = [*_head(results), *(line for section in sections for line in section)]
    if len(found) > len(sections):
        lines += ["", f"and {len(found) - len(sections):,} more causes, in results.json and report.html"]
    lines += ["", "| stage | seconds |", "| --- | ---: |"]
    lines += [f"| {text(name)} | {seconds:.1f} |" for name, seconds in islice(stages.items(), _STAGES)]
    if note:
        lines += ["", text(note)]
    return _joined(lines)


def fitting(document: str, room: int) -> str:
    """Return a document that takes at most ``room`` bytes: cut behind a line, which it says then, or ""."""
    if len(document.encode()) <= room:
        return document
    last = "\n\nand more, in summary.md of the run directory\n"
    kept = document.encode()[: max(0, room - len(last))].rpartition(b"\n")[0].decode(errors="ignore")
    return kept + last if kept else ""


def _within(sections: Sequence[list[str]]) -> Sequence[list[str]]:
    size = 0
    for number, section in enumerate(sections):
        size += len(_joined(section).encode())
        if size > _BYTES:
            return sections[:number]
    return sections


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _head(results: Results) -> Iterator[str]:
    kernel = results.kernel
    yield f"# Module BTF of {text(kernel.release)}: {results.verified} of {len(results.modules)} verified"
    yield ""
    yield f"pahole {text(kernel.pahole)}, {text(kernel.compiler)}; {results.btf_bytes:,} bytes of split BTF"


def _cause(cause: Cause) -> Iterator[str]:
    yield from ("", f"## {text(cause.title)}", "")
    told = [f"{count} {name}" for name, count in (cause.outcomes or {}).items()]
    told += [] if cause.counts else ["does not end the run with 1"]
    if told:
        yield from (", ".join(told), "")
    if cause.modules:
        shown = [text(name) for name in cause.modules[:_NAMES]]
        yield from (some([*shown, *cause.modules[_NAMES:]], _NAMES), "")
    if cause.explanation:
        yield from (text(cause.explanation), "")
    yield from (f"    {printable(line)[:LONGEST]}" for line in cause.lines[:_LINES])
    if len(cause.lines) > _LINES:
        yield f"    and {len(cause.lines) - _LINES:,} more lines"
