# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Against what people do today: virtme-ng boots the same kernel and runs modprobe and cmp for every module.

Needs ``vng`` (virtme-ng from PyPI), qemu-system-x86_64, depmod and objcopy on this machine. Both sides run in
software emulation with the same memory and CPUs, one after the other; the ratio of their times is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kbtf_ci.infra.paths import cache_root

# What a person would type: load it, compare what the kernel shows with what the file holds.
_GUEST_SCRIPT = """
while read -r name; do
    modprobe -d {tree} "$name" 2>/dev/null
    cmp -s "/sys/kernel/btf/$name" "{tree}/btf/$name" && echo "SAME $name"
done < {tree}/names > {tree}/out/same
"""


def main() -> None:
    """Print the seconds and the verified modules of both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_directory", type=Path)
    parser.add_argument("--vng", default="vng")
    parser.add_argument("--memory", default="3G")
    parser.add_argument("--cpus", default="2")
    options = parser.parse_args()
    run = options.run_directory.resolve()
    began = time.monotonic()
    command = Path(sys.executable).with_name("kbtf-ci")
    subprocess.run(
        [command, "verify", run, "--accel", "tcg", "-q", "-m", options.memory, "--cpus", options.cpus],
        check=True,
    )
    ours = time.monotonic() - began
    totals = json.loads((run / "results.json").read_text())["totals"]
    print(f"kbtf-ci: {ours:.1f} s, {totals['verified']} of {totals['modules']}", flush=True)
    # Not below /tmp, over which virtme-ng's guest mounts one of its own.
    with tempfile.TemporaryDirectory(dir=cache_root()) as scratch:
        tree = Path(scratch)
        names = _prepare(run, tree)
        theirs, same = _virtme(run, tree, options)
    print(f"virtme-ng: {theirs:.1f} s, {same} of {len(names)}")
    print(f"ratio {theirs / ours:.1f}")


def _prepare(run: Path, tree: Path) -> list[str]:
    """Lay out what modprobe and cmp read; this is not timed."""
    results = json.loads((run / "results.json").read_text())
    modules = tree / "lib/modules" / results["kernel"]["release"]
    modules.mkdir(parents=True)
    shutil.copytree(run / "guest/modules/kernel", modules / "kernel")
    for name in ("modules.order", "modules.builtin"):
        (modules / name).touch()
    subprocess.run(["depmod", "-b", tree, results["kernel"]["release"]], check=True)
    for folder in ("btf", "out"):
        (tree / folder).mkdir()
    for module in results["modules"]:
        target = tree / "btf" / module["name"]
        subprocess.run(
            ["objcopy", "-O", "binary", "--only-section=.BTF", "--set-section-flags", ".BTF=alloc",
             run / "kernel/modules" / module["file"], target], check=True,
        )  # fmt: skip
    names = [module["name"] for module in results["modules"]]
    (tree / "names").write_text("".join(f"{name}\n" for name in names))
    (tree / "script").write_text(_GUEST_SCRIPT.format(tree=tree))
    return names


def _virtme(run: Path, tree: Path, options: argparse.Namespace) -> tuple[float, int]:
    began = time.monotonic()
    subprocess.run(
        [options.vng, "--run", run / "kernel/bzImage", "--disable-kvm", "--memory", options.memory,
         "--cpus", options.cpus, "--rwdir", tree / "out", "--", "sh", tree / "script"],
        check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=_environment(options.vng),
    )  # fmt: skip
    seconds = time.monotonic() - began
    same = tree / "out/same"
    return seconds, len(same.read_text().splitlines()) if same.exists() else 0


def _environment(vng: str) -> dict[str, str]:
    """vng looks for its other programs on PATH, also when it is called by its own path."""
    folder = str(Path(vng).resolve().parent) if "/" in vng else ""
    return {**os.environ, "TERM": "dumb", "PATH": f"{folder}:{os.environ['PATH']}"}


if __name__ == "__main__":
    main()
