# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What one call of the BTF cache costs: pahole without it, with nothing in it, and with the answer in it.

Each module of a finished build is given its BTF in these three ways one right after the other, the first two
in turns about which goes first, so that a machine whose speed drifts slows all of them alike: whole makes,
minutes apart, differ by more than the cache costs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from kbtf_ci.container.image import DEFAULT_SUITE
from kbtf_ci.infra.runner import Mount, run
from kbtf_ci.kernel.accounts import Accounts, Call, read_accounts
from kbtf_ci.kernel.btfcache import PROGRAM, Wrapper
from kbtf_ci.kernel.kbuild import BUILD, Kbuild
from kbtf_ci.kernel.pahole import ask_kbuild
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import workspace

# off: without the cache; on: with it, first a miss and then a hit.
_SCRIPT = """
cd {build}
cache=$KBTF_CI_BTF_CACHE
off() {{ cp "$module" /bench/m.ko; KBTF_CI_BTF_CACHE= {call}; }}
on() {{ cp "$module" /bench/m.ko; KBTF_CI_BTF_CACHE=$cache {call}; }}
turn=0
while read -r module; do
  if [ $turn = 0 ]; then off && on; turn=1; else on && off; turn=0; fi && on || exit 1
done < /bench/modules
"""


def main() -> None:
    """Print each round's CPU milliseconds a module, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="defconfig")
    parser.add_argument("--suite", default=DEFAULT_SUITE)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    build = BuildOptions(options.config, len(os.sched_getaffinity(0)), options.suite)
    with TerminalReporter(quiet=True) as reporter, workspace.open_build(build, reporter) as kbuild:
        for number in range(options.rounds):
            with tempfile.TemporaryDirectory(dir=kbuild.build_dir.parent) as scratch:
                print(f"round {number + 1}: {_told(_round(kbuild, Path(scratch)))}", flush=True)


def _round(kbuild: Kbuild, scratch: Path) -> tuple[Call, ...]:
    (scratch / "modules").write_text("".join(f"{file}\n" for file in kbuild.modules))
    flags = shlex.join(ask_kbuild(kbuild).flags)
    call = f"LLVM_OBJCOPY=objcopy {PROGRAM} -J {flags} --btf_base vmlinux /bench/m.ko"
    cache = scratch / "cache"
    cache.mkdir()
    accounts = Accounts(scratch, BUILD)
    wrapped = replace(kbuild, wrapper=Wrapper(cache))
    command = wrapped.command(("sh", "-c", _SCRIPT.format(build=BUILD, call=call)), "calls")
    mounts = (*command.mounts, *accounts.mounts, Mount(scratch, "/bench", writable=True))
    env = {**command.env, **accounts.environment}
    done = run(kbuild.runner, replace(command, mounts=mounts, env=env))
    if done.status != 0:
        raise SystemExit(done.text[-500:])
    return read_accounts(scratch)


def _told(calls: Iterable[Call]) -> str:
    seconds: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        seconds[call.kind].append(call.cpu_s)
    each = {kind: 1000 * sum(values) / len(values) for kind, values in seconds.items()}
    counts = ", ".join(
        f"{kind} {each[kind]:.1f} ms of {len(seconds[kind])}" for kind in ("off", "miss", "hit")
    )
    dearer = 100 * (each["miss"] / each["off"] - 1)
    return f"{counts}; a miss costs {dearer:+.1f} %, a hit {each['off'] / each['hit']:.1f} times less"


if __name__ == "__main__":
    main()
