# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The driver's overhead: kbtf-ci's build stage against a bare make in the same image, on the same tree.

Both build the profile from an empty build directory with a warm ccache, by turns, and the median of the
rounds' ratios is printed. A warm ccache is the hard case: a cold build takes ten times as long with the same
overhead.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import docker

from kbtf_ci.container import image
from kbtf_ci.container.engine import Engine
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.profiles import find_profile
from kbtf_ci.kernel import source
from kbtf_ci.kernel.build import build
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.kconfig import configure


def main() -> None:
    """Print the seconds of each round and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="smoke")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    engine = Engine.connect()
    toolchain = image.ensure(engine, image.DEFAULT_SUITE, lambda line: None)
    runner = engine.runner(toolchain.image)
    package = next(name for name in toolchain.packages if name.startswith("linux-source-"))
    tree = source.from_suite(
        runner, image.DEFAULT_SUITE, f"{package} {toolchain.packages[package]}", cache_root() / "source"
    )
    client = docker.DockerClient(base_url=engine.address.url)
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:

        def fresh() -> Kbuild:
            folder = Path(scratch) / "build"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            ccache = cache_root() / "ccache"
            kbuild = Kbuild(runner, tree, folder, ccache, os.cpu_count() or 1, toolchain.image)
            configure(kbuild, find_profile(options.config), ())
            return kbuild

        _timed(lambda kbuild: build(kbuild, Path(scratch) / "log", lambda now: None), fresh())  # warms ccache
        for number in range(options.rounds):
            ours = bare = 0.0
            # Who goes second finds a warmer machine: they take turns at it.
            for first in (True, False) if number % 2 else (False, True):
                if first:
                    ours = _timed(lambda k: build(k, Path(scratch) / "log", lambda now: None), fresh())
                else:
                    bare = _timed(lambda k: _bare_make(client, toolchain.image, k), fresh())
            ratios.append(ours / bare)
            print(f"round {number + 1}: kbtf-ci {ours:.1f} s, bare make {bare:.1f} s", flush=True)
    print(f"median ratio of {options.rounds} rounds: {statistics.median(ratios):.3f}")


def _timed(work: Callable[[Kbuild], object], kbuild: Kbuild) -> float:
    began = time.monotonic()
    work(kbuild)
    return time.monotonic() - began


def _bare_make(client: docker.DockerClient, name: str, kbuild: Kbuild) -> None:
    command = kbuild.command(kbuild.argv("all"), "bare")
    volumes = {
        str(mount.source): {"bind": mount.target, "mode": "rw" if mount.writable else "ro"}
        for mount in command.mounts
    }
    client.containers.run(
        name, list(command.argv), environment=dict(command.env), volumes=volumes, network_mode="none",
        user=f"{os.getuid()}:{os.getgid()}", remove=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
