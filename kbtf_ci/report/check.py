# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the offline check found, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kbtf_ci.infra.text import printable
from kbtf_ci.model.names import some
from kbtf_ci.model.outcome import Outcome, errno_text
from kbtf_ci.model.prediction import Disagreement, Prediction
from kbtf_ci.model.usable import Unusable

SCHEMA = "kbtf-ci/check/1"
STALE = "would load, but its BTF does not belong to this vmlinux"
_LOG_LINES = 6
_REPEATED_STRUCTS = (
    "for BPF these are other types than vmlinux's; libbpf up to 1.5 writes them so of Linux 6.15 and later "
    "where a gcc with typeof_unqual built it, 1.6 does not"
)
_REPEATED_TYPEDEFS = "libbpf writes them so from 1.7 on, up to its commit 5b0f3729"


def document(
    release: str,
    version: tuple[int, int],
    predictions: Sequence[Prediction],
    warnings: Sequence[str] = (),
    *,
    read_off: Sequence[str] = (),
    unusable: Sequence[Unusable] = (),
    architecture: str = "",
) -> dict[str, Any]:
    """Return the JSON document: one entry a module, and what makes them less sure.

    ``read_off`` names the rules that the kernel's own BTF told; the others are its version's. ``unusable``
    are vmlinux's own kfuncs. ``architecture`` is the kernel's name of it, "" for not known.
    """
    return {
        "schema": SCHEMA,
        "kernel": {
            "release": release,
            "architecture": architecture or None,
            "rules": ".".join(map(str, version)),
            "rules_read_off": list(read_off),
            "unusable": unusable_entries(unusable),
        },
        "warnings": list(warnings),
        "totals": {"modules": len(predictions), **totals(predictions)},
        "modules": [entry(one) for one in predictions],
    }


def entry(one: Prediction) -> dict[str, Any]:
    """Return one module's prediction as JSON holds it."""
    return {
        "name": one.name,
        "file": one.file,
        "outcome": one.outcome.value,
        "errno": -one.errno if one.errno else None,
        "rule": one.rule,
        "kernel_log": list(one.log),
        "btf_bytes": one.btf_bytes,
        "sysfs_sha256": one.sysfs_sha256,
        "base_mismatch": one.base_mismatch,
        "misfit": one.base_mismatch,  # its name in kbtf-ci 0.1
        "cause": one.cause,
        "advice": one.advice,
        "loader_checks": one.loader_checks,
        "unusable": unusable_entries(one.unusable),
        "extra_bytes": one.extra_bytes,
        "repeated_typedefs": one.repeated_typedefs,
        "repeated_structs": one.repeated_structs,
        "empty_btf": one.empty_btf,
    }


def unusable_entries(found: Iterable[Unusable]) -> list[dict[str, Any]]:
    """Return kfuncs that programs cannot call as JSON holds them."""
    return [
        {
            "kfunc": one.kfunc,
            "set": one.set_name or None,
            "rule": one.rule,
            "why": one.why,
            "since": one.since,
            "way_out": one.way_out,
        }
        for one in found
    ]


def unusable_lines(owner: str, found: Sequence[Unusable]) -> Iterator[str]:
    """Yield what is wrong with the kfuncs of one owner, a line each and a way out for all that share it."""
    if not found:
        return
    yield f"{owner}: {len(found)} kfuncs that no BPF program can call"
    yield from (f"    {printable(one.line)}" for one in found)
    yield from (f"    -> {way_out}" for way_out in dict.fromkeys(one.way_out for one in found))


def totals(predictions: Sequence[Prediction]) -> dict[str, int]:
    """Return how many modules are accepted, flagged (accepted all the same), refused, or have no BTF."""
    flagged = sum(one.outcome is Outcome.VERIFIED and not one.is_fine for one in predictions)
    counts = Counter(one.outcome for one in predictions)
    return {
        "accepted": counts[Outcome.VERIFIED],
        "flagged": flagged,
        "rejected": counts[Outcome.REJECTED],
        "dropped": counts[Outcome.DROPPED],
        "no_btf": counts[Outcome.NO_BTF],
        "load_failed": counts[Outcome.LOAD_FAILED],
        "unreadable": counts[Outcome.UNREADABLE],
    }


