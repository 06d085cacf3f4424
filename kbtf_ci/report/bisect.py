# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a bisection came to: as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from kbtf_ci.model.bisect import Commit, Found, Standing, Step, Subject, Words

SCHEMA: Final = "kbtf-ci/bisect/1"
_COLUMN = 72


@dataclass(frozen=True)
class Page:
    """All there is to say.

    ``before`` and ``after`` are the last good run's and the first bad one's words, ``bundle`` is the path of
    an archive that shows the latter, "" for none.
    """

    subject: Subject
    tree: str
    standing: Standing
    found: Found
    module: str
    before: Words | None
    after: Words | None
    bundle: str = ""


def text(page: Page) -> Iterator[str]:
    """Yield a line for each commit tried, the first bad one, and what the kernel said before and after."""
    for number, step in enumerate(page.standing.steps, 1):
        yield _line(number, step)
    yield ""
    if page.found.first_bad is not None:
        first = page.found.first_bad
        yield f"first bad commit of {page.subject}: {first.sha}"
        yield f"    {first.subject}"
        yield f"    {first.author}, {first.date}"
    else:
        yield "cannot tell: only commits that cannot be tried are left; the first bad one is one of"
        yield from (f"    {one}, {one.date}" for one in page.found.possible)
    if page.module:
        yield f"module: {page.module}"
    yield from _words("before", page.before)
    yield from _words("after", page.after)
    if page.bundle:
        yield f"bundle: {page.bundle}"
    seconds = sum(step.seconds for step in page.standing.steps)
    yield f"{len(page.standing.steps)} commits tried in {seconds:.0f} s: {page.standing.folder}"


def _line(number: int, step: Step) -> str:
    judgement = step.judgement
    reason = judgement.reason if len(judgement.reason) <= _COLUMN else f"{judgement.reason[: _COLUMN - 3]}..."
    return f"{number:3} {step.commit.short} {judgement.mark:<4} {step.seconds:7.1f} s  {reason}"


def _words(title: str, words: Words | None) -> Iterator[str]:
    if words is None:
        return
    yield f"{title}, at {words.commit.short}: {words.outcome or 'no word on it'}"
    yield from (f"    {line}" for line in words.log)
    yield f"    run directory: {words.folder}"


def document(page: Page) -> dict[str, Any]:
    """Return the JSON document; ``first_bad`` is None where commits that cannot be tried hide it."""
    ends, found = page.standing.ends, page.found
    return {
        "schema": SCHEMA,
        "subject": page.subject.value,
        "tree": page.tree,
        "good": _commit(ends.good),
        "bad": _commit(ends.bad),
        "module": page.module or None,
        "first_bad": _commit(found.first_bad) if found.first_bad else None,
        "possible": [_commit(one) for one in found.possible],
        "before": _said(page.before),
        "after": _said(page.after),
        "bundle": page.bundle or None,
        "seconds": round(sum(step.seconds for step in page.standing.steps), 1),
        "folder": page.standing.folder,
        "steps": [_step(step) for step in page.standing.steps],
    }


def _commit(commit: Commit) -> dict[str, str]:
    return {"commit": commit.sha, "subject": commit.subject, "author": commit.author, "date": commit.date}


def _said(words: Words | None) -> dict[str, Any] | None:
    if words is None:
        return None
    return {
        "commit": words.commit.sha,
        "outcome": words.outcome or None,
        "kernel_log": list(words.log),
        "run_directory": words.folder,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        **_commit(step.commit),
        "verdict": step.judgement.mark.value,
        "reason": step.judgement.reason,
        "seconds": step.seconds,
        "run_directory": step.folder,
    }
