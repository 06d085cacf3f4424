# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What regen keeps of the scenarios when one of them ends in an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import BuildError, ExitCode, GuestError, InterruptError, UsageError
from kbtf_ci.host.runner import HostRunner
from kbtf_ci.infra.runner import Runner
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.source import Source
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.regeneration import Boot, Finding, Ran, Rule, Scenario, Usage
from kbtf_ci.report.regen import Setting
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow.regen import Regenerated, RegenOptions, measured, play, possible
from tests.support.local import LocalRunner

SETTING = Setting("6.12.3", 2, 2, 2, Rule.KEPT, cache=False)


def finding(scenario: Scenario, stale: tuple[str, ...] = (), boot: Boot | None = None) -> Finding:
    ran = Ran(frozenset(), frozenset(), False, Usage(1.0, 1.0, 1.0, 1))
    return Finding(scenario, ran, (), (), stale, (), (), (), (0, 0), {}, boot)


class Bench:
    """Plays scenarios, and fails at one of them, before or after its finding."""

    def __init__(
        self, fails_at: Scenario | None, error: BuildError | InterruptError | None, *, restoring: bool
    ) -> None:
        self.fails_at = fails_at
        self.error = error
        self.restoring = restoring

    def finding(self, scenario: Scenario) -> Finding:
        if scenario is self.fails_at and not self.restoring:
            assert self.error
            raise self.error
        return finding(scenario)

    def restore(self, scenario: Scenario) -> None:
        if scenario is self.fails_at and self.restoring:
            assert self.error
            raise self.error


@pytest.mark.parametrize("error", [BuildError("make failed"), InterruptError("interrupted")])
@pytest.mark.parametrize("restoring", [False, True])
def test_what_was_found_before_an_error_is_kept(error: BuildError | InterruptError, restoring: bool) -> None:
    bench = Bench(Scenario.BTF_CHANGED, error, restoring=restoring)
    with TerminalReporter(quiet=True) as reporter:
        findings, ended = play(bench, tuple(Scenario), reporter)
    kept = [one.scenario for one in findings]
    assert kept == list(Scenario)[: 3 if restoring else 2]
    assert ended is error
    lines = list(Regenerated(SETTING, findings, ended).text())
    assert any(line.startswith("vmlinux-touched ") for line in lines)


def test_an_interrupt_during_a_boot_ends_it_all_and_keeps_what_was_found() -> None:
    end = InterruptError("interrupted")

    class Interrupted(Bench):
        def finding(self, scenario: Scenario) -> Finding:
            return finding(scenario, boot=Boot("", 0.0, {}, error=end))

    with TerminalReporter(quiet=True) as reporter:
        findings, ended = play(Interrupted(None, None, restoring=False), tuple(Scenario), reporter)
    assert [one.scenario for one in findings] == [Scenario.NOTHING]
    assert ended is end


def test_the_asked_for_scenarios_come_in_their_own_order_behind_nothing() -> None:
    bench = Bench(None, None, restoring=False)
    with TerminalReporter(quiet=True) as reporter:
        findings, ended = play(bench, (Scenario.DELETED, Scenario.TOUCHED), reporter)
    assert [one.scenario for one in findings] == [Scenario.NOTHING, Scenario.TOUCHED, Scenario.DELETED]
    assert ended is None


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([finding(Scenario.NOTHING)], ExitCode.VERIFIED),
        ([finding(Scenario.NOTHING), finding(Scenario.TOUCHED, stale=("a.ko",))], ExitCode.NOT_VERIFIED),
        (
            [
                finding(Scenario.NOTHING, boot=Boot("", 0.0, {}, error=GuestError("it hung"))),
                finding(Scenario.TOUCHED, boot=Boot("tcg", 4.0, {"a.ko": Outcome.REJECTED})),
            ],
            ExitCode.NOT_VERIFIED,
        ),
        (
            [finding(Scenario.NOTHING, boot=Boot("", 0.0, {}, error=GuestError("it hung")))],
            ExitCode.GUEST_DIED,
        ),
    ],
)
def test_btf_left_behind_decides_the_exit_code_before_a_guest_that_died(
    findings: list[Finding], code: ExitCode
) -> None:
    assert Regenerated(SETTING, tuple(findings)).exit_code is code


def kbuild(runner: Runner, folder: Path) -> Kbuild:
    source = Source(folder, "6.12", "a tree", "tree-0")
    return Kbuild(runner, source, folder, folder, jobs=1, toolchain="host")


def test_the_host_plays_what_needs_no_file_in_the_place_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host, contained = kbuild(HostRunner(), tmp_path), kbuild(LocalRunner(), tmp_path)
    with TerminalReporter(quiet=True) as reporter:
        assert possible((), contained, reporter) == tuple(Scenario)
        assert capsys.readouterr().err == ""
        played = possible((), host, reporter)
        assert set(Scenario) - set(played) == {
            Scenario.BTF_CHANGED, Scenario.CODE_CHANGED, Scenario.SOURCE_CHANGED,
        }  # fmt: skip
        assert "take --engine container: " in " ".join(capsys.readouterr().err.split())
        assert possible((Scenario.DELETED,), host, reporter) == (Scenario.DELETED,)
        with pytest.raises(UsageError, match="only in a container"):
            possible((Scenario.DELETED, Scenario.BTF_CHANGED), host, reporter)


@pytest.mark.parametrize("cache", [False, True])
def test_a_make_is_measured_without_what_the_run_was_made_with(cache: bool) -> None:
    build = BuildOptions("smoke", 2, btf_cache=True, btf_server=True)
    found = measured(RegenOptions(build, cache=cache, server=True))
    assert (found.btf_cache, found.btf_server) == (cache, False)
