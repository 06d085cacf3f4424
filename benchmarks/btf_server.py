# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The BTF of a distribution's modules, written again from their debug information by pahole and by a server.

FOLDER is what a -dbg package of Debian's unpacks to: modules with debug information and the BTF that Debian
ships, and their vmlinux; or it is kbtf-ci's build directory. Each round has pahole, pahole with the server's
malloc tunables, and the server take all of them, in turns about which goes first. CPU seconds are those of
the container (cpuacct), memory is its peak. Each module's BTF is held against the shipped one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

from kbtf_ci.container.image import DEFAULT_SUITE
from kbtf_ci.infra.runner import Command, Mount, Runner, run
from kbtf_ci.kernel.accounts import read_accounts
from kbtf_ci.kernel.btfcache import PROGRAM
from kbtf_ci.kernel.pahole import ALLOCATION
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import workspace

# What kbuild of 6.12 gives pahole 1.30.
_FLAGS = (
    "-J -j --btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func,"
    "decl_tag_kfuncs --lang_exclude=rust"
)
_SCRIPT = """
set -e
usage=/sys/fs/cgroup/cpuacct/cpuacct.usage peak=/sys/fs/cgroup/memory/memory.max_usage_in_bytes
before=$(cat $usage); began=$(date +%s%N)
< /bench/modules xargs -P "$1" -I@ "$2" \\
    {flags} --btf_base "$3" --btf_encode_detached=/bench/new/@ /bench/files/@
ended=$(date +%s%N); after=$(cat $usage)
cd /bench/new; wrong=0
for module in *.ko; do cmp -s $module /bench/shipped/$module || wrong=$((wrong + 1)); done
wall=$(((ended - began) / 1000000)) cpu=$(((after - before) / 1000000))
echo $wall $cpu $(($(cat $peak) >> 20)) $(ls | wc -l) $wrong
"""
_WAYS = {
    "pahole": {},
    "tunables": ALLOCATION,
    "server": {"KBTF_CI_BTF_SERVER": "/tmp/kbtf-ci/btf-server", "KBTF_CI_ACCOUNTS": "/bench/calls"},
}


def main() -> None:
    """Print each round's figures, and the medians of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--every", type=int, default=1, help="take every Nth module")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-j", "--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--suite", default=DEFAULT_SUITE)
    parser.add_argument("--server-alone", action="store_true", help="hold its bytes against the shipped ones")
    options = parser.parse_args()
    with TerminalReporter(quiet=True) as reporter:
        runner = workspace.toolchain(options.suite, reporter).runner
    built = options.folder / "vmlinux"
    vmlinux = (built if built.exists() else next(options.folder.rglob("vmlinux-*"))).resolve()
    found = (path.relative_to(options.folder) for path in options.folder.rglob("*.ko"))
    shown = sorted(path for path in found if not any(part.startswith(".") for part in path.parts))
    modules = [options.folder / path for path in shown[:: options.every]]
    if options.server_alone:
        _round(runner, "server", modules, vmlinux, options.jobs)
        return
    ratios: dict[str, list[float]] = {"wall": [], "CPU": [], "CPU, tunables": []}
    for number in range(options.rounds):
        ways = list(_WAYS) if number % 2 == 0 else list(reversed(_WAYS))
        taken = {way: _round(runner, way, modules, vmlinux, options.jobs) for way in ways}
        (wall, cpu), tuned, served = taken["pahole"], taken["tunables"], taken["server"]
        ratios["wall"].append(served[0] / wall)
        ratios["CPU"].append(served[1] / cpu)
        ratios["CPU, tunables"].append(served[1] / tuned[1])
    for name, values in ratios.items():
        print(f"server over pahole, {name}: {median(values):.2f} (median of {len(values)})")


def _round(runner: Runner, way: str, modules: list[Path], vmlinux: Path, jobs: int) -> tuple[int, int]:
    with tempfile.TemporaryDirectory(dir=vmlinux.parent) as scratch:
        bench = Path(scratch)
        (bench / "new").mkdir()
        _ship(runner, modules, bench)
        program = PROGRAM if way == "server" else "pahole"
        words = ("sh", "-c", _SCRIPT.format(flags=_FLAGS), "sh", str(jobs), program, "/vmlinux")
        mounts = (Mount(bench, "/bench", writable=True), Mount(vmlinux, "/vmlinux"))
        done = run(runner, Command(words, mounts, {"LLVM_OBJCOPY": "objcopy", **_WAYS[way]}, label="bench"))
        if done.status != 0:
            raise SystemExit(done.text[-500:])
        wall, cpu, peak, written, wrong = (int(word) for word in done.text.split()[-5:])
        calls = read_accounts(bench)
        kinds = Counter(f"{call.kind}+{call.route}" if call.route else call.kind for call in calls)
    print(
        f"{way}: {written} modules, {wrong} not as shipped; {wall / 1000:.1f} s, {cpu / 1000:.1f} CPU s, "
        f"peak {peak} MiB{', ' if kinds else ''}{dict(kinds) if kinds else ''}", flush=True,
    )  # fmt: skip
    return wall, cpu


def _ship(runner: Runner, modules: list[Path], bench: Path) -> None:
    """Put the modules without their BTF into ``files``, by name, and that BTF into ``shipped``."""
    for name in ("files", "shipped"):
        (bench / name).mkdir()
    root = Path(os.path.commonpath(modules))
    (bench / "modules").write_text("".join(f"{path.name}\n" for path in modules))
    (bench / "paths").write_text("".join(f"/root/{path.relative_to(root)}\n" for path in modules))
    script = (
        "while read -r file; do name=${file##*/}; "
        "objcopy --dump-section .BTF=/bench/shipped/$name --remove-section .BTF $file /bench/files/$name; "
        "done < /bench/paths"
    )
    mounts = (Mount(root, "/root"), Mount(bench, "/bench", writable=True))
    done = run(runner, Command(("sh", "-c", script), mounts, label="bench"))
    if done.status != 0:
        raise SystemExit(done.text[-500:])


if __name__ == "__main__":
    main()
