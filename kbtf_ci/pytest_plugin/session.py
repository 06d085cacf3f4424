# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One session of pytest with a run: made or read once, collected, and told of at the end.

Under pytest-xdist the controller alone makes or names the run; its workers are told the folder.
"""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from kbtf_ci.errors import KbtfError, UsageError
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.infra.text import printable
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.pytest_plugin.cases import cases
from kbtf_ci.pytest_plugin.items import KbtfRun
from kbtf_ci.pytest_plugin.named import ROOT, Named, take_named
from kbtf_ci.pytest_plugin.objects import Run
from kbtf_ci.pytest_plugin.told import failing, refusing
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import run as workflow
from kbtf_ci.workflow.guests import GuestOptions
from kbtf_ci.workflow.workspace import remove_left_behind

_NAME: Final = "kbtf-ci session"
_FOLDER: Final = "kbtf_run"  # in what a worker is told


def start(config: pytest.Config) -> None:
    """Take part in a session that has one of our options. Raises pytest.UsageError."""
    with refusing():
        _check(config)
    config.pluginmanager.register(SessionPlugin(config, take_named(config)), _NAME)


def _check(config: pytest.Config) -> None:
    run, made = config.getoption("kbtf_run"), config.getoption("kbtf_config")
    if run and made:
        raise UsageError("--kbtf-run names a run and --kbtf-config makes one: one of them at a time")
    if config.getoption("kbtf_output_dir") and not made:
        raise UsageError("--kbtf-output-dir is where --kbtf-config makes a run, which was not given")


class SessionPlugin:
    """The hooks of such a session."""

    def __init__(self, config: pytest.Config, named: Named) -> None:
        self._config = config
        self._named = named
        self._run: Run | None = None
        self._terminated: Any = None

    @classmethod
    def of(cls, config: pytest.Config) -> SessionPlugin | None:
        """Return that of a session, None where no option asked for it."""
        plugin = config.pluginmanager.get_plugin(_NAME)
        return plugin if isinstance(plugin, cls) else None

    @property
    def run(self) -> Run:
        """The run of the session."""
        assert self._run is not None, "asked before the session began"
        return self._run

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Have a run, before there are workers and before anything is collected."""
        self._heed_termination()
        with refusing():
            self._run = _run_of(self._config)
        unknown = self._named.unknown({case.name for case in cases(self.run.results)})
        if unknown:
            shown = ", ".join(printable(f"{ROOT}::{name}") for name in unknown)
            raise pytest.UsageError(f"kbtf-ci: {self.run.path}: has no {shown}")

    def pytest_report_header(self) -> list[str]:
        """Return a line on the run, and one where naming it has changed more than that."""
        results = self.run.results
        release, place = printable(results.kernel.release), printable(str(self.run.path))
        lines = [f"kbtf-ci: kernel {release}, {len(results.modules)} modules, {place}"]
        return [*lines, _MISTAKEN] if _mistaken(self._config) else lines

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist the run."""
        node.workerinput[_FOLDER] = str(self.run.path)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Add our node to those that the session's arguments come to."""
        report = yield
        if isinstance(collector, pytest.Session) and report.passed:
            wanted = [case for case in cases(self.run.results) if self._named.wants(case.name)]
            if wanted:
                file = RunDirectory(self.run.path).results_json
                report.result = [*(report.result or ()), KbtfRun.of(collector, file, wanted)]
        return report

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what --deselect names, by its whole name."""
        left_out = {f"{ROOT}::{name}" for name in self._named.deselected}
        deselected = [item for item in items if item.nodeid in left_out]
        if deselected:
            config.hook.pytest_deselected(items=deselected)
            items[:] = [item for item in items if item.nodeid not in left_out]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None]:
        """See failing()."""
        with failing():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None]:
        """See failing()."""
        with failing():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None]:
        """See failing()."""
        with failing():
            return (yield)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell what the run came to, and what was found that does not count."""
        terminalreporter.section("kbtf-ci")
        for line in _summary(self.run):
            terminalreporter.write_line(printable(line))

    def pytest_unconfigure(self) -> None:
        """Remove what killed workers left, and leave termination as it was."""
        if self._config.pluginmanager.has_plugin("dsession"):
            # pytest-xdist kills a worker that has not ended ten seconds after the session: its guest stays.
            with suppress(KbtfError):
                remove_left_behind()
        if self._terminated is not None:
            signal.signal(signal.SIGTERM, self._terminated)

    def _heed_termination(self) -> None:
        """Let SIGTERM end the session as ^C does, guests and containers with it; pytest heeds none."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._terminated = signal.signal(signal.SIGTERM, _interrupt)


# pytest looks for its root before it knows our options (its reference, "Finding the rootdir").
_MISTAKEN: Final = (
    "kbtf-ci: in two words, pytest took the folder for one of tests when it looked for its configuration: "
    "write --kbtf-run=RUNDIR"
)


def _mistaken(config: pytest.Config) -> bool:
    """Return whether the run directory may have kept pytest from the project's own configuration."""
    named, here = config.getoption("kbtf_run"), config.invocation_params.dir
    in_two_words = "--kbtf-run" in config.invocation_params.args
    return in_two_words and not (here / named).resolve().is_relative_to(here.resolve())


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt(f"interrupted by {signal.Signals(number).name}")


def _run_of(config: pytest.Config) -> Run:
    """Return the run that was named, or that is made now. Raises KbtfError."""
    told = getattr(config, "workerinput", {}).get(_FOLDER)
    named = told or config.getoption("kbtf_run")
    return Run.read(Path(named) if named else _made(config))


def _made(config: pytest.Config) -> Path:
    options = BuildOptions(config=config.getoption("kbtf_config"), jobs=len(os.sched_getaffinity(0)))
    output = config.getoption("kbtf_output_dir")
    command = shlex.join(["pytest", *map(str, config.invocation_params.args)])
    with TerminalReporter(quiet=config.get_verbosity() < 0) as reporter:
        verdict = workflow.run(options, GuestOptions(), Path(output) if output else None, command, reporter)
    return verdict.directory.path


def _summary(run: Run) -> Iterator[str]:
    results = run.results
    counts = Counter(module.outcome.value for module in results.modules)
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing was verified"
    yield f"kernel {results.kernel.release}: {told}; {run.path}"
    if results.ended:
        yield f"the run ended early: {results.ended}"
    for one in results.findings or ():
        if not one.counts:
            yield f"does not count: {one.text}"
