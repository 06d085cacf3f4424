# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Full BTF of many modules: kbtf-ci's encoding against ``xargs -P$(nproc)`` over the same pahole calls.

Both run in one container of the run's toolchain image, over the same modules in the same order with the flags
that run.json has (``kbtf-ci sizes RUNDIR`` adds them to an older one), by turns; the median of the rounds'
ratios is printed. xargs starts pahole itself, so its output files stay until the container's end.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kbtf_ci.container import image
from kbtf_ci.container.engine import Engine
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.infra.runner import Command, Mount, Runner, run
from kbtf_ci.kernel.encode import Encoded, encode
from kbtf_ci.kernel.pahole import Pahole

_XARGS = """
jobs=$1 list=/tmp/list; shift
while [ "$1" != -- ]; do call="$call $1"; shift; done; shift
printf '%s\\n' "$@" > $list
mkdir /tmp/out; find . -type d | (cd /tmp/out && xargs mkdir -p)
exec xargs -P "$jobs" -I {} $call --btf_encode_detached=/tmp/out/{} {} < $list
"""


def main() -> None:
    """Print the seconds of each round and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_directory", type=Path, metavar="RUNDIR")
    parser.add_argument("--every", type=int, default=1, help="take each n-th module only")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    directory = RunDirectory(options.run_directory.resolve())
    record = directory.read_build()
    if record.pahole is None:
        sys.exit(
            f"{directory.run_json}: has no flags of pahole; kbtf-ci sizes {options.run_directory} adds them"
        )
    pahole = Pahole.of(record.pahole, record.build_options.pahole)
    engine = Engine.connect()
    runner = engine.runner(image.ensure(engine, record.suite, lambda line: None).image)
    tree = directory.modules
    found = sorted(tree.rglob("*.ko"), key=lambda path: path.stat().st_size, reverse=True)
    files = [str(path.relative_to(tree)) for path in found[:: options.every]]
    sides = {
        "kbtf-ci": lambda: _ours(runner, tree, files, pahole),
        "xargs": lambda: _xargs(runner, tree, files, pahole),
    }
    sides["xargs"]()  # every module is in the page cache now
    ratios = []
    for number in range(options.rounds):
        # Who goes second may find another machine: they take turns at it.
        order = list(sides) if number % 2 else list(reversed(sides))
        seconds = {name: _timed(sides[name]) for name in order}
        ratios.append(seconds["kbtf-ci"] / seconds["xargs"])
        print(
            f"round {number + 1}: " + ", ".join(f"{name} {seconds[name]:.2f} s" for name in order), flush=True
        )
    print(f"{len(files)} modules, median ratio of {options.rounds} rounds: {statistics.median(ratios):.3f}")


def _timed(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _ours(runner: Runner, tree: Path, files: Sequence[str], pahole: Pahole) -> None:
    told: list[Encoded] = []
    encode(runner, tree, files, pahole, jobs=os.cpu_count() or 1, on_encoded=told.append)
    if len(told) != len(files) or any(encoded.fault for encoded in told):
        sys.exit("not every module was encoded: the seconds would say nothing")


def _xargs(runner: Runner, tree: Path, files: Sequence[str], pahole: Pahole) -> None:
    call = (pahole.program, "-J", *pahole.flags)
    argv = ("sh", "-c", _XARGS, "sh", str(os.cpu_count() or 1), *call, "--", *files)
    done = run(runner, Command(argv, (Mount(tree, "/modules"), *pahole.mounts), workdir="/modules"))
    if done.status != 0:
        sys.exit(f"xargs: {done.text.strip()[-300:]}")


if __name__ == "__main__":
    main()
