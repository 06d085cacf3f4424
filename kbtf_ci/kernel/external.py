# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""make and pahole on a finished build that stays as it is: out-of-tree modules, and changes to a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kbtf_ci.infra.runner import FILES, Command, Completed, Mount, run
from kbtf_ci.kernel.kbuild import BUILD, CCACHE, SOURCE, Kbuild, pahole_mounts
from kbtf_ci.kernel.pahole import Pahole

# Built in on every kernel, and no header of another object.
_BUILT_IN = "init/version.c"
_COPY = "/copy"


def make_external(
    kbuild: Kbuild, work: Path, variables: Sequence[str] = (), over: Mapping[str, Path] | None = None
) -> Completed:
    """Run ``make M=`` on the module sources in the folder ``work``, which gets all that is made.

    The build directory is only read; ``over`` puts other files in the place of some of its own, by their
    paths below it. What make says is in what it returns, whether it failed or not.
    """
    argv = (*kbuild.argv(f"M={FILES}"), *variables, "modules")
    mounts = [
        Mount(kbuild.source.path, SOURCE),
        Mount(kbuild.build_dir, BUILD),
        Mount(kbuild.ccache_dir, CCACHE, writable=True),
        Mount(work, FILES, writable=True),
        *(Mount(path, f"{BUILD}/{name}") for name, path in (over or {}).items()),
    ]
    mounts.extend(pahole_mounts(kbuild.pahole))
    return run(kbuild.runner, Command(argv, tuple(mounts), kbuild.environment(), label="external module"))


def copy_build(kbuild: Kbuild, target: Path) -> Completed:
    """Copy a build directory with all time stamps: make then takes the copy for finished."""
    argv = ("cp", "-a", "--reflink=auto", f"{BUILD}/.", f"{_COPY}/")
    mounts = (Mount(kbuild.build_dir, BUILD), Mount(target, _COPY, writable=True))
    return run(kbuild.runner, Command(argv, mounts, label="copy of a build"))


def relink(kbuild: Kbuild, copy: Path, source: Path, module: str) -> Completed:
    """Make vmlinux with ``source`` in the place of a C file that is built in, and then one module.

    ``copy`` is a copy of the build directory, ``module`` a .ko file's path below it.
    """
    changed = replace(kbuild, build_dir=copy)
    command = changed.command(changed.argv("vmlinux", module), "relink")
    mounts = (*command.mounts, Mount(source, f"{SOURCE}/{_BUILT_IN}"))
    return run(kbuild.runner, replace(command, mounts=mounts))


def longer_source(kbuild: Kbuild, addition: str) -> bytes:
    """Return the C file that ``relink`` replaces, with ``addition`` behind it."""
    return (kbuild.source.path / _BUILT_IN).read_bytes() + addition.encode()


def encode_vmlinux(kbuild: Kbuild, pahole: Pahole, work: Path, flags: Sequence[str]) -> Completed:
    """Write vmlinux's BTF to ``work``/btf as the build's pahole does, with ``flags`` behind its own."""
    # What is for modules of other trees alone.
    own = (flag for flag in pahole.flags if not flag.endswith("=distilled_base"))
    argv = (pahole.program, "-J", *own, *flags, f"--btf_encode_detached={FILES}/btf", f"{BUILD}/vmlinux")
    mounts = (Mount(kbuild.build_dir, BUILD), Mount(work, FILES, writable=True), *pahole.mounts)
    return run(kbuild.runner, Command(argv, mounts, workdir=FILES, label="encode vmlinux"))
