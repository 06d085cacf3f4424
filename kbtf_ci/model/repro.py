# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a case of the catalogue came to: what the kernel was to say, held against what it said. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kbtf_ci.errors import ExitCode
from kbtf_ci.model.case import ANY, Expected
from kbtf_ci.model.outcome import Outcome, errno_text
from kbtf_ci.model.prediction import Prediction

# What stands for text that the kernel or the module decides, and what it may be.
_PLACES: Final = {
    "<number>": r"\d+",
    "<hex>": r"[0-9a-f]+",
    "<name>": r"\S*",
    "<text>": r".*",
    "<module>": "",  # the name that it goes by, put in later
}
NOT_BUILT: Final = "not built"
_PLACE = re.compile("|".join(_PLACES))
# How lines of a load begin that speak of BTF: kernel/bpf/btf.c, tools/lib/bpf/btf_relocate.c. Whatever else a
# kernel logs meanwhile is no business of a case's, but for lines that it expects. grep -E reads it, too.
ON_BTF: Final = (
    r"BPF:|failed to (validate|register) module \[|distilled base BTF|type \[[0-9]+\](,| in distilled)"
    r"|base BTF id \[|string '.*' \[offset|missing (module|vmlinux) BTF"
)
_ON_BTF = re.compile(ON_BTF)
_OF_MODULE = re.compile(r"failed to (?:validate|register) module \[([^\]]*)\]")


@dataclass(frozen=True)
class Observed:
    """What the kernel said; ``log`` holds all lines, ``vmlinux_difference`` the first one, "" for none.

    ``outcome`` is the verdict as any run would reach it, ``reason`` its words; None where there is no module,
    since its build failed. ``build`` is all that the build said. ``misdescribed`` are the functions that BPF
    programs found otherwise than the untouched module describes them, ``uncallable`` the kfuncs that they
    could not call.
    """

    outcome: Outcome | None
    errno: int = 0
    log: tuple[str, ...] = ()
    sysfs: bool = False
    vmlinux_difference: str = ""
    reason: str = ""
    build: tuple[str, ...] = ()
    misdescribed: tuple[str, ...] = ()
    uncallable: tuple[str, ...] = ()


def pattern(line: str, module: str) -> re.Pattern[str]:
    """Return what a line of an expected log stands for, of a module that goes by the name ``module``."""

    def place(match: re.Match[str]) -> str:
        return _PLACES[match[0]] or re.escape(module)

    parts = _PLACE.split(line)
    places = [place(match) for match in _PLACE.finditer(line)]
    text = "".join(re.escape(part) + spot for part, spot in zip(parts, [*places, ""], strict=True))
    return re.compile(text)


def lines_on_btf(log: Sequence[str], expected: Sequence[str], module: str) -> tuple[str, ...]:
    """Return the lines of ``log`` that speak of BTF, but for other modules', and those that are expected."""
    known = [pattern(line, module) for line in expected if line != ANY]

    def of_another(line: str) -> bool:
        match = _OF_MODULE.match(line)
        return match is not None and match[1] != module

    speaking = {line for line in on_btf(log) if not of_another(line)}
    return tuple(line for line in log if line in speaking or any(one.fullmatch(line) for one in known))


def on_btf(log: Iterable[str]) -> tuple[str, ...]:
    """Return the lines of a kernel's log that speak of BTF."""
    return tuple(line for line in log if _ON_BTF.match(line))


def agrees(expected: Sequence[str], found: Sequence[str], module: str) -> bool:
    """Return whether the lines ``found`` are those that were expected, in order."""
    if not expected:
        return not found
    first, rest = expected[0], expected[1:]
    if first == ANY:
        return any(agrees(rest, found[skipped:], module) for skipped in range(len(found) + 1))
    return (
        bool(found) and bool(pattern(first, module).fullmatch(found[0])) and agrees(rest, found[1:], module)
    )


def build_lines(build: Iterable[str], expected: Sequence[str], module: str) -> tuple[str, ...]:
    """Return the lines of a build that were expected, as far as they came, in their order."""
    found: list[str] = []
    for line in build:
        if len(found) < len(expected) and pattern(expected[len(found)], module).fullmatch(line):
            found.append(line)
    return tuple(found)


def faults(expected: Expected, observed: Observed, module: str) -> Iterator[str]:
    """Yield, a line each, in what the kernel did otherwise than expected."""
    if observed.outcome is not expected.outcome:
        why = f" ({observed.reason or 'loaded'})" if observed.outcome else ""
        yield f"{observed.outcome or NOT_BUILT} where {expected.outcome or NOT_BUILT} was expected{why}"
    said = build_lines(observed.build, expected.build, module)
    if len(said) < len(expected.build):
        yield f"its build did not say: {expected.build[len(said)]}"
    if observed.errno != expected.errno:
        yield f"errno {_errno(observed.errno)} where {_errno(expected.errno)} was expected"
    if observed.sysfs is not expected.sysfs:
        yield f"/sys/kernel/btf/{module} is {'' if observed.sysfs else 'not '}there"
    if not agrees(expected.log, lines_on_btf(observed.log, expected.log, module), module):
        yield "other lines in the kernel's log"
    if bool(observed.vmlinux_difference) is not expected.vmlinux_differs:
        yield f"vmlinux's BTF in memory: {observed.vmlinux_difference or 'as in the image'}"
    yield from _programs(expected, observed)


def _programs(expected: Expected, observed: Observed) -> Iterator[str]:
    for what in ("misdescribed", "uncallable"):
        found, wanted = (", ".join(getattr(one, what)) or "none" for one in (observed, expected))
        if found != wanted:
            yield f"what programs find {what}: {found} where {wanted} was expected"


def _errno(number: int) -> str:
    return errno_text(number) if number else "0"


@dataclass(frozen=True)
class CaseResult:
    """One case as it went.

    ``module`` is the name that its module goes by. ``inapplicable`` says why it was not tried, "" where it
    was; ``broken`` why it was tried and came to no word of the kernel's. ``control`` is what came of the
    untouched module, None where it was not reached. ``prediction`` is the offline check's, for comparison
    alone, and ``differs`` whether the kernel did not keep to it. ``seconds`` is the time of its load, or of
    its guest where it has one of its own, ``build_seconds`` of what make and other tools took before.
    ``misdescribed`` are the functions that are described otherwise than in the untouched module, offline.
    """

    name: str
    failure_class: int
    module: str
    expected: Expected
    observed: Observed | None = None
    inapplicable: str = ""
    broken: str = ""
    control: Outcome | None = None
    prediction: Prediction | None = None
    differs: bool = False
    seconds: float = 0.0
    build_seconds: float = 0.0
    misdescribed: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[str, ...]:
        """What speaks against it; () for a case that is as expected, or was not tried."""
        return () if self.inapplicable else tuple(self._faults())

    def _faults(self) -> Iterator[str]:
        if self.control is not Outcome.VERIFIED:
            yield f"the untouched module is {self.control or Outcome.NOT_REACHED}"
        if self.broken or self.observed is None:
            yield self.broken or "the guest ended before it"
        else:
            yield from faults(self.expected, self.observed, self.module)

    @property
    def ok(self) -> bool:
        """Whether the kernel did as expected; a case that was not tried never is."""
        return not self.inapplicable and not self.faults


def exit_code(results: Iterable[CaseResult]) -> ExitCode:
    """Return 0 when every case that applies is ok, and one at least does, else 1."""
    tried = [one for one in results if not one.inapplicable]
    return ExitCode.VERIFIED if tried and all(one.ok for one in tried) else ExitCode.NOT_VERIFIED
