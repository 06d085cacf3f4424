# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The offline check of a run's modules: ``kbtf-ci check`` against a loop of ``bpftool btf dump`` over them.

bpftool only reads and prints what check judges. It is the toolchain image's own, copied out with its
libraries and run by its own loader, so that both sides are plain processes on this machine, on the same files
in the page cache. kbtf-ci is timed as a whole, from the interpreter's start, and unpacks the kernel for
itself; bpftool is given the base as raw BTF, which it reads soonest. All take turns; the medians of the
rounds' ratios are printed, and the peak memory of the check's largest process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kbtf_ci.container import image
from kbtf_ci.container.engine import Engine
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.infra.runner import Command, Mount, run
from kbtf_ci.objfile.files import read_kernel_file

_COPY = """
set -e
bpftool=$(command -v bpftool)
cp "$bpftool" $(ldd "$bpftool" | grep -o '/[^ ]*') /out/
"""
_LOOP = """
for f in $(find . -name '*.ko'); do
    "$@" btf dump file $f format raw > /dev/null || exit 1
done
"""
_BASELINE = "bpftool"


def main() -> None:
    """Print the seconds of each round and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_directory", type=Path, metavar="RUNDIR")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    directory = RunDirectory(options.run_directory.resolve())
    modules = len(list(directory.modules.rglob("*.ko")))
    with tempfile.TemporaryDirectory() as scratch:
        check: list[str | Path] = [Path(sys.executable).with_name("kbtf-ci"), "check", "-q", directory.path]
        sides: dict[str, list[str | Path]] = {
            _BASELINE: ["sh", "-c", _LOOP, "sh", *_bpftool(directory, Path(scratch))],
            "check -j1": [*check, "-j1"],
            "check": check,
        }
        for command in sides.values():
            _run(command, directory.modules)  # fills the page cache
        rounds = [_round(sides, number, directory.modules) for number in range(options.rounds)]
    for side in list(sides)[1:]:
        ratio = statistics.median(one[_BASELINE][0] / one[side][0] for one in rounds)
        peak = max(one[side][1] for one in rounds)
        print(f"{modules} modules, {side}: median ratio of {len(rounds)} rounds {ratio:.1f}, peak {peak} MiB")


def _bpftool(directory: RunDirectory, folder: Path) -> list[str | Path]:
    """Copy bpftool and the base out, and return how it is called."""
    engine = Engine.connect()
    suite = directory.read_built().suite
    toolchain = image.ensure(engine, suite, lambda line: None)
    done = run(
        engine.runner(toolchain.image), Command(("sh", "-c", _COPY), (Mount(folder, "/out", writable=True),))
    )
    if done.status != 0:
        sys.exit(f"bpftool could not be copied out of {toolchain.image}: {done.text.strip()[-300:]}")
    base = folder / "vmlinux.btf"
    base.write_bytes(read_kernel_file(directory.kernel / "bzImage").btf)
    loader = next(folder.glob("ld*.so*"))
    return [loader, "--library-path", folder, folder / "bpftool", "-B", base]


def _round(sides: dict[str, list[str | Path]], number: int, folder: Path) -> dict[str, tuple[float, int]]:
    # Who goes later may find another machine: they take turns at it.
    order = list(sides) if number % 2 else list(reversed(sides))
    took = {side: _run(sides[side], folder) for side in order}
    print(f"round {number + 1}: " + ", ".join(f"{side} {took[side][0]:.2f} s" for side in order), flush=True)
    return took


def _run(command: Sequence[str | Path], folder: Path) -> tuple[float, int]:
    """Return the seconds of a command, and the MiB that the largest of its processes held at once."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} ended with {process.returncode}: the seconds would say nothing")
    return seconds, usage.ru_maxrss >> 10


if __name__ == "__main__":
    main()
