# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The table of regeneration: what each scenario made kbuild do and what that cost, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.regeneration import (
    COMMIT_AFTER,
    COMMIT_BEFORE,
    COMMIT_CORES,
    COMMIT_JOBS,
    COMMIT_MODULES,
    Boot,
    Finding,
    Rule,
    Scenario,
    Served,
    Usage,
)
from kbtf_ci.model.sizes import COMMIT

REGEN_SCHEMA = "kbtf-ci/regen/1"

_HEADS = ("LD [M]", "BTF [M]", "due", "missed", "unnecessary", "wall s", "user s", "sys s",
          "BTF: modules", "vmlinux", "link: modules", "vmlinux", "rest", "peak MiB")  # fmt: skip
_WIDTHS = tuple(max(len(head), 5) for head in _HEADS)
_NAMED = 5  # modules told by name in a remark


@dataclass(frozen=True)
class Setting:
    """Where and on what it was measured; ``cache`` says whether the BTF cache answered for pahole."""

    release: str
    modules: int
    jobs: int
    cores: int
    rule: Rule
    cache: bool


def text(setting: Setting, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the lines that a person reads."""
    cache = "with the BTF cache" if setting.cache else "without the BTF cache"
    yield (
        f"kernel {setting.release}, {setting.modules} modules, make -j{setting.jobs} on {setting.cores} "
        f"cores, {cache}"
    )
    yield f"rule (scripts/Makefile.modfinal), vmlinux newer: {setting.rule.value}"
    yield ""
    width = max(len(finding.scenario.value) for finding in findings)
    yield f"{'':<{width}}" + _cells(_HEADS)
    for finding in findings:
        yield f"{finding.scenario.value:<{width}}" + _cells(_row(finding))
        if finding.server is not None:
            yield f"{'  by a server':<{width}}" + _cells(_served_row(finding.server))
    yield "due, missed, unnecessary: modules; CPU s: BTF (pahole, resolve_btfids), link (ld), rest (other)"
    for finding in findings:
        yield from _remarks(finding, setting.rule)
    yield from _commit_table(setting, findings)


def document(setting: Setting, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what ``--json`` prints; times in seconds, memory in KiB."""
    return {
        "schema": REGEN_SCHEMA,
        "kernel": {"release": setting.release, "modules": setting.modules},
        "jobs": setting.jobs,
        "cores": setting.cores,
        "cache": setting.cache,
        "rule": {"name": setting.rule.name.lower(), "text": setting.rule.value},
        "scenarios": [_entry(finding) for finding in findings],
        "commit": {
            "id": COMMIT,
            "cores": COMMIT_CORES,
            "jobs": COMMIT_JOBS,
            "modules": COMMIT_MODULES,
            "before": asdict(COMMIT_BEFORE),
            "after": asdict(COMMIT_AFTER),
        },
    }


def _row(finding: Finding) -> Iterator[str]:
    ran, usage = finding.ran, finding.ran.usage
    counts = (ran.linked, ran.written, finding.due, finding.missed, finding.unnecessary)
    yield from (str(len(files)) for files in counts)
    yield from _costs(usage)


def _served_row(served: Served) -> Iterator[str]:
    yield from (str(len(served.ran.linked)), str(len(served.ran.written)), "", "", "")
    yield from _costs(served.ran.usage)


def _costs(usage: Usage) -> Iterator[str]:
    yield from (f"{value:.1f}" for value in (usage.wall_s, usage.user_s, usage.system_s))
    yield from (f"{value:.1f}" for value in (usage.modules_cpu_s, usage.base_cpu_s))
    yield from (f"{value:.1f}" for value in (usage.modules_link_cpu_s, usage.base_link_cpu_s))
    yield f"{usage.rest_cpu_s:.1f}"
    yield f"{usage.peak_kib / 1024:.0f}"


def _remarks(finding: Finding, rule: Rule) -> Iterator[str]:
    name = finding.scenario.value
    if finding.stale:
        yield f"STALE {name}: {_some(finding.stale)} kept BTF that is not of this vmlinux and module"
        checked = [file for file in finding.stale if file in finding.check]
        yield f"    the offline check says so of {len(checked)} of {len(finding.stale)}" + (
            f": {checked[0]}: {finding.check[checked[0]]}" if checked else ""
        )
    yield from _boot_remarks(finding)
    if finding.lost_btf:
        yield f"{name}: {_some(finding.lost_btf)} left without BTF: make has no reason to look at a newer .ko"
    if finding.scenario is Scenario.PAHOLE_CHANGED and finding.missed:
        yield (
            f"{name}: {len(finding.missed)} modules keep the BTF of the pahole before; kbuild asks for its "
            "version only when it is configured, and makes nothing depend on it"
        )
    if finding.btf_ids_reordered:
        files = _some(finding.btf_ids_reordered)
        yield (
            f"{name}: kfunc flags are no longer where they were in .BTF_ids of {files}: "
            "resolve_btfids ran twice on one link"
        )
    if not finding.as_expected:
        linked, written = finding.expected
        yield f"{name}: not what the rule predicts, {linked} LD [M] and {written} BTF [M] ({rule.value})"
    usage = finding.ran.usage
    if usage.hits or usage.misses:
        yield f"{name}: {usage.hits} modules from the cache, {usage.misses} not in it"
    if finding.server is not None:
        yield from _server_remarks(name, usage, finding.server)


def _server_remarks(name: str, alone: Usage, served: Served) -> Iterator[str]:
    usage, before = served.ran.usage, alone.modules_cpu_s
    share = (
        f", {usage.modules_cpu_s / alone.modules_cpu_s:.2f} of the CPU time" if alone.modules_cpu_s else ""
    )
    yield (
        f"{name}: {usage.served} modules by the server, {usage.fallbacks} by pahole itself in its place; "
        f"{before:.1f} s -> {usage.modules_cpu_s:.1f} s for modules' BTF{share}; "
        f"{usage.modules_ids_cpu_s:.1f} s of that are resolve_btfids'"
    )
    if served.differing:
        yield f"DIFFERENT {name}: {_some(served.differing)} got other BTF from the server than from pahole"


def _boot_remarks(finding: Finding) -> Iterator[str]:
    boot = finding.boot
    if boot is None:
        return
    files = [file for file in finding.stale or boot.outcomes if file in boot.outcomes]
    counts = Counter(boot.outcomes[file] for file in files).most_common()
    # Stale BTF that is held byte for byte is no good news.
    words = {Outcome.VERIFIED: "taken unnoticed"} if finding.stale else {}
    told = ", ".join(f"{number} {words.get(outcome, outcome.value)}" for outcome, number in counts)
    where = "    " if finding.stale else f"{finding.scenario.value}: "
    if boot.error is not None:
        yield f"{where}a boot ended early ({told} of {len(files)}): {boot.error.message}"
        return
    check = f"otherwise of {_some(boot.disagreements)}" if boot.disagreements else "each"
    yield f"{where}a boot ({boot.accel}) says of {len(files)}: {told}; the check predicted {check}"


def _boot_entry(boot: Boot) -> dict[str, Any]:
    return {
        "accel": boot.accel,
        "boot_s": boot.boot_s,
        "outcomes": {file: outcome.value for file, outcome in boot.outcomes.items()},
        "disagreements": list(boot.disagreements),
        "ended": boot.error.message if boot.error else None,
    }


def _commit_table(setting: Setting, findings: Sequence[Finding]) -> Iterator[str]:
    by_scenario = {finding.scenario: finding.ran for finding in findings}
    idle, touched = by_scenario.get(Scenario.NOTHING), by_scenario.get(Scenario.TOUCHED)
    if idle is None or touched is None or not touched.written:
        return
    title = f"BESIDE COMMIT {COMMIT}: touch vmlinux; make"
    yield from ("", title, "=" * len(title), "")
    heads = ("cores", "-j", "modules", "wall before", "after", "CPU s before", "after", "CPU ms a module")
    widths = (6, 4, 8, 12, 8, 13, 8, 16)
    yield f"{'':<8}" + _cells(heads, widths)
    before, after = COMMIT_BEFORE, COMMIT_AFTER
    commit = (COMMIT_CORES, COMMIT_JOBS, COMMIT_MODULES, before, after)
    here = (setting.cores, setting.jobs, len(touched.written), idle.usage, touched.usage)
    for name, (cores, jobs, modules, first, second) in (("commit", commit), ("here", here)):
        times = (f"{first.wall_s:.3f}", f"{second.wall_s:.3f}", f"{first.cpu_s:.2f}", f"{second.cpu_s:.2f}")
        each = f"{1000 * (second.cpu_s - first.cpu_s) / modules:.0f}"
        yield f"{name:<8}" + _cells((str(cores), str(jobs), str(modules), *times, each), widths)
    yield "before: the commit's without BTF of modules, here make with nothing to do"


def _entry(finding: Finding) -> dict[str, Any]:
    ran = finding.ran
    linked, written = finding.expected
    return {
        "name": finding.scenario.value,
        "linked": sorted(ran.linked),
        "written": sorted(ran.written),
        "vmlinux_linked": ran.vmlinux,
        "due": list(finding.due),
        "missed": list(finding.missed),
        "stale": list(finding.stale),
        "lost_btf": list(finding.lost_btf),
        "bare": list(finding.lost_btf),
        "unnecessary": list(finding.unnecessary),
        "needless": list(finding.unnecessary),
        "btf_ids_reordered": list(finding.btf_ids_reordered),
        "shuffled": list(finding.btf_ids_reordered),
        "expected": {"linked": linked, "written": written},
        "check": dict(finding.check),
        "boot": _boot_entry(finding.boot) if finding.boot else None,
        "usage": _usage_entry(ran.usage),
        "server": _served_entry(finding.server) if finding.server else None,
    }


def _usage_entry(usage: Usage) -> dict[str, Any]:
    return {**asdict(usage), "rest_cpu_s": round(usage.rest_cpu_s, 3)}


def _served_entry(served: Served) -> dict[str, Any]:
    return {"usage": _usage_entry(served.ran.usage), "differing": list(served.differing)}


def _some(files: Sequence[str]) -> str:
    names = ", ".join(files[:_NAMED])
    return names if len(files) <= _NAMED else f"{names} and {len(files) - _NAMED} more"


def _cells(texts: Iterable[str], widths: Sequence[int] = _WIDTHS) -> str:
    return "".join(f" {cell:>{width}}" for cell, width in zip(texts, widths, strict=True))
