# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the BTF cache saves of ``touch vmlinux && make``: CPU time over the make that has nothing to do.

In each round make runs with nothing to do, then after a touched vmlinux with no cache, with an empty one and
with the one that this filled, and all that once more backwards; ratios are taken of a round's means, and
their medians printed. Every make is called through the same wrapper, so that kbuild sees the same pahole.

With --identity it measures nothing: all modules are linked and given BTF anew with no, an empty and a filled
cache, and their files held against each other.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from kbtf_ci.container.image import DEFAULT_SUITE
from kbtf_ci.kernel.btfcache import Wrapper
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.measure import MakeOverrides, measure
from kbtf_ci.kernel.source import file_sha256
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.regeneration import Usage
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import workspace


def main() -> None:
    """Print each round's CPU seconds, and the medians of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="defconfig")
    parser.add_argument("--suite", default=DEFAULT_SUITE)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--identity", action="store_true")
    options = parser.parse_args()
    build = BuildOptions(options.config, len(os.sched_getaffinity(0)), options.suite)
    with (
        TerminalReporter(quiet=True) as reporter,
        workspace.open_build(build, reporter) as kbuild,
        tempfile.TemporaryDirectory(dir=kbuild.build_dir.parent) as scratch,
    ):
        if options.identity:
            sys.exit(_identity(kbuild, Path(scratch)))
        _rounds(kbuild, options.rounds, Path(scratch))


def _rounds(kbuild: Kbuild, rounds: int, scratch: Path) -> None:
    _make(kbuild, None)  # whatever is left over, and kbuild's look at another PAHOLE=
    cheaper, dearer = [], []
    for number in range(rounds):
        over = _round(kbuild, scratch / str(number))
        cheaper.append(over["none"] / over["warm"])
        dearer.append(over["cold"] / over["none"])
        told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in over.items())
        print(f"round {number + 1}, CPU s over nothing to do: {told}", flush=True)
    print(f"warm cache cheaper than none: {statistics.median(cheaper):.2f} times (median of {rounds})")
    print(f"cold cache against none: {100 * (statistics.median(dearer) - 1):+.1f} % (median of {rounds})")


def _round(kbuild: Kbuild, scratch: Path) -> dict[str, float]:
    """Return the CPU seconds of one round, each the mean of its makes, less those of nothing to do."""
    used: dict[str, list[float]] = {}
    # There and back: a machine that grows slower or faster meanwhile favours none of them.
    for name in ("idle", "none", "cold", "warm", "warm", "cold", "none", "idle"):
        made = len(used.setdefault(name, []))
        cache = scratch / str(made if name == "cold" else 0)
        cache.mkdir(parents=True, exist_ok=True)
        usage = _make(kbuild, None) if name == "idle" else _touched(kbuild, cache if name != "none" else None)
        used[name].append(usage.cpu_s)
        print(f"  {name}: {usage.cpu_s:.1f} CPU s, wall {usage.wall_s:.1f} s, {usage.hits} hits", flush=True)
    mean = {name: statistics.mean(values) for name, values in used.items()}
    return {name: mean[name] - mean["idle"] for name in ("none", "cold", "warm")}


def _identity(kbuild: Kbuild, cache: Path) -> int:
    _make(kbuild, None)
    files = [kbuild.build_dir / file for file in kbuild.modules]
    seen = []
    for name, folder in (("none", None), ("cold", cache), ("warm", cache)):
        for file in files:
            file.unlink()
        usage = _make(kbuild, folder)
        seen.append({file: file_sha256(file) for file in files})
        print(f"{name}: {len(files)} modules, {usage.hits} hits {usage.misses} misses", flush=True)
    differing = [file.name for file in files if len({digests[file] for digests in seen}) > 1]
    print(f"files that differ: {len(differing)}", *differing[:5])
    return 1 if differing else 0


def _touched(kbuild: Kbuild, cache: Path | None) -> Usage:
    os.utime(kbuild.build_dir / "vmlinux")
    return _make(kbuild, cache)


def _make(kbuild: Kbuild, cache: Path | None) -> Usage:
    return measure(replace(kbuild, wrapper=Wrapper(cache)), MakeOverrides(), lambda line: None).usage


if __name__ == "__main__":
    main()
