"""The story of ``kbtf-ci regen``: a finished build is changed in one way after another, and made again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kbtf_ci import workbench
from kbtf_ci.btf.assess import kernel_version
from kbtf_ci.btf.files import parse_config, read_kernel_file
from kbtf_ci.btf.inputs import Scanner
from kbtf_ci.btf.sweep import KernelSpec, sweep
from kbtf_ci.errors import ExitCode, InfrastructureError, UsageError
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.measure import Wish, measure
from kbtf_ci.kernel.modfinal import read_rule
from kbtf_ci.kernel.regen import provoked
from kbtf_ci.outcomes import Outcome
from kbtf_ci.profiles import find_profile
from kbtf_ci.record import Reporter
from kbtf_ci.regeneration import Finding, ModuleState, Ran, Rule, Scenario, TreeState, judge, shuffled
from kbtf_ci.report import regen as report
from kbtf_ci.rundir import RunDirectory
from kbtf_ci.workbench import BuildWishes

# A make that follows another pahole, a new toolchain image or an interrupted scenario has work left over.
_SETTLING = 3


@dataclass(frozen=True)
class RegenWishes:
    """What the user asked for; no scenarios means all of them."""

    build: BuildWishes
    scenarios: tuple[Scenario, ...] = ()
    cache: bool = False


@dataclass(frozen=True)
class Regenerated:
    """What was found, scenario by scenario."""

    setting: report.Setting
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> ExitCode:
        """1 when stale BTF was left behind anywhere."""
        stale = any(finding.stale for finding in self.findings)
        return ExitCode.NOT_VERIFIED if stale else ExitCode.VERIFIED

    def text(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return report.text(self.setting, self.findings)

    def document(self) -> Mapping[str, object]:
        """Return the JSON document."""
        return report.document(self.setting, self.findings)


def wishes_of_run(path: Path) -> BuildWishes:
    """Return how the run in a run directory was built. Raises UsageError when it holds none."""
    return BuildWishes.of_facts(RunDirectory(path.resolve()).read_built()["wishes"])


def regenerate(wishes: RegenWishes, reporter: Reporter) -> Regenerated:
    """Run the scenarios on the warm build directory that the wishes name, and leave it as it was.

    ``nothing`` always comes first: what the others cost is more or less than that. Raises UsageError when
    nothing was built there, BuildError when make fails.
    """
    profile = find_profile(wishes.build.config)
    reporter.stage("toolchain")
    tools = workbench.toolchain(wishes.build.suite, reporter)
    source = workbench.source(wishes.build, tools, reporter)
    folder = workbench.build_folder(source, profile, wishes.build.suite)
    if not (folder / "vmlinux").is_file() or not (folder / "modules.order").is_file():
        raise UsageError(
            f"{folder}: holds no finished build of {profile.name}",
            hint=f"kbtf-ci build --config {wishes.build.config} makes it",
        )
    build = replace(wishes.build, btf_cache=wishes.cache)
    with workbench.owned(folder, reporter):
        bench = _Bench(workbench.kbuild(build, tools, source, folder), read_rule(source.path), reporter)
        bench.settle()
        asked = wishes.scenarios or tuple(Scenario)
        chosen = [one for one in Scenario if one in asked or one is Scenario.NOTHING]
        findings = tuple(bench.finding(scenario) for scenario in chosen)
        return Regenerated(bench.setting(), findings)


class _Bench:
    """One build directory on which the scenarios are played."""

    def __init__(self, kbuild: Kbuild, rule: Rule, reporter: Reporter) -> None:
        self._kbuild = kbuild
        self._rule = rule
        self._reporter = reporter
        self._scanner = Scanner()
        self._files: tuple[str, ...] = ()
        self._first: TreeState | None = None

    def settle(self) -> None:
        """Let make finish whatever is left over, and remember the build as it is then."""
        self._reporter.stage("settle")
        for _ in range(_SETTLING):
            ran = self._make(Wish())
            if not (ran.vmlinux or ran.linked or ran.written):
                break
        else:
            self._reporter.warn(f"{self._kbuild.build_dir}: make finds something to do however often it runs")
        order = (self._kbuild.build_dir / "modules.order").read_text().split()
        self._files = tuple(sorted(str(Path(line).with_suffix(".ko")) for line in order))
        if not self._files:
            raise UsageError(f"{self._kbuild.build_dir}: this kernel has no modules")
        self._first = self._scan()

    def setting(self) -> report.Setting:
        release = (self._kbuild.build_dir / "include/config/kernel.release").read_text().strip()
        cores = len(os.sched_getaffinity(0))
        wrapper = self._kbuild.wrapper
        cached = wrapper is not None and wrapper.cache is not None
        return report.Setting(release, len(self._files), self._kbuild.jobs, cores, self._rule, cached)

    def finding(self, scenario: Scenario) -> Finding:
        """Play one scenario, judge it, and put the build right again."""
        self._reporter.stage(scenario.value)
        with provoked(scenario, self._kbuild, self._files) as wish:
            before = self._scan()
            ran = self._make(wish)
            after = self._scan()
            finding = judge(scenario, self._rule, (self._before_all, before, after), ran, self._check())
        usage = ran.usage
        self._reporter.note(
            f"{len(ran.linked)} LD [M], {len(ran.written)} BTF [M], {usage.wall_s:.1f} s, "
            f"{usage.cpu_s:.1f} CPU s, stale {len(finding.stale)}"
        )
        self._restore(scenario)
        return finding

    @property
    def _before_all(self) -> TreeState:
        assert self._first is not None
        return self._first

    def _restore(self, scenario: Scenario) -> None:
        if scenario in (
            Scenario.BTF_CHANGED,
            Scenario.CODE_CHANGED,
            Scenario.SOURCE_CHANGED,
            Scenario.STRIPPED,
        ):
            self._reporter.progress("putting the build right again")
            self._make(Wish())
        now = self._scan()
        if moved := shuffled(self._before_all, now):
            # Only a new link brings back the unsorted pairs that resolve_btfids starts from.
            for file in moved:
                (self._kbuild.build_dir / file).unlink()
            self._make(Wish())
            now = self._scan()
        if now.base != self._before_all.base or _without_ids(now) != _without_ids(self._before_all):
            wrong = self._differing(now)
            raise InfrastructureError(
                f"{self._kbuild.build_dir}: not as it was before {scenario.value}: {wrong}",
                hint=f"remove {self._kbuild.build_dir}/vmlinux and build again",
            )

    def _differing(self, now: TreeState) -> str:
        if now.base != self._before_all.base:
            return "vmlinux's BTF is another"
        first, last = _without_ids(self._before_all), _without_ids(now)
        return next(file for file in self._files if first.get(file) != last.get(file))

    def _make(self, wish: Wish) -> Ran:
        return measure(self._kbuild, wish, self._reporter.progress)

    def _scan(self) -> TreeState:
        return self._scanner.scan(self._kbuild.build_dir, self._files)

    def _check(self) -> dict[str, str]:
        """Return what the offline check complains of, by module; one without BTF is no matter of its own."""
        build_dir = self._kbuild.build_dir
        vmlinux = read_kernel_file(build_dir / "vmlinux")
        config = parse_config((build_dir / ".config").read_text())
        spec = KernelSpec(vmlinux, kernel_version("", vmlinux), config)
        paths: Sequence[Path] = [build_dir / file for file in self._files if (build_dir / file).is_file()]
        found = sweep(spec, paths, self._kbuild.jobs)
        return {
            str(Path(one.file).relative_to(build_dir)): one.misfit or one.cause or one.rule
            for one in found
            if one.misfit or one.outcome is Outcome.REJECTED
        }


def _without_ids(state: TreeState) -> dict[str, ModuleState]:
    """Return the modules as far as they can be put right: a build may have come with shuffled ids."""
    return {file: replace(module, ids="") for file, module in state.modules.items()}
