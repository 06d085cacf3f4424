# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Prediction against the kernel: where they differ over one mutant."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kbtf_ci.btf.rules.check import Kernel, Verdict, check
from kbtf_ci.model.outcome import Observation
from tests.support.fuzzguest import Loads
from tests.support.mutate import Mutant

# kernel/printk/internal.h, PRINTK_MESSAGE_MAX: what /dev/kmsg gives of one record, head and escapes counted.
_READ_BYTES = 2048
_HEAD_BYTES = 60  # at most: "3,4294967296,4294967296,-;", and what is cut off
# What the kernel says of its own accord, whatever is loaded.
_ASIDE = re.compile(r"random: crng init done|clocksource: |sched_clock: |workqueue: |hrtimer: |TSC ")


@dataclass(frozen=True)
class Disagreement:
    """One mutant of which prediction and kernel say different things."""

    name: str
    mutant: Mutant
    predicted: Verdict
    observed: Observation

    def __str__(self) -> str:
        seen, said = self.observed, self.predicted
        lines = [
            f"{self.name} of {self.mutant.source or 'none'}: {self.mutant.text[:600]}",
            f"  predicted errno {said.errno} rule {said.rule!r}, sysfs {_digest(said.sysfs)}",
            *(f"    {line!r}" for line in said.log),
            f"  observed {seen.death or f'errno {seen.errno}'}, sysfs {seen.sysfs_bytes} {seen.sysfs_sha256}",
            *(f"    {line!r}" for line in seen.log[-40:]),
        ]
        return "\n".join(lines)


@dataclass
class Comparison:
    """All mutants of one run: what was seen, and which checks decided how often ("": none, accepted)."""

    seen: dict[str, Observation] = field(default_factory=dict)
    rules: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)

    def told(self) -> str:
        """Return what a person reads of it."""
        lines = [f"{number:7} {rule or 'accepted'}" for rule, number in sorted(self.rules.items())]
        lines += [
            f"{len(self.seen)} mutants loaded, {len(self.skipped)} left out whose unchecked ids the kernel "
            f"would follow, {len(self.rules) - ('' in self.rules)} checks hit, "
            f"{len(self.disagreements)} disagreements",
        ]
        return "\n".join([*map(str, self.disagreements), *lines])


def compare(kernel: Kernel, loads: Loads, mutants: Mapping[str, Mutant]) -> Comparison:
    """Hold the prediction for every mutant against the kernel.

    Those of which the prediction says that the kernel follows unchecked ids are not loaded.
    """
    result = Comparison()
    predicted = {name: check(kernel, name, mutant.btf, mutant.base) for name, mutant in mutants.items()}
    result.skipped = [name for name, verdict in predicted.items() if verdict.unchecked]
    chosen = {name: mutant for name, mutant in mutants.items() if not predicted[name].unchecked}
    for observation in loads.observe(chosen):
        verdict = predicted[observation.name]
        result.seen[observation.name] = observation
        result.rules[verdict.rule] += 1
        if differs(verdict, observation):
            mutant = chosen[observation.name]
            result.disagreements.append(Disagreement(observation.name, mutant, verdict, observation))
    return result


def differs(said: Verdict, seen: Observation) -> bool:
    """Whether errno, the bytes in sysfs or any line of the log differ."""
    if seen.death is not None or seen.errno != said.errno:
        return True
    if _digest(said.sysfs) != (seen.sysfs_bytes, seen.sysfs_sha256):
        return True
    log = [line for line in seen.log if not _ASIDE.match(line)]
    return len(log) != len(said.log) or not all(map(_same, said.log, log))


def _same(said: str, seen: str) -> bool:
    """Whether a line is as predicted, or what /dev/kmsg gives of it where its escapes are too long.

    Both were decoded with errors="replace".
    """
    if said == seen:
        return True
    # The last escape may be cut, and what needs none may still find room behind it.
    whole = seen[:-5]
    return _escaped(whole) > _READ_BYTES - _HEAD_BYTES and said.startswith(whole)


def _escaped(text: str) -> int:
    """Return how many bytes /dev/kmsg has for a text, at least (printk.c, msg_add_ext_text())."""
    plain = sum(1 for letter in text if " " <= letter <= "~" and letter != "\\")
    return plain + 4 * (len(text) - plain)


def _digest(data: bytes | None) -> tuple[int | None, str | None]:
    return (None, None) if data is None else (len(data), hashlib.sha256(data).hexdigest())


def save(path: Path, disagreements: Iterable[Disagreement]) -> None:
    """Write the mutants, a line of JSON each, for ``load``."""
    with path.open("w") as file:
        for one in disagreements:
            mutant = one.mutant
            values = {
                "name": one.name, "source": mutant.source, "text": mutant.text,
                "btf": _text(mutant.btf), "base": _text(mutant.base), "told": str(one),
            }  # fmt: skip
            file.write(json.dumps(values) + "\n")


def load(path: Path) -> Iterator[tuple[str, Mutant]]:
    """Yield names and mutants that ``save`` wrote."""
    for line in path.read_text().splitlines():
        values = json.loads(line)
        yield (
            values["name"],
            Mutant(values["source"], values["text"], _bytes(values["btf"]), _bytes(values["base"])),
        )


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
