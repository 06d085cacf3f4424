# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One command of two versions of kbtf-ci, by turns on one machine: from the command to its verdict.

    python benchmarks/two_versions.py --rounds 5 OTHER/.venv/bin/kbtf-ci verify --kernel linux-image.deb

OTHER is another checkout, set up with its own ``make setup``; this one is that of the interpreter. Each call
gets a run directory of its own, which is removed behind it, and has to end with 0. A first round that is not
counted fills caches. The median of the rounds' ratios, this version's seconds over the other's, is printed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

_OWN, _OTHER = "this", "other"


def main() -> None:
    """Print the seconds of each round, and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, metavar="OTHER", help="the other version's kbtf-ci")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="of kbtf-ci, without -o")
    options = parser.parse_args()
    programs = {_OWN: Path(sys.executable).with_name("kbtf-ci"), _OTHER: options.other}
    rounds = [_round(programs, number, options.command) for number in range(options.rounds + 1)][1:]
    ratio = statistics.median(took[_OWN] / took[_OTHER] for took in rounds)
    print(f"kbtf-ci {' '.join(options.command)}: median ratio of {len(rounds)} rounds {ratio:.3f}")


def _round(programs: dict[str, Path], number: int, command: Sequence[str]) -> dict[str, float]:
    # Who goes second may find another machine: they take turns at it.
    order = list(programs) if number % 2 else list(reversed(programs))
    took = {name: _seconds(programs[name], command) for name in order}
    what = f"round {number}" if number else "warming up"
    print(f"{what}: " + ", ".join(f"{name} {took[name]:.1f} s" for name in order), flush=True)
    return took


def _seconds(program: Path, command: Sequence[str]) -> float:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        run = Path(folder) / "run"
        began = time.monotonic()
        done = subprocess.run(
            [program, *command, "-q", "-o", run], capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - began
        shutil.rmtree(run, ignore_errors=True)
    if done.returncode != 0:
        sys.exit(f"{program} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return seconds


if __name__ == "__main__":
    main()
