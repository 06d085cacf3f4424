"""The end of a run in a few lines of plain text: what was verified, and by name whatever was not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kbtf_ci.outcomes import ModuleResult, Outcome
from kbtf_ci.report.results import GuestFacts, KernelFacts, modes, totals

# How many of the kernel's lines on one module are shown; results.json has them all.
_LOG_LINES = 6
# How many modules that the run did not reach are named; beyond that the count says enough.
_UNREACHED_NAMES = 10


def summary(
    kernel: KernelFacts, guest: GuestFacts | None, results: Sequence[ModuleResult], ended: str = ""
) -> Iterator[str]:
    """Yield the lines of the summary; every module that is not VERIFIED stands in it with its reason."""
    counts = totals(results)
    size = sum(result.module.btf_bytes for result in results)
    yield f"kernel {kernel.release}: {counts['modules']} modules, {size:,} bytes of split BTF"
    if guest is not None:
        by_mode = ", ".join(f"{count} {mode}" for mode, count in modes(results).items())
        boots = f", {guest.boots} boots" if guest.boots > 1 else ""
        yield (
            f"guest ({guest.accel}): booted in {guest.boot_s:.1f} s, loaded in {guest.load_s:.1f} s"
            f"{boots}; verdicts by load mode: {by_mode or 'none'}"
        )
    if ended:
        yield f"the run ended early: {ended}"
    yield from _faults([result for result in results if result.outcome is not Outcome.VERIFIED])
    shown = (f"{counts[outcome.value.lower()]} {outcome.value}" for outcome in Outcome)
    yield ", ".join(text for text in shown if not text.startswith("0 ")) or "nothing was verified"


def _faults(faults: Sequence[ModuleResult]) -> Iterator[str]:
    unreached = [result for result in faults if result.outcome is Outcome.NOT_REACHED]
    for result in faults:
        if result.outcome is Outcome.NOT_REACHED:
            continue
        yield f"{result.outcome.value} {result.module.name} ({result.module.file}) {result.reason}".rstrip()
        log = result.observation.log if result.observation else ()
        yield from (f"    {line}" for line in log[-_LOG_LINES:])
    if unreached:
        names = ", ".join(result.module.name for result in unreached[:_UNREACHED_NAMES])
        more = len(unreached) - _UNREACHED_NAMES
        yield f"NOT_REACHED {names}" + (f" and {more} more" if more > 0 else "")
