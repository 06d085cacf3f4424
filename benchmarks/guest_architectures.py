# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Guests of each architecture: ``kbtf-ci verify`` of run directories, one of each, by turns.

Every module as a carrier, in emulation, in one guest. Printed are the medians of the rounds: seconds until
SSH answers, seconds of all loads, modules a second, and the host's share of the whole, which is what is not
the guest's: reading, judging and packing modules.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

_WORDS = ("--accel", "tcg", "--load", "carrier", "--guests", "1", "--quiet", "--json")


def main() -> None:
    """Print a line for each run directory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_directory", type=Path, nargs="+", metavar="RUNDIR")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    taken: dict[Path, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(options.rounds):
        for path in options.run_directory:
            taken[path].append(_verify(path))
    columns = ("modules", "verified", "boot s", "load s", "a second", "host")
    print(f"{'kernel':40}", *(f"{column:>8}" for column in columns))
    for rounds in taken.values():
        _tell(rounds)


def _verify(path: Path) -> dict[str, Any]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "kbtf_ci", "verify", str(path), *_WORDS], stdout=subprocess.PIPE, check=True
    )
    seconds = time.monotonic() - began
    run = json.loads((path / "run.json").read_bytes())
    return {**json.loads(done.stdout), "seconds": seconds, "guest_s": run["stages"]["guest"]}


def _tell(rounds: list[dict[str, Any]]) -> None:
    first = rounds[0]
    boot = statistics.median(one["guest"]["boot_s"] for one in rounds)
    load = statistics.median(one["guest"]["load_s"] for one in rounds)
    host = statistics.median(1 - one["guest_s"] / one["seconds"] for one in rounds)
    totals, name = first["totals"], f"{first['kernel']['release']} ({first['guest']['architecture']})"
    print(
        f"{name:40} {totals['modules']:8} {totals['verified']:8} {boot:8.1f} {load:8.1f} "
        f"{totals['modules'] / load:8.0f} {host:8.0%}"
    )


if __name__ == "__main__":
    main()