def text(
    kernel: str,
    version: tuple[int, int],
    predictions: Sequence[Prediction],
    unusable: Sequence[Unusable] = (),
) -> Iterator[str]:
    """Yield the lines that a person reads: what is wrong, by advice, and the totals.

    ``kernel`` is what it goes by, ``unusable`` are vmlinux's own kfuncs.
    """
    yield from unusable_lines("vmlinux", unusable)
    for one in predictions:
        yield from unusable_lines(f"{one.name} ({one.file})", one.unusable)
    by_advice: dict[tuple[str, str], list[Prediction]] = {}
    for one in predictions:
        if one.cause or one.outcome is not Outcome.VERIFIED:
            by_advice.setdefault((one.cause, one.advice), []).append(one)
    for (cause, advice), modules in sorted(by_advice.items(), key=lambda item: -len(item[1])):
        for one in modules:
            yield from _module(one)
        yield f"  -> {cause}: {advice}"
        yield ""
    yield from _remarks(predictions)
    size = sum(one.btf_bytes for one in predictions)
    rules = ".".join(map(str, version))
    yield f"{kernel}, rules of {rules}: {len(predictions)} modules, {size:,} bytes of split BTF"
    yield one_line(predictions)


def _remarks(predictions: Sequence[Prediction]) -> Iterator[str]:
    """Yield what is to be known beside the verdicts."""
    raw = sum(not one.loader_checks for one in predictions)
    if raw:
        yield f"{raw} raw BTF: what the module loader asks before it looks at BTF is not checked there"
    extra = [one.extra_bytes for one in predictions if one.extra_bytes]
    if extra:
        yield f"{len(extra)} modules hold a .BTF.extra section ({sum(extra):,} bytes), which is not judged"
    yield from curious(predictions)


def curious(predictions: Sequence[Prediction]) -> Iterator[str]:
    """Yield what modules' BTF has that the kernel takes and nobody wants: no type, or vmlinux's once more."""
    if empty := [one.name for one in predictions if one.empty_btf]:
        yield (
            f"{len(empty)} modules have BTF without a type: they load, and no BPF program can use them; "
            "pahole leaves out what is written in Rust, and functions that it finds ambiguous: "
            f"{printable(some(empty))}"
        )
    for what, counts, why in (
        ("structs", [one.repeated_structs for one in predictions], _REPEATED_STRUCTS),
        ("typedefs", [one.repeated_typedefs for one in predictions], _REPEATED_TYPEDEFS),
    ):
        if modules := sum(count > 0 for count in counts):
            yield (
                f"{modules} modules repeat {what} of vmlinux ({sum(counts):,}), and types that lead to "
                f"these: they load, and are larger than they have to be; {why}"
            )


def one_line(predictions: Sequence[Prediction]) -> str:
    """Return the totals in a line."""
    counts = totals(predictions)
    words = {"flagged": "of them flagged"} if counts["flagged"] else {}
    shown = (
        f"{n} {words.get(name, name.replace('_', ' '))}" for name, n in counts.items() if _shown(name, n)
    )
    return ", ".join(shown)


def _shown(name: str, number: int) -> bool:
    return number > 0 or name in ("accepted", "flagged")


def _module(one: Prediction) -> Iterator[str]:
    if one.outcome is Outcome.VERIFIED:
        yield f"{one.name} ({one.file}) {STALE}" if one.base_mismatch else f"{one.name} ({one.file})"
        if one.base_mismatch:
            yield f"    {one.base_mismatch}"
        return
    errno = f" {errno_text(one.errno)}" if one.errno else ""
    yield f"{one.outcome.value} {one.name} ({one.file}){errno}"
    yield from (f"    {line}" for line in one.log[-_LOG_LINES:])


def differences(found: Sequence[Disagreement]) -> Iterator[str]:
    """Yield, side by side, what was predicted and what the kernel did."""
    for one in found:
        predicted, result, seen = one.prediction, one.result, one.result.observation
        yield f"PREDICTION AND KERNEL DISAGREE on {result.module.name} ({result.module.file})"
        yield from _side("predicted", predicted.outcome, predicted.errno, predicted.log)
        yield from _side("observed", result.outcome, seen.errno if seen else 0, seen.log if seen else ())


def _side(who: str, outcome: Outcome, errno: int, log: Sequence[str]) -> Iterator[str]:
    yield f"    {who}: {outcome.value} {errno_text(errno) if errno else ''}".rstrip()
    yield from (f"        {line}" for line in log)
