# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What ``--prove`` adds to a verification: the guest's stage with BPF programs against that without.

Both sides verify the same run directory, by turns, on a kernel that takes such programs (built with
``kbtf-ci run --prove``). Programs a second are those on functions; attaching is within their time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> None:
    """Print the seconds of each round and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_directory", type=Path, metavar="RUNDIR")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prove", default="all", choices=["fentry", "kfunc", "all"])
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch, "run")
        shutil.copytree(options.run_directory, run, symlinks=True)
        for number in range(options.rounds):
            without, _ = _verified(run)
            proven, values = _verified(run, "--prove", options.prove)
            ratios.append(proven / without)
            print(f"round {number + 1}: guest {without:.1f} s, with programs {proven:.1f} s; {_told(values)}")
    print(f"median ratio of {len(ratios)} rounds {statistics.median(ratios):.2f}")


def _verified(run: Path, *words: str) -> tuple[float, dict[str, Any]]:
    """Return the seconds of the guest's stage, and results.json."""
    program = Path(sys.executable).with_name("kbtf-ci")
    subprocess.run(
        [program, "verify", "-q", run, *words], check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr
    )
    stages = json.loads((run / "run.json").read_text())["stages"]
    return stages["guest"], json.loads((run / "results.json").read_text())


def _told(values: dict[str, Any]) -> str:
    proof, kfuncs = values["proof"], values["kfunc_proof"]
    told = []
    if proof:
        rate = proof["functions"] / proof["seconds"]
        told.append(
            f"{proof['functions']:,} functions in {proof['seconds']:.1f} s ({rate:,.0f} a second), "
            f"attached to {proof['attached_functions']:,}"
        )
    if kfuncs:
        told.append(f"{kfuncs['kfuncs']} kfuncs in {kfuncs['seconds']:.1f} s")
    return ", ".join(told)


if __name__ == "__main__":
    main()
