# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci regen``: a finished build is changed in one way after another, and made again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from kbtf_ci.btf.predict.assess import kernel_version
from kbtf_ci.btf.predict.kernel_btf import rules_of
from kbtf_ci.btf.predict.sweep import KernelSpec, sweep
from kbtf_ci.errors import ExitCode, InfrastructureError, InterruptError, KbtfError, UsageError
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.kernel.btfcache import Wrapper
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.measure import MakeOverrides, measure
from kbtf_ci.kernel.modfinal import read_rule
from kbtf_ci.kernel.regen import CHANGED_SOURCES, apply_scenario
from kbtf_ci.model.config import parse_config
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.regeneration import (
    Boot,
    Finding,
    Ran,
    Rule,
    Scenario,
    Served,
    TreeState,
    btf_ids_reordered,
    judge,
)
from kbtf_ci.model.run_record import RunRecord
from kbtf_ci.objfile.files import read_kernel_file
from kbtf_ci.objfile.inputs import Scanner
from kbtf_ci.report import regen as report
from kbtf_ci.workflow import workspace
from kbtf_ci.workflow.boot import boot

# A make that follows another pahole, a new toolchain image or an interrupted scenario has work left over.
_SETTLING = 3
_LEAVES_WORK = frozenset(
    {Scenario.BTF_CHANGED, Scenario.CODE_CHANGED, Scenario.SOURCE_CHANGED, Scenario.STRIPPED}
)


@dataclass(frozen=True)
class RegenOptions:
    """What the user asked for; no scenarios means all of them.

    ``boot`` is whether what each make left is booted; None boots it where stale BTF is among it. ``run`` is
    the record of the run whose build it has to be; None takes what lies there. With ``server`` each make that
    wrote modules' BTF is repeated with a server in pahole.
    """

    build: BuildOptions
    scenarios: tuple[Scenario, ...] = ()
    cache: bool = False
    boot: bool | None = None
    run: RunRecord | None = None
    server: bool = False


