# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Commands and options; the only place that reads the command line or exits."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from kbtf_ci import __version__
from kbtf_ci.container import provision
from kbtf_ci.container.image import DEFAULT_SUITE
from kbtf_ci.errors import ExitCode, InfrastructureError, InterruptError, KbtfError, UsageError
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.infra.profiles import parse_size_mib
from kbtf_ci.model.outcome import LoadPolicy
from kbtf_ci.model.regeneration import Scenario
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import btf_cache as btfcaching
from kbtf_ci.workflow import check as checking
from kbtf_ci.workflow import doctor, prebuilt
from kbtf_ci.workflow import regen as regenerating
from kbtf_ci.workflow import run as pipeline
from kbtf_ci.workflow import sizes as sizing
from kbtf_ci.workflow.verify import GuestOptions, Verdict
from kbtf_ci.workflow.workspace import BuildOptions, toolchain

_Command = TypeVar("_Command", bound=Callable[..., Any])
# Variables of make that say where things lie, which is kbtf-ci's own business.
_OWN_VARIABLES = frozenset({"O", "KBUILD_OUTPUT", "KCONFIG_CONFIG", "KBUILD_EXTMOD", "M"})


class _Size(click.ParamType[int]):
    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_size_mib(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _options(*decorators: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def apply(command: _Command) -> _Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


_build_options = _options(
    click.option("--config", default="smoke", show_default=True,
                 help="Profile, defconfig target of kbuild, or path to a .config."),
    click.option("-C", "--directory", default="", metavar="DIR|TARBALL|URL",
                 help="Kernel source; without it the suite's own package."),
    click.option("--sha256", default="", help="What a URL's download must hash to."),
    click.option("-K", "--kconfig-add", "added", multiple=True, metavar="SYMBOL=VALUE",
                 help="A symbol on top of the profile's; repeatable."),
    click.option("-j", "--jobs", type=click.IntRange(min=1), default=len(os.sched_getaffinity(0)),
                 show_default="cores", help="Jobs of make."),
    click.option("--suite", default=DEFAULT_SUITE, show_default=True, help="Debian suite of the toolchain."),
    click.option("--pahole", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="A pahole of this machine in place of the image's."),
    click.option("--btf-cache/--no-btf-cache", default=False, show_default=True,
                 envvar="KBTF_CI_USE_BTF_CACHE", show_envvar=True,
                 help="Take modules' BTF from a cache where all it is made from is unchanged."),
    click.option("-o", "--output-dir", "output", type=click.Path(path_type=Path),
                 help="Run directory to make; runs/<UTC time>-<profile> without it."),
    click.argument("variables", nargs=-1, metavar="[VAR=VALUE]..."),
)  # fmt: skip

_guest_options = _options(
    click.option("--accel", type=click.Choice([accel.value for accel in Accel]), default="auto",
                 show_default=True, help="auto falls back from KVM to emulation, and says so."),
    click.option("-m", "--memory", "memory_mib", type=_Size(), help="Memory of the guest; else as profiled."),
    click.option("--cpus", type=click.IntRange(min=1), help="CPUs of the guest; else as profiled."),
    click.option("--append", default="", help="More words for the kernel's command line."),
    click.option("--load", type=click.Choice([policy.value for policy in LoadPolicy]),
                 help="How modules are put before the kernel; auto, above 1,500 modules carrier."),
    click.option("--guests", type=click.IntRange(min=1),
                 help="Guests that share the modules, at once; else by cores, one a thousand modules."),
    click.option("--timeouts", multiple=True, metavar="NAME=TIME", help="For instance boot=5m; repeatable."),
    click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML here."),
    click.option("--json", "as_json", is_flag=True, help="Print results.json on standard output."),
    click.option("--bisect", is_flag=True, help="Exit 125 where the commit is not to blame."),
)  # fmt: skip

_prebuilt_options = _options(
    click.option("--kernel", multiple=True, metavar="PATH|running",
                 help="A kernel that others built: an image, Debian packages (repeatable), a folder as "
                      "modules_install leaves it, or the running system's own."),
    click.option("--modules", type=click.Path(exists=True, file_okay=False, path_type=Path),
                 help="Its modules, where --kernel is an image."),
    click.option("--suite", default=DEFAULT_SUITE, show_default=True, help="Debian suite of QEMU's image."),
    click.option("-o", "--output-dir", "output", type=click.Path(path_type=Path),
                 help="Run directory to make with --kernel; runs/<UTC time>-prebuilt without it."),
)  # fmt: skip

_check_options = _options(
    click.option("--vmlinux", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="The kernel: a vmlinux, bzImage or raw BTF such as /sys/kernel/btf/vmlinux."),
    click.option("--kernel-version", "version", default="", metavar="6.12",
                 help="Judge by the rules of this version; else by the kernel's own."),
    click.option("--allow-mismatch/--no-allow-mismatch", default=None,
                 help="CONFIG_MODULE_ALLOW_BTF_MISMATCH; else from the kernel's configuration."),
    click.option("--kernel-config", "config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="The kernel's .config; else the one embedded, or config-<release> beside the kernel."),
    click.option("-j", "--jobs", type=click.IntRange(min=1), default=len(os.sched_getaffinity(0)),
                 show_default="cores", help="Processes."),
    click.option("--json", "as_json", is_flag=True, help="Print the predictions as JSON."),
    click.argument("modules", nargs=-1, required=True, metavar="MODULE|DIR|RUNDIR...",
                   type=click.Path(exists=True, path_type=Path)),
)  # fmt: skip

_sizes_options = _options(
    click.option("-j", "--jobs", type=click.IntRange(min=1), default=len(os.sched_getaffinity(0)),
                 show_default="cores", help="Modules that pahole encodes at a time."),
    click.option("--top", type=click.IntRange(min=1), default=10, show_default=True,
                 help="Modules in each table."),
    click.option("--json", "as_json", is_flag=True, help="Print sizes.json on standard output."),
)  # fmt: skip

_regen_options = _options(
    click.option("--config", default="", metavar="NAME", help="This profile's build, in place of RUNDIR."),
    click.option("-C", "--directory", default="", metavar="DIR|TARBALL|URL",
                 help="Its kernel source; without it the suite's own package."),
    click.option("--sha256", default="", help="What a URL's download must hash to."),
    click.option("--suite", default=DEFAULT_SUITE, show_default=True, help="Debian suite of the toolchain."),
    click.option("-j", "--jobs", type=click.IntRange(min=1), default=len(os.sched_getaffinity(0)),
                 show_default="cores", help="Jobs of make."),
    click.option("--scenario", "scenarios", multiple=True,
                 type=click.Choice([scenario.value for scenario in Scenario]),
                 help="What is done before make is called; repeatable, all of them without it."),
    click.option("--cache/--no-cache", default=False, show_default=True,
                 help="Measure with the BTF cache in the place of pahole."),
    click.option("--boot/--no-boot", default=None,
                 help="Boot what each make leaves; without either, where stale BTF is left."),
    click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON."),
)  # fmt: skip

_common_options = _options(
    click.option("-q", "--quiet", is_flag=True, help="Only warnings, errors and the summary."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)

_run_directory = click.argument(
    "run_directory", metavar="RUNDIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Build a kernel, boot it, and prove that the BTF of every module still loads."""


@main.command()
@_build_options
@_guest_options
@_common_options
def run(*, output: Path | None, quiet: bool, debug: bool, bisect: bool, **options: Any) -> None:
    """Build a kernel, boot it, and verify the BTF of every module."""
    with _reporting(quiet=quiet, debug=debug, bisect=bisect) as reporter:
        verdict = pipeline.run(
            _build_wishes(options), _guest_wishes(options), output, _command_line(), reporter
        )
        _finish(verdict, reporter, junit=options["junit"], as_json=options["as_json"])


@main.command()
@_build_options
@_common_options
def build(output: Path | None, quiet: bool, debug: bool, **options: Any) -> None:
    """Build a kernel and list its modules, without booting it."""
    with _reporting(quiet=quiet, debug=debug) as reporter:
        directory = pipeline.build(_build_wishes(options), output, _command_line(), reporter)
        click.echo(directory.path)


@main.command()
@click.argument(
    "run_directory",
    metavar="[RUNDIR]",
    required=False,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@_prebuilt_options
@_guest_options
@_common_options
def verify(*, run_directory: Path | None, quiet: bool, debug: bool, bisect: bool, **options: Any) -> None:
    """Boot RUNDIR's kernel, or one that others built, and verify its modules as they are now."""
    with _reporting(quiet=quiet, debug=debug, bisect=bisect) as reporter:
        guest = _guest_wishes(options)
        if (run_directory is None) == (not options["kernel"]):
            raise UsageError("verify wants either a run directory or --kernel")
        if run_directory is not None:
            verdict = pipeline.verify(run_directory, guest, reporter)
        else:
            wishes = prebuilt.PrebuiltOptions(options["kernel"], options["modules"], options["suite"])
            verdict = prebuilt.verify(wishes, guest, options["output"], _command_line(), reporter)
        _finish(verdict, reporter, junit=options["junit"], as_json=options["as_json"])


@main.command()
@_run_directory
@_guest_options
@_common_options
def shell(run_directory: Path, quiet: bool, debug: bool, **options: Any) -> None:
    """Boot RUNDIR's kernel and open a shell in the guest over SSH."""
    with _reporting(quiet=quiet, debug=debug) as reporter:
        status = pipeline.shell(run_directory, _guest_wishes(options), reporter)
    sys.exit(status)


@main.command()
@_check_options
@_common_options
def check(*, as_json: bool, quiet: bool, debug: bool, **options: Any) -> None:
    """Say, without booting, what the kernel will say of each module's BTF, and what it will not notice."""
    with _reporting(quiet=quiet, debug=debug) as reporter:
        found = checking.check(checking.CheckOptions(**options), reporter)
        reporter.close()
        click.echo(json.dumps(found.document(), indent=1) if as_json else "\n".join(found.text()))
        sys.exit(found.exit_code)


@main.command()
@_run_directory
@_sizes_options
@_common_options
def sizes(*, run_directory: Path, jobs: int, top: int, as_json: bool, quiet: bool, debug: bool) -> None:
    """Show what split BTF saves: RUNDIR's modules with full BTF against their split BTF."""
    with _reporting(quiet=quiet, debug=debug) as reporter:
        sized = sizing.measure_sizes(run_directory, jobs, reporter)
        reporter.close()
        click.echo(json.dumps(sized.values, indent=1) if as_json else "\n".join(sized.text(top)))


@main.command()
@click.argument("run_directory", metavar="[RUNDIR]", required=False,
                type=click.Path(exists=True, file_okay=False, path_type=Path))  # fmt: skip
@_regen_options
@_common_options
def regen(*, run_directory: Path | None, as_json: bool, quiet: bool, debug: bool, **options: Any) -> None:
    """Show what writing modules' BTF again costs on a finished build, and whether the right ones get it."""
    with _reporting(quiet=quiet, debug=debug) as reporter:
        if (run_directory is None) == (not options["config"]):
            raise UsageError("regen wants either a run directory or --config")
        if run_directory is not None:
            build = replace(regenerating.options_of_run(run_directory), jobs=options["jobs"])
        else:
            named = {name: options[name] for name in ("config", "jobs", "suite", "directory", "sha256")}
            build = BuildOptions(**named)
        scenarios = tuple(Scenario(name) for name in options["scenarios"])
        found = regenerating.regenerate(
            regenerating.RegenOptions(build, scenarios, options["cache"], options["boot"]), reporter
        )
        reporter.close()
        click.echo(json.dumps(found.document(), indent=1) if as_json else "\n".join(found.text()))
        if found.error is not None:
            raise found.error
        sys.exit(found.exit_code)


@main.command("btf-cache")
@click.option("--clear", is_flag=True, help="Empty it.")
@click.option("--json", "as_json", is_flag=True, help="Print what it holds as JSON.")
@_common_options
def btf_cache(*, clear: bool, as_json: bool, quiet: bool, debug: bool) -> None:
    """Show or empty the cache of modules' BTF that --btf-cache puts in the place of pahole."""
    with _reporting(quiet=quiet, debug=debug):
        found = btfcaching.clear() if clear else btfcaching.show()
        click.echo(json.dumps(found.document(), indent=1) if as_json else "\n".join(found.text()))


@main.command()
@_common_options
def setup(quiet: bool, debug: bool) -> None:
    """Install and start what is missing on this machine: a container engine, the toolchain image."""
    with _reporting(quiet=quiet, debug=debug) as reporter:
        reporter.stage("setup")
        provision.setup(reporter.note)
        toolchain(DEFAULT_SUITE, reporter)


@main.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@_common_options
def doctor_command(as_json: bool, quiet: bool, debug: bool) -> None:
    """Show what was found of all that a run needs, and the way out of each fault."""
    with _reporting(quiet=quiet, debug=debug):
        findings = doctor.examine()
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            click.echo(f"{finding.state:<5}{finding.subject:<18}{finding.detail}")
            if finding.remedy:
                click.echo(f"{'':<23}-> {finding.remedy}")
    sys.exit(ExitCode.INFRASTRUCTURE if any(finding.state == "bad" for finding in findings) else 0)


def _build_wishes(options: dict[str, Any]) -> BuildOptions:
    for variable in options["variables"]:
        name, separator, _ = variable.partition("=")
        if not separator or re.fullmatch(r"[A-Za-z_]\w*", name) is None:
            raise UsageError(f"{variable}: not of the form VAR=VALUE")
        if name in _OWN_VARIABLES:
            raise UsageError(
                f"{variable}: kbtf-ci sets {name} itself", hint="-C names the source, -o the run directory"
            )
    return BuildOptions(
        config=options["config"],
        directory=options["directory"],
        sha256=options["sha256"],
        added=options["added"],
        jobs=options["jobs"],
        suite=options["suite"],
        pahole=options["pahole"].resolve() if options["pahole"] else None,
        variables=options["variables"],
        btf_cache=options["btf_cache"],
    )


def _guest_wishes(options: dict[str, Any]) -> GuestOptions:
    return GuestOptions(
        accel=Accel(options["accel"]),
        memory_mib=options["memory_mib"],
        cpus=options["cpus"],
        append=options["append"],
        load=LoadPolicy(options["load"]) if options["load"] else None,
        guests=options["guests"],
        timeouts=Timeouts.parse(options["timeouts"]),
    )


def _command_line() -> str:
    return shlex.join(["kbtf-ci", *sys.argv[1:]])


@contextmanager
def _reporting(*, quiet: bool, debug: bool, bisect: bool = False) -> Iterator[TerminalReporter]:
    """Give a reporter; turn signals into an orderly end, and errors into a line and an exit code."""
    _catch_signals()
    with TerminalReporter(quiet=quiet) as reporter:
        try:
            yield reporter
        except KbtfError as error:
            if debug:
                raise
            _print_error(error)
            sys.exit(_exit_code(error.exit_code, bisect=bisect))
        except OSError as error:
            # Whatever file or disk it was that no stage expected to fail.
            if debug:
                raise
            _print_error(InfrastructureError(f"{error.filename or 'the disk'}: {error.strerror or error}"))
            sys.exit(_exit_code(ExitCode.INFRASTRUCTURE, bisect=bisect))


def _catch_signals() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        # Whoever presses ^C twice would otherwise interrupt the clean-up.
        for other in (signal.SIGINT, signal.SIGTERM):
            signal.signal(other, signal.SIG_IGN)
        raise InterruptError(f"interrupted by {signal.Signals(number).name}")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _print_error(error: KbtfError) -> None:
    if error.detail:
        click.echo(error.detail, err=True)
    click.echo(f"kbtf-ci: {error.message}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)


def _exit_code(code: ExitCode, *, bisect: bool) -> ExitCode:
    says_nothing = code in (ExitCode.USAGE, ExitCode.BUILD_FAILED, ExitCode.INFRASTRUCTURE)
    return ExitCode.BISECT_SKIP if bisect and says_nothing else code


def _finish(verdict: Verdict, reporter: TerminalReporter, *, junit: Path | None, as_json: bool) -> None:
    reporter.close()
    for line in verdict.summary():
        click.echo(line, err=as_json)
    click.echo(f"run directory: {verdict.directory.path}", err=as_json)
    if as_json:
        click.echo(verdict.directory.results_json.read_text(), nl=False)
    if junit is not None:
        verdict.write_junit(junit)
    if verdict.error is not None:
        raise verdict.error
    sys.exit(verdict.exit_code)
