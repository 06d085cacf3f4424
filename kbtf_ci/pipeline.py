"""The story of a run, and the only place where the stages meet.

profile -> source -> toolchain image -> configure -> build -> inventory -> guest image -> guest ->
observations -> verdict -> report. Each stage hands on one frozen value and never reaches back.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kbtf_ci import __version__, rundir
from kbtf_ci.btf.inventory import check_unaltered, inventory, require
from kbtf_ci.container import image as container_image
from kbtf_ci.container.engine import Engine
from kbtf_ci.errors import ExitCode, InfrastructureError, KbtfError, UsageError
from kbtf_ci.guest.accel import choose
from kbtf_ci.guest.guest import GuestSpec, booted
from kbtf_ci.guest.image import make_image
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.session import Listener, observe
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.kernel import build as kernel_build
from kbtf_ci.kernel import source as kernel_source
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.kconfig import Configured, configure
from kbtf_ci.kernel.strip import strip_modules
from kbtf_ci.locks import exclusive
from kbtf_ci.modules import Module
from kbtf_ci.outcomes import LoadPolicy, ModuleResult, Observation, exit_code, judge
from kbtf_ci.paths import cache_root
from kbtf_ci.profiles import Profile, find_profile
from kbtf_ci.record import Record, Reporter
from kbtf_ci.report.junit import junit
from kbtf_ci.report.ktap import ktap
from kbtf_ci.report.markdown import markdown
from kbtf_ci.report.results import GuestFacts, KernelFacts, document
from kbtf_ci.report.summary import summary
from kbtf_ci.runner import Runner


@dataclass(frozen=True)
class BuildWishes:
    """What the user asked for of source, configuration and build; options of the same names say more."""

    config: str
    jobs: int
    suite: str = container_image.DEFAULT_SUITE
    directory: str = ""
    sha256: str = ""
    added: tuple[str, ...] = ()
    pahole: Path | None = None
    variables: tuple[str, ...] = ()


@dataclass(frozen=True)
class GuestWishes:
    """What the user asked for of the guest; None leaves it to the profile."""

    accel: Accel = Accel.AUTO
    memory_mib: int | None = None
    cpus: int | None = None
    append: str = ""
    load: LoadPolicy = LoadPolicy.AUTO
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(frozen=True)
class Verdict:
    """The end of a run: a result for every module, and the error that ended it early, if one did."""

    directory: rundir.RunDirectory
    kernel: KernelFacts
    guest: GuestFacts | None
    results: tuple[ModuleResult, ...]
    error: KbtfError | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that the results alone ask for."""
        return exit_code(self.results)

    @property
    def ended(self) -> str:
        """Why the run ended before its last module, "" if it did not."""
        return self.error.message if self.error else ""

    def summary(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return summary(self.kernel, self.guest, self.results, self.ended)

    def write(self) -> None:
        """Write results.json and the reports made from it."""
        rundir.write_json(
            self.directory.results_json, document(self.kernel, self.guest, self.results, self.ended)
        )
        rundir.write_text(self.directory.file("results.ktap"), ktap(self.results))
        rundir.write_text(self.directory.file("summary.md"), markdown(self.kernel, self.stages, self.results))
        self.write_junit(self.directory.file("junit.xml"))

    def write_junit(self, path: Path) -> None:
        """Write JUnit XML to ``path``."""
        rundir.write_text(path, junit(self.kernel.release, self.results))


@dataclass(frozen=True)
class _Run:
    """One run under way: its folder, its record, and who is told of it."""

    directory: rundir.RunDirectory
    record: Record
    reporter: Reporter


@dataclass(frozen=True)
class _Tools:
    """The toolchain image, and a runner of commands in it."""

    image: container_image.Toolchain
    runner: Runner


def run(
    wishes: BuildWishes, guest: GuestWishes, output: Path | None, command: str, reporter: Reporter
) -> Verdict:
    """Build a kernel, boot it and judge every module. What a failed guest left out is NOT_REACHED.

    Raises KbtfError for whatever fails before the guest.
    """
    profile = find_profile(wishes.config)
    this = _new_run(wishes, profile, output, command, reporter)
    with this.record.whole():
        tools = _tools(wishes.suite, this)
        _insist(guest.accel, tools, this)
        _build(wishes, profile, tools, this)
        return _verify(guest, tools, this)


def build(wishes: BuildWishes, output: Path | None, command: str, reporter: Reporter) -> rundir.RunDirectory:
    """Build a kernel into a new run directory, without booting it."""
    profile = find_profile(wishes.config)
    this = _new_run(wishes, profile, output, command, reporter)
    with this.record.whole():
        _build(wishes, profile, _tools(wishes.suite, this), this)
    return this.directory


def verify(path: Path, guest: GuestWishes, reporter: Reporter) -> Verdict:
    """Boot the kernel of a run directory and judge its modules as they are in it now."""
    this = _old_run(path, reporter)
    with this.record.whole():
        tools = _tools(_suite(this), this)
        _insist(guest.accel, tools, this)
        return _verify(guest, tools, this)


def shell(path: Path, wishes: GuestWishes, reporter: Reporter) -> int:
    """Boot the kernel of a run directory and connect this process's input and output to a shell in it.

    Returns the shell's exit status.
    """
    this = _old_run(path, reporter)
    runner = toolchain(_suite(this), reporter).runner
    _, spec = _guest(wishes, runner, this)
    accel = choose(runner, spec.accel, reporter.warn)
    console = this.directory.file("shell-console.log")
    with booted(runner, spec, accel, console, reporter.warn) as guest:
        return guest.shell.interact()


def toolchain(suite: str, reporter: Reporter) -> _Tools:
    """Return the suite's toolchain image, built if it is not there, and a runner of commands in it."""
    engine = Engine.connect()
    image = container_image.ensure(engine, suite, reporter.progress)
    return _Tools(image, engine.runner(image.image))


def _new_run(
    wishes: BuildWishes, profile: Profile, output: Path | None, command: str, reporter: Reporter
) -> _Run:
    directory = rundir.create(output or rundir.default_path(profile.name))
    if output is None:
        rundir.point_latest(directory)
    facts = {
        "kbtf_ci": __version__,
        "command": command,
        "wishes": {**asdict(wishes), "pahole": str(wishes.pahole or "")},
        "profile": {"name": profile.name, "memory_mib": profile.memory_mib, "cpus": profile.cpus},
    }
    return _Run(directory, Record(directory, reporter, facts), reporter)


def _old_run(path: Path, reporter: Reporter) -> _Run:
    directory = rundir.RunDirectory(path.resolve())
    facts = directory.read_run()
    if "kernel" not in facts:
        raise UsageError(f"{path}: its kernel was never built to the end", hint="kbtf-ci run makes a new one")
    return _Run(directory, Record(directory, reporter, facts), reporter)


def _suite(this: _Run) -> str:
    suite: str = this.record.facts["wishes"]["suite"]
    return suite


def _tools(suite: str, this: _Run) -> _Tools:
    with this.record.stage("toolchain"):
        tools = toolchain(suite, this.reporter)
    this.record.add(toolchain=asdict(tools.image))
    return tools


def _insist(accel: Accel, tools: _Tools, this: _Run) -> None:
    """Refuse ``--accel kvm`` where it does not run before an hour's build, or over earlier results."""
    if accel is Accel.KVM:
        choose(tools.runner, accel, this.reporter.warn)


def _build(wishes: BuildWishes, profile: Profile, tools: _Tools, this: _Run) -> None:
    record, reporter, directory = this.record, this.reporter, this.directory
    with record.stage("source"):
        source = _source(wishes, tools, reporter)
        record.add(source={"version": source.version, "origin": source.origin})
    folder = cache_root() / "build" / f"{source.key}-{profile.key}-{wishes.suite}"
    with _owned(folder, reporter):
        kbuild = _kbuild(wishes, tools, source, folder)
        with record.stage("configure"):
            configured = configure(kbuild, profile, wishes.added)
            _keep_configuration(configured, directory)
        with record.stage("build"):
            kernel_build.check_disk(folder, profile.disk_mib)
            built = kernel_build.build(kbuild, directory.file("build.log"), _tell_progress(reporter))
            written = built.steps.get("BTF [M]", 0)
            reporter.note(f"{built.compiled} files compiled, BTF of {written} modules written")
        with record.stage("inventory"):
            _copy_kernel(built, folder, directory)
            modules = inventory(directory.modules, _skipped(built.skipped_btf))
            require(profile.require, modules)
            size = sum(module.btf_bytes for module in modules)
            reporter.note(f"{len(modules)} modules, {size:,} bytes of split BTF")
        with record.stage("strip"):
            files = [module.file for module in modules]
            stripped = folder / ".kbtf-ci" / "stripped"
            strip_modules(tools.runner, directory.modules, stripped, files, wishes.jobs)
            _copy_files(stripped, directory.guest_modules, files)
    record.add(
        kernel=asdict(_kernel_facts(built, configured)),
        make=dict(built.steps),
        skipped_btf=_skipped(built.skipped_btf),
    )


def _verify(wishes: GuestWishes, tools: _Tools, this: _Run) -> Verdict:
    record, directory = this.record, this.directory
    with record.stage("guest image"):
        modules, spec = _guest(wishes, tools.runner, this)
    sight = _Sight(len(modules), this.reporter)
    guest, error = None, None
    with record.stage("guest"):
        try:
            seen = observe(
                tools.runner, spec, modules, wishes.load, logs=directory.path, listener=sight.listener()
            )
            guest = GuestFacts(seen.accel.value, round(seen.boot_s, 2), round(seen.load_s, 2), seen.boots)
        except KbtfError as end:
            error = end
            record.failed(end)
    results = tuple(judge(module, sight.observations.get(module.name, ())) for module in modules)
    kernel = KernelFacts(**record.facts["kernel"])
    verdict = Verdict(directory, kernel, guest, results, error, dict(record.facts["stages"]))
    verdict.write()
    return verdict


def _guest(wishes: GuestWishes, runner: Runner, this: _Run) -> tuple[tuple[Module, ...], GuestSpec]:
    """Return the modules as they are in the run directory now, and the guest that carries them."""
    directory, facts = this.directory, this.record.facts
    profile = facts["profile"]
    modules = inventory(directory.modules, facts["skipped_btf"])
    files = [module.file for module in modules]
    strip_modules(runner, directory.modules, directory.guest_modules, files, profile["cpus"])
    check_unaltered(modules, directory.guest_modules)
    spec = GuestSpec(
        kernel=directory.kernel / "bzImage",
        image=make_image(runner, directory.guest, directory.guest_modules, modules),
        memory_mib=wishes.memory_mib or profile["memory_mib"],
        cpus=wishes.cpus or profile["cpus"],
        accel=wishes.accel,
        append=wishes.append,
        timeouts=wishes.timeouts,
    )
    return modules, spec


class _Sight:
    """Collects what the guest says, and tells how far it is."""

    def __init__(self, expected: int, reporter: Reporter) -> None:
        self.observations: dict[str, list[Observation]] = {}
        self._expected = expected
        self._reporter = reporter

    def listener(self) -> Listener:
        return Listener(self._observed, self._booted, self._reporter.warn)

    def _observed(self, observation: Observation) -> None:
        self.observations.setdefault(observation.name, []).append(observation)
        self._reporter.progress(f"{len(self.observations)} of {self._expected}, {observation.name}")
        if observation.death is not None:
            self._reporter.warn(
                f"{observation.death} under {observation.name} ({observation.mode}); booting again behind it"
            )

    def _booted(self, number: int, seconds: float) -> None:
        self._reporter.note(f"guest {number} answers after {seconds:.1f} s")


def _source(wishes: BuildWishes, tools: _Tools, reporter: Reporter) -> kernel_source.Source:
    cache = cache_root() / "source"
    cache.mkdir(parents=True, exist_ok=True)
    if not wishes.directory:
        packages = tools.image.packages
        name = next(name for name in packages if re.fullmatch(r"linux-source-\d.*", name))
        return kernel_source.from_suite(tools.runner, wishes.suite, f"{name} {packages[name]}", cache)
    if wishes.directory.startswith(("https://", "http://")):
        return kernel_source.from_url(wishes.directory, wishes.sha256, cache, reporter.progress)
    path = Path(wishes.directory)
    return kernel_source.from_directory(path) if path.is_dir() else kernel_source.from_tarball(path, cache)


@contextmanager
def _owned(folder: Path, reporter: Reporter) -> Iterator[None]:
    """Hold a build directory for this run alone; another run on the same one waits."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(f"{folder}: cannot be made: {error.strerror}") from error

    def waits() -> None:
        reporter.note(f"another run is using {folder}; waiting for it")

    with exclusive(folder.with_suffix(".lock"), waits):
        yield


def _kbuild(wishes: BuildWishes, tools: _Tools, source: kernel_source.Source, folder: Path) -> Kbuild:
    ccache = cache_root() / "ccache"
    ccache.mkdir(exist_ok=True)
    return Kbuild(
        runner=tools.runner,
        source=source,
        build_dir=folder,
        ccache_dir=ccache,
        jobs=wishes.jobs,
        toolchain=tools.image.image,
        variables=wishes.variables,
        pahole=wishes.pahole,
    )


def _keep_configuration(configured: Configured, directory: rundir.RunDirectory) -> None:
    rundir.write_text(directory.file("requested.config"), configured.requested_text)
    rundir.write_text(directory.file("kernel.config"), configured.path.read_text())


def _tell_progress(reporter: Reporter) -> Callable[[kernel_build.Progress], None]:
    return lambda now: reporter.progress(f"{now.steps} steps, {now.kind} {now.subject}")


def _copy_kernel(built: kernel_build.Built, folder: Path, directory: rundir.RunDirectory) -> None:
    images = [built.bzimage, built.vmlinux, built.system_map]
    _copy_files(folder, directory.modules / "kernel", built.modules)
    for image in images:
        _copy_files(image.parent, directory.kernel, [image.name])


def _copy_files(source: Path, target: Path, files: Iterable[str]) -> None:
    """Copy with modification times, by which a stripped module knows its original."""
    try:
        for file in files:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / file, target / file)
    except OSError as error:
        raise InfrastructureError(f"{target}: cannot be written: {error.strerror}") from error


def _skipped(reasons: Mapping[str, str]) -> dict[str, str]:
    """Kbuild names modules by their path in the build directory, the inventory as below kernel/."""
    return {f"kernel/{file}": reason for file, reason in reasons.items()}


def _kernel_facts(built: kernel_build.Built, configured: Configured) -> KernelFacts:
    values = configured.values
    return KernelFacts(
        release=built.release,
        config_sha256=configured.sha256,
        pahole=values.get("PAHOLE_VERSION", ""),
        compiler=values.get("CC_VERSION_TEXT", "").strip('"'),
    )
