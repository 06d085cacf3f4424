# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The scenarios: what is done to a finished build, and how it becomes what it was.

A changed source file is a changed copy mounted over the file in the container. The source tree, which other
builds share, stays as it is; compiler, link and pahole are the real ones, and no flag of kbuild's changes, on
whose account it would rebuild more than the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.infra.runner import Mount, run
from kbtf_ci.kernel.kbuild import BUILD, SOURCE, Kbuild
from kbtf_ci.kernel.measure import MakeOverrides
from kbtf_ci.model.regeneration import Scenario

# Built in on every kernel and architecture, and no header of another object.
_BUILT_IN = "kernel/softirq.o"
# A variable keeps the type in the debug information; no compiler writes a type that nothing uses.
_ADD_TYPE = """
struct kbtf_ci_added { long kbtf_ci_first; struct kbtf_ci_added *kbtf_ci_next; };
static const struct kbtf_ci_added __attribute__((used)) kbtf_ci_one;
"""
# A symbol or a type would end in BTF; assembly of no function is in no DWARF.
_ADD_CODE = """
asm(".pushsection .text\\n\\t.skip 64, 0x90\\n\\t.popsection");
"""
_ADDITIONS = {
    Scenario.BTF_CHANGED: _ADD_TYPE,
    Scenario.CODE_CHANGED: _ADD_CODE,
    Scenario.SOURCE_CHANGED: _ADD_TYPE,
}
CHANGED_SOURCES = frozenset(_ADDITIONS)  # those that mount a file over one of the source
_OTHER_PAHOLE = "/opt/kbtf-ci/other-pahole"
# All that kbuild and Kconfig ever ask of a pahole's identity is what this line answers.
_OTHER_PAHOLE_SCRIPT = """#!/bin/sh
[ "$1" = --version ] && exec echo v1.99
exec {real} "$@"
"""


@contextmanager
def apply_scenario(scenario: Scenario, kbuild: Kbuild, modules: Sequence[str]) -> Iterator[MakeOverrides]:
    """Bring a finished build into the scenario's state and yield how make is to be called on it.

    ``modules`` are the paths of its ``.ko`` files. Afterwards all that the scenario made is gone, and the
    next make finds out for itself that it has to make the rest again. Raises UsageError where the build
    has nothing that fits.
    """
    scratch = kbuild.build_dir / ".kbtf-ci" / "regen"
    scratch.mkdir(parents=True, exist_ok=True)
    target = _Target(kbuild, scratch)
    undo: list[Path] = []
    try:
        yield _provoke(scenario, target, modules, undo)
    finally:
        for path in undo:
            path.unlink(missing_ok=True)


def _provoke(scenario: Scenario, target: _Target, modules: Sequence[str], undo: list[Path]) -> MakeOverrides:
    # What undo names is deleted afterwards: make takes nothing else for out of date when a source file
    # goes back to its old time.
    overrides = MakeOverrides()
    match scenario:
        case Scenario.TOUCHED:
            os.utime(target.built("vmlinux"))
        case Scenario.BTF_CHANGED | Scenario.CODE_CHANGED | Scenario.SOURCE_CHANGED:
            chosen = target.of_one_source(modules) if scenario is Scenario.SOURCE_CHANGED else _BUILT_IN
            undo.append(target.built(chosen))
            overrides = target.changed_source(chosen, _ADDITIONS[scenario])
        case Scenario.DELETED:
            target.built(modules[0]).unlink()
        case Scenario.STRIPPED:
            undo.append(target.built(modules[0]))
            target.strip_btf(modules[0])
        case Scenario.PAHOLE_CHANGED:
            overrides = target.other_pahole()
    return overrides


class _Target:
    """One build directory, and a folder for what its scenarios make."""

    def __init__(self, kbuild: Kbuild, scratch: Path) -> None:
        self._kbuild = kbuild
        self._scratch = scratch

    def built(self, file: str) -> Path:
        return self._kbuild.build_dir / file

    def of_one_source(self, modules: Sequence[str]) -> str:
        """Return the object of the first module that is compiled from a single file."""
        objects = (str(Path(module).with_suffix(".o")) for module in modules)
        for name in objects:
            if self._source_of(name):
                return name
        raise UsageError(f"{self._kbuild.build_dir}: none of its modules is made from a single C file")

    def changed_source(self, name: str, addition: str) -> MakeOverrides:
        """Return a overrides that puts a longer copy of an object's C file in its place."""
        source = self._source_of(name)
        if not source:
            raise UsageError(f"{self.built(name)}: it was not compiled from a C file of the source tree")
        copy = self._scratch / Path(source).name
        copy.write_bytes((self._kbuild.source.path / source).read_bytes() + addition.encode())
        return MakeOverrides((Mount(copy, f"{SOURCE}/{source}"),))

    def _source_of(self, name: str) -> str:
        """Return the C file, below the source tree, of which fixdep says that the object is made."""
        path = self.built(name)
        record = path.with_name(f".{path.name}.cmd")
        lines = record.read_text(errors="replace").splitlines() if record.is_file() else []
        for line in lines:
            if line.startswith(f"source_{name} := {SOURCE}/") and line.endswith(".c"):
                return line.rpartition(f" {SOURCE}/")[2]
        return ""

    def strip_btf(self, module: str) -> None:
        argv = ("objcopy", "--remove-section", ".BTF", f"{BUILD}/{module}")
        done = run(self._kbuild.runner, self._kbuild.command(argv, "strip"))
        if done.status != 0:
            raise InfrastructureError(f"{self.built(module)}: objcopy failed: {done.text.strip()[-300:]}")

    def other_pahole(self) -> MakeOverrides:
        program = self._scratch / "pahole"
        program.write_text(_OTHER_PAHOLE_SCRIPT.format(real=self._kbuild.real_pahole))
        program.chmod(0o755)
        return MakeOverrides((Mount(program, _OTHER_PAHOLE),), _OTHER_PAHOLE)
