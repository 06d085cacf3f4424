# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The sizes of every module's BTF sections: kbtf-ci's reader against a loop of size, grep and awk.

The loop is the one that Linux measured its module BTF with (commit 5f9ae91f7c0d). Both run as processes of
their own, the interpreter's start and imports included, by turns and with the files in the page cache, and
must come to the same sum; the median of the rounds' ratios is printed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

_LOOP = """
for f in $(find . -name '*.ko'); do
    size -A -d $f | grep BTF | awk '{print $2}'
done | awk '{ s += $1 } END { print s }'
"""
_OURS = """
from pathlib import Path
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.elf import MODULE_LIMIT, ElfImage
total = 0
for path in Path().rglob("*.ko"):
    image = ElfImage(load(path, MODULE_LIMIT), str(path))
    found = map(image.find, (".BTF", ".BTF.base", ".BTF_ids"))
    total += sum(section.size for section in found if section)
print(total)
"""


def main() -> None:
    """Print the seconds of each round and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", type=Path, help="a folder of .ko files")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sides = {"loop": ["sh", "-c", _LOOP], "kbtf-ci": [sys.executable, "-c", _OURS]}
    sums = {
        side: _run(command, options.modules)[1] for side, command in sides.items()
    }  # fills the page cache
    if len(set(sums.values())) != 1:
        sys.exit(f"the two disagree: {sums}")
    ratios = []
    for number in range(options.rounds):
        # Who goes second finds a warmer machine: they take turns at it.
        order = list(sides) if number % 2 else list(reversed(sides))
        took = {side: _run(sides[side], options.modules)[0] for side in order}
        ratios.append(took["loop"] / took["kbtf-ci"])
        print(f"round {number + 1}: kbtf-ci {took['kbtf-ci']:.2f} s, loop {took['loop']:.2f} s", flush=True)
    print(f"{sums['loop']} bytes; median ratio of {options.rounds} rounds: {statistics.median(ratios):.1f}")


def _run(command: list[str], folder: Path) -> tuple[float, int]:
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return time.monotonic() - began, int(done.stdout)


if __name__ == "__main__":
    main()