@dataclass(frozen=True)
class Regenerated:
    """What was found, scenario by scenario, and the error before the last of them, if one came."""

    setting: report.Setting
    findings: tuple[Finding, ...]
    error: KbtfError | None = None

    @property
    def exit_code(self) -> ExitCode:
        """1 when stale or refused BTF was left behind anywhere, else what else a boot ended with."""
        codes = {finding.exit_code for finding in self.findings}
        return (
            ExitCode.NOT_VERIFIED if ExitCode.NOT_VERIFIED in codes else max(codes, default=ExitCode.VERIFIED)
        )

    def text(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return report.text(self.setting, self.findings)

    def document(self) -> Mapping[str, object]:
        """Return the JSON document."""
        return report.document(self.setting, self.findings)


def of_run(path: Path, options: RegenOptions) -> RegenOptions:
    """Return the options with the build of the run in a run directory; jobs stay as asked for.

    Raises UsageError when it holds none, or one of a kernel that others built.
    """
    run = RunDirectory(path.resolve()).read_build()
    return replace(options, build=replace(run.build_options, jobs=options.build.jobs), run=run)


def measured(options: RegenOptions) -> BuildOptions:
    """Return the options of each make: what writes BTF is what is to be measured, not what the run had."""
    return replace(options.build, btf_cache=options.cache, btf_server=False)


def regenerate(options: RegenOptions, reporter: Reporter) -> Regenerated:
    """Run the scenarios on the warm build directory that the options name, and leave it as it was.

    ``nothing`` always comes first: what the others cost is more or less than that. Raises UsageError when
    nothing was built there, or not what the run was made from; BuildError when make fails before the first.
    """
    reporter.stage("toolchain")
    with workspace.open_build(measured(options), reporter, options.run) as kbuild:
        asked = possible(options.scenarios, kbuild, reporter)
        tree, rule = _Tree(kbuild, reporter), read_rule(kbuild.source.path)
        reporter.stage("settle")
        bench = _Bench(tree, rule, _settled(tree), options.boot, server=options.server)
        findings, error = play(bench, asked, reporter)
        if error is not None and not findings:
            raise error
        return Regenerated(tree.setting(rule), findings, error)


def possible(asked: Sequence[Scenario], kbuild: Kbuild, reporter: Reporter) -> tuple[Scenario, ...]:
    """Return the scenarios that are asked for, without any all that this engine can bring about.

    Raises UsageError for one that it cannot.
    """
    barred: frozenset[Scenario] = frozenset() if kbuild.runner.contained else CHANGED_SOURCES
    if refused := [one for one in asked if one in barred]:
        raise UsageError(
            f"--scenario {refused[0]}: a source file is changed for one build alone only in a container",
            hint="use --engine container",
        )
    if barred and not asked:
        reporter.warn(
            f"left out, for they take --engine container: {', '.join(sorted(one.value for one in barred))}"
        )
    return tuple(asked) or tuple(one for one in Scenario if one not in barred)


class _Playable(Protocol):
    """Where scenarios are played."""

    def finding(self, scenario: Scenario) -> Finding:
        """Play one scenario and judge it."""

    def restore(self, scenario: Scenario) -> None:
        """Put the build right again."""


def play(
    bench: _Playable, asked: Sequence[Scenario], reporter: Reporter
) -> tuple[tuple[Finding, ...], KbtfError | None]:
    """Return what was found up to the first error, and that error."""
    findings: list[Finding] = []
    try:
        for scenario in (one for one in Scenario if one in asked or one is Scenario.NOTHING):
            reporter.stage(scenario.value)
            finding = bench.finding(scenario)
            findings.append(finding)
            if finding.boot is not None and isinstance(finding.boot.error, InterruptError):
                raise finding.boot.error
            bench.restore(scenario)
    except KbtfError as error:
        return tuple(findings), error
    return tuple(findings), None


class _Tree:
    """One build directory: made, read, checked and booted."""

    def __init__(self, kbuild: Kbuild, reporter: Reporter) -> None:
        self.path = kbuild.build_dir
        self.kbuild = kbuild
        self.reporter = reporter
        self._scanner = Scanner()

    def make(self, overrides: MakeOverrides | None = None, *, server: bool = False) -> Ran:
        kbuild = replace(self.kbuild, wrapper=Wrapper(server=True)) if server else self.kbuild
        return measure(kbuild, overrides or MakeOverrides(), self.reporter.progress)

    def scan(self) -> TreeState:
        return self._scanner.scan(self.path, self.kbuild.modules)

    def link_again(self, files: Iterable[str]) -> None:
        for file in files:
            (self.path / file).unlink()
        self.make()

    def check(self) -> dict[str, str]:
        """Return what the offline check complains of, by module; one without BTF is no matter of its own."""
        vmlinux = read_kernel_file(self.path / "vmlinux")
        config = parse_config((self.path / ".config").read_text(errors="replace"))
        spec = KernelSpec(vmlinux, rules_of(vmlinux, kernel_version("", vmlinux)), config)
        paths: Sequence[Path] = [
            self.path / file for file in self.kbuild.modules if (self.path / file).is_file()
        ]
        found = sweep(spec, paths, self.kbuild.jobs)
        return {
            str(Path(one.file).relative_to(self.path)): one.base_mismatch or one.cause or one.rule
            for one in found
            if one.base_mismatch or one.outcome is Outcome.REJECTED
        }

    def setting(self, rule: Rule) -> report.Setting:
        wrapper = self.kbuild.wrapper
        return report.Setting(
            release=self.kbuild.release,
            modules=len(self.kbuild.modules),
            jobs=self.kbuild.jobs,
            cores=len(os.sched_getaffinity(0)),
            rule=rule,
            cache=wrapper is not None and wrapper.cache is not None,
        )


def _settled(tree: _Tree) -> TreeState:
    """Let make finish whatever is left over, and return the build as it is then."""
    for _ in range(_SETTLING):
        ran = tree.make()
        if not (ran.vmlinux or ran.linked or ran.written):
            break
    else:
        tree.reporter.warn(f"{tree.path}: make finds something to do however often it runs")
    if not tree.kbuild.modules:
        raise UsageError(f"{tree.path}: this kernel has no modules")
    # Whatever came before may have run resolve_btfids twice on them (Finding.btf_ids_reordered).
    tree.link_again(file for file, module in tree.scan().modules.items() if module.ids)
    return tree.scan()


class _Bench:
    """A settled build directory on which the scenarios are played; ``first`` is its state."""

    def __init__(
        self, tree: _Tree, rule: Rule, first: TreeState, boot: bool | None, *, server: bool = False
    ) -> None:
        self._server = server
        self._tree = tree
        self._rule = rule
        self._first = first
        self._boot = boot
        self._accel = Accel.AUTO

    def finding(self, scenario: Scenario) -> Finding:
        """Play one scenario and judge it."""
        tree = self._tree
        with apply_scenario(scenario, tree.kbuild, tree.kbuild.modules) as overrides:
            before = tree.scan()
            ran = tree.make(overrides)
            after = tree.scan()
            finding = judge(scenario, self._rule, (self._first, before, after), ran, tree.check())
            tree.reporter.note(
                f"{len(ran.linked)} LD [M], {len(ran.written)} BTF [M], {ran.usage.wall_s:.1f} s, "
                f"{ran.usage.cpu_s:.1f} CPU s, stale {len(finding.stale)}"
            )
            if self._boot or (self._boot is None and finding.stale):
                finding = replace(finding, boot=self._booted())
        if self._server and ran.written:
            self.restore(scenario)
            finding = replace(finding, server=self._served(scenario, after))
        return finding

    def _served(self, scenario: Scenario, expected: TreeState) -> Served:
        """Play it again with a server, and hold each module's BTF against what pahole itself had written."""
        tree = self._tree
        with apply_scenario(scenario, tree.kbuild, tree.kbuild.modules) as overrides:
            ran = tree.make(overrides, server=True)
            found = tree.scan()
        differing = (
            file for file, module in expected.modules.items() if found.modules[file].btf != module.btf
        )
        tree.reporter.note(f"by a server: {ran.usage.wall_s:.1f} s, {ran.usage.cpu_s:.1f} CPU s")
        return Served(ran, tuple(differing))

    def _booted(self) -> Boot:
        seen = boot(self._tree.kbuild, self._accel, self._tree.reporter)
        if seen.accel == Accel.TCG:
            # Where KVM takes a guest and never answers, finding that out costs a minute each time.
            self._accel = Accel.TCG
        return seen

    def restore(self, scenario: Scenario) -> None:
        """Put the build right again. Raises InfrastructureError when it does not become what it was."""
        tree = self._tree
        if scenario in _LEAVES_WORK:
            tree.reporter.progress("putting the build right again")
            tree.make()
        now = tree.scan()
        if moved := btf_ids_reordered(self._first, now):
            # Only a new link brings back the unsorted pairs that resolve_btfids starts from.
            tree.link_again(moved)
            now = tree.scan()
        if wrong := self._differing(now):
            raise InfrastructureError(
                f"{tree.path}: not as it was before {scenario.value}: {wrong}",
                hint=f"remove {tree.path}/vmlinux and build again",
            )

    def _differing(self, now: TreeState) -> str:
        if now.base != self._first.base:
            return "vmlinux's BTF is another"
        files = (
            file
            for file in self._tree.kbuild.modules
            if self._first.modules.get(file) != now.modules.get(file)
        )
        return next(files, "")
