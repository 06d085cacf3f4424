# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What it costs to read other distributions' packages, against Debian's with the same content.

A Debian kernel is repackaged with rpmbuild, makepkg and the like (tests/support/repackage.py), and each
package is unpacked into an empty cache, all by turns. What is compared has the same compression, at the level
that its distribution's tools choose by themselves. CPU seconds are what counts, of the process that reads and
of the one that writes, and the medians of the rounds' ratios. Debian's package is unpacked by dpkg-deb in a
container as well, as it is where there is no libarchive, by the clock.

    docker run --rm --network host -u 0 -v LINUX-IMAGE.deb:/in/kernel.deb -v FOLDER:/out TOOLCHAIN-IMAGE \
        bash -c "$(python tests/support/repackage.py)"
    python benchmarks/packages.py FOLDER
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from kbtf_ci.container import image
from kbtf_ci.container.engine import Engine
from kbtf_ci.infra.runner import Runner
from kbtf_ci.kernel.packages import unpack

# What is read, and Debian's of the same content and compression.
_PAIRS = {
    "kernel-default-zstd.rpm": "linux-image-zstd.deb",
    "kernel-default-xz.rpm": "linux-image-xz.deb",
    "kernel-default-gz.rpm": "linux-image-gzip.deb",
    "linux.pkg.tar.zst": "linux-image-zstd.deb",
    "linux-lts.apk": "linux-image-gzip.deb",
}
_BY_TOOLS = "linux-image-xz.deb, by dpkg-deb"


def main() -> None:
    """Print the seconds of each round and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="What tests/support/repackage.py made, and linux-image-xz.deb, which it was made of.",
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    names = sorted({*_PAIRS, *_PAIRS.values()})
    missing = [name for name in names if not (options.folder / name).is_file()]
    if missing:
        sys.exit(f"{options.folder}: lacks {', '.join(missing)}")
    engine = Engine.connect()
    runner = engine.runner(image.ensure(engine, image.DEFAULT_SUITE, lambda line: None).image)
    rounds = [_round(options.folder, names, runner, number) for number in range(options.rounds + 1)][1:]
    for name, debian in _PAIRS.items():
        ratio = statistics.median(one[name] / one[debian] for one in rounds)
        print(f"{name} against {debian}: median ratio of {len(rounds)} rounds {ratio:.2f}")


def _round(folder: Path, names: list[str], runner: Runner, number: int) -> dict[str, float]:
    order = names if number % 2 else names[::-1]
    seconds = {name: _seconds(folder / name, None) for name in order}
    seconds[_BY_TOOLS] = _by_tools(folder / "linux-image-xz.deb", runner)
    print(f"round {number}: " + ", ".join(f"{name} {taken:.2f} s" for name, taken in sorted(seconds.items())))
    return seconds


def _by_tools(path: Path, runner: Runner) -> float:
    os.environ["LIBARCHIVE"] = "/nowhere/libarchive.so"
    try:
        return _seconds(path, runner)
    finally:
        del os.environ["LIBARCHIVE"]


def _seconds(path: Path, runner: Runner | None) -> float:
    with tempfile.TemporaryDirectory() as cache:
        started = _now(runner)
        unpack([path], Path(cache), runner)
        return _now(runner) - started


def _now(runner: Runner | None) -> float:
    """Return the CPU seconds of this process and of those it started; of a container's only a clock knows."""
    return time.perf_counter() if runner else sum(os.times()[:4])


if __name__ == "__main__":
    main()
