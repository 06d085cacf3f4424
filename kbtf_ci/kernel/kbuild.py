# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One kernel tree under kbuild: where it lies in the container, and how make is called on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.infra.runner import Command, Mount, Runner
from kbtf_ci.kernel.btfcache import PROGRAM, Wrapper
from kbtf_ci.kernel.source import Source
from kbtf_ci.kernel.target import NATIVE, Target
from kbtf_ci.model.compiler import DEFAULT, Compiler

# Fixed paths: they end in debug information, so ccache's entries and the objects themselves are the same
# wherever the cache folder lies.
SOURCE = "/src"
BUILD = "/build"
CCACHE = "/ccache"
PAHOLE = "/opt/kbtf-ci/pahole"

# Who, where, when and how often would otherwise change vmlinux in every build; at the tenth link even its
# BTF: linux_banner, with "#10" in it, is an array of one character more (scripts/build-version).
_REPRODUCIBLE = {
    "KBUILD_BUILD_USER": "kbtf-ci",
    "KBUILD_BUILD_HOST": "kbtf-ci",
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01",
    "KBUILD_BUILD_VERSION": "1",
    "LC_ALL": "C.UTF-8",
}
_CCACHE_SETTINGS = {
    "CCACHE_DIR": CCACHE,
    # Else ccache.conf in that folder, which may come out of a CI's cache, names a compiler or runs a program.
    "CCACHE_CONFIGPATH": "/dev/null",
    # A rebuilt toolchain image has new time stamps on the same compiler.
    "CCACHE_COMPILERCHECK": "content",
    "CCACHE_MAXSIZE": "20G",
}


def pahole_mounts(program: Path | None) -> tuple[Mount, ...]:
    """Return what a container needs to run a pahole of the host's as PAHOLE, its own libraries among it."""
    if program is None:
        return ()
    libraries = program.with_name(f"{program.name}.lib")
    beside = (Mount(libraries, f"{PAHOLE}.lib"),) if libraries.is_dir() else ()
    return (Mount(program, PAHOLE), *beside)


@dataclass(frozen=True)
class Kbuild:
    """An out-of-tree build: ``source`` is only read, all output goes to ``build_dir``.

    ``toolchain`` names the image that the runner's commands run in, ``variables`` are make's ``VAR=VALUE``
    in the user's words, ``pahole`` is a pahole of the host's to use in place of the image's. ``wrapper`` is
    what stands between kbuild and pahole. ``target`` is what it builds for, ``compiler`` what with.
    """

    runner: Runner
    source: Source
    build_dir: Path
    ccache_dir: Path
    jobs: int
    toolchain: str
    variables: tuple[str, ...] = ()
    pahole: Path | None = None
    wrapper: Wrapper | None = None
    target: Target = NATIVE
    compiler: Compiler = DEFAULT

    @property
    def real_pahole(self) -> str:
        """The program that writes BTF, whatever stands before it."""
        return PAHOLE if self.pahole is not None else "pahole"

    @property
    def release(self) -> str:
        """The release of the kernel that was built last."""
        return (self.build_dir / "include/config/kernel.release").read_text().strip()

    @property
    def products(self) -> tuple[str, ...]:
        """The paths of what it makes besides modules, below the build directory."""
        order = ("modules.order", "include/config/kernel.release", ".config")
        return tuple(dict.fromkeys((self.target.image, "vmlinux", "System.map", *order)))

    @property
    def modules(self) -> tuple[str, ...]:
        """The paths of its ``.ko`` files below the build directory, sorted, whether they are there or not."""
        # modules.order names .o files since 5.19 (commit f65a486821cf), .ko files before.
        order = (self.build_dir / "modules.order").read_text().split()
        return tuple(sorted(str(Path(line).with_suffix(".ko")) for line in order))

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """Return make's command line for ``arguments`` (targets and variables) in the container."""
        compiler = self.compiler
        # rustc gets it for its linker, as one word (cmd_host-rust of scripts/Makefile.host).
        cached = "" if compiler.rust else "ccache "
        tools = [
            *self.target.variables,
            *compiler.variables,
            f"CC=ccache {compiler.program(self.target.prefix)}",
            f"HOSTCC={cached}{compiler.host_program}",
        ]
        if self.wrapper is not None:
            tools.append(f"PAHOLE={PROGRAM}")
        elif self.pahole is not None:
            tools.append(f"PAHOLE={PAHOLE}")
        return ("make", "-C", SOURCE, f"O={BUILD}", f"-j{self.jobs}", *tools, *self.variables, *arguments)

    def command(self, argv: tuple[str, ...], label: str) -> Command:
        """Return ``argv`` with the tree's mounts and environment and no network."""
        mounts = [
            Mount(self.source.path, SOURCE),
            Mount(self.build_dir, BUILD, writable=True),
            Mount(self.ccache_dir, CCACHE, writable=True),
        ]
        mounts.extend(pahole_mounts(self.pahole))
        if self.wrapper is not None:
            mounts.extend(self.wrapper.mounts)
            argv = self.wrapper.launch(argv)
        return Command(argv, tuple(mounts), self.environment(), label=label)

    def environment(self) -> Mapping[str, str]:
        """Return the variables of the environment that make runs in."""
        own = self.wrapper.environment(self.real_pahole) if self.wrapper is not None else {}
        return {**_REPRODUCIBLE, **_CCACHE_SETTINGS, **own}
