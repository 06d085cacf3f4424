# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What all work on a kernel stands on: the toolchain image, the source, and kbuild over a build directory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kbtf_ci.container import base as container_base
from kbtf_ci.container import compiler_image, guest_image, pahole_image, suite_pahole_image
from kbtf_ci.container import image as container_image
from kbtf_ci.container.engine import Engine
from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.host import guests as host_guests
from kbtf_ci.host import toolchain as host_toolchain
from kbtf_ci.host.needs import PAHOLE_NEEDS, compiler_needs
from kbtf_ci.infra.engines import EngineKind, chosen
from kbtf_ci.infra.locks import exclusive, lock_of
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.profiles import Profile, profile_of
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.runner import Runner
from kbtf_ci.infra.runs import Run
from kbtf_ci.kernel import source as kernel_source
from kbtf_ci.kernel.btfcache import Wrapper
from kbtf_ci.kernel.history import uncommitted
from kbtf_ci.kernel.identity import identify, require_same
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.kept_pahole import kept_of_image
from kbtf_ci.kernel.pahole_tree import PaholeTree, kept_pahole, opened_tree
from kbtf_ci.kernel.steps import StepCount
from kbtf_ci.kernel.target import target_of
from kbtf_ci.model.compiler import DEFAULT, compiler_named
from kbtf_ci.model.config import parse_config
from kbtf_ci.model.kernel import BuiltKernel, KernelFacts
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import X86_64, machine_of
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.run_record import HOST, RunRecord, ToolchainRecord


@dataclass(frozen=True)
class Tools:
    """The toolchain image, or this machine in its place, and a runner of commands in it."""

    image: container_image.Toolchain
    runner: Runner

    @property
    def record(self) -> ToolchainRecord:
        """What run.json keeps of the image."""
        return ToolchainRecord(**asdict(self.image))

    @property
    def key(self) -> str:
        """What tells a build of this toolchain from others: the suite, or this machine with its versions."""
        if self.record.isolated:
            return self.image.suite
        versions = json.dumps(sorted(self.image.packages.items())).encode()
        return f"{HOST}-{hashlib.sha256(versions).hexdigest()[:12]}"

    @property
    def name(self) -> str:
        """What tells it from any other toolchain: the image's name, or this machine with its versions."""
        return self.image.image if self.record.isolated else self.key


def toolchain(suite: str, reporter: Reporter) -> Tools:
    """Return the toolchain of the engine that is chosen, and a runner of commands in it.

    With a container engine it is the suite's image, built if it is not there.
    """
    if chosen() is EngineKind.HOST:
        host = host_toolchain.ensure(cache_root() / "programs")
        return Tools(container_image.Toolchain(HOST, HOST, host.packages), host.runner)
    engine = Engine.connect()
    image = container_image.ensure(engine, suite, reporter.progress)
    return Tools(image, engine.runner(image.image))


def guest_tools(tools: Tools, kernel: BuiltKernel, reporter: Reporter) -> Tools:
    """Return what guests of a kernel are made and booted with, made if need be: of x86_64 ``tools``.

    Raises UsageError for an architecture that no guest runs on, InfrastructureError.
    """
    return tools_of_machine(tools, machine_of(kernel.architecture, kernel.origin), reporter)


def tools_of_machine(tools: Tools, machine: MachineType, reporter: Reporter) -> Tools:
    """Return what guests on a machine are made and booted with, and kernels for it built: guest_tools()."""
    if machine is X86_64:
        return tools
    if not tools.record.isolated:
        host = host_guests.ensure(machine, container_base.SUITES, cache_root() / "programs")
        packages = {**tools.image.packages, **host.packages}
        return Tools(replace(tools.image, packages=packages), host.runner)
    engine = Engine.connect()
    made = guest_image.ensure(engine, tools.image, machine, reporter.progress)
    return Tools(made, engine.runner(made.image))


def with_compiler(options: BuildOptions, tools: Tools, reporter: Reporter) -> Tools:
    """Return ``tools`` with the compiler that the options name, made if need be; as they are for the suite's.

    Raises UsageError where the suite has none of that name, InfrastructureError.
    """
    compiler, target = compiler_named(options.toolchain), target_of(options.arch)
    if compiler == DEFAULT:
        return tools
    if not tools.record.isolated:
        found = host_toolchain.require(compiler_needs(compiler, target.prefix))
        packages = {**tools.image.packages, **{one.need.name: one.version for one in found}}
        return Tools(replace(tools.image, packages=packages), tools.runner)
    engine = Engine.connect()
    triplet = target.machine.triplet if target.prefix else ""
    made = compiler_image.ensure(engine, tools.image, compiler, triplet, reporter.progress)
    return Tools(made, engine.runner(made.image))


def stage_tools_of_machine(tools: Tools, machine: MachineType, this: Run) -> Tools:
    """Return tools_of_machine() as a stage of a run, whose record says what they are."""
    if machine is X86_64:
        return tools
    with this.record.stage("guest toolchain"):
        found = tools_of_machine(tools, machine, this.reporter)
    this.record.add(guest_toolchain=found.record)
    return found


def remove_left_behind() -> None:
    """Remove containers of processes that were killed before they could. Raises EngineError."""
    if chosen() is EngineKind.CONTAINER:
        Engine.connect().reap()


def source(options: BuildOptions, tools: Tools, reporter: Reporter) -> kernel_source.Source:
    """Return the kernel tree that the user named, or the suite's own, unpacked if it is not there."""
    cache = cache_root() / "source"
    cache.mkdir(parents=True, exist_ok=True)
    if not options.directory:
        packages = tools.image.packages
        name = next((name for name in packages if re.fullmatch(r"linux-source-\d.*", name)), "")
        if not name:
            raise UsageError(
                "--engine host: no package of a kernel's source is installed on this machine",
                hint="name a source with -C, or apt-get install linux-source",
            )
        return kernel_source.from_suite(tools.runner, tools.image.suite, f"{name} {packages[name]}", cache)
    if options.directory.startswith(("https://", "http://")):
        return kernel_source.from_url(options.directory, options.sha256, cache, reporter.progress)
    path = Path(options.directory)
    return kernel_source.from_directory(path) if path.is_dir() else kernel_source.from_tarball(path, cache)


def with_pahole(options: BuildOptions, tools: Tools, reporter: Reporter) -> BuildOptions:
    """Return the options with the pahole of ``pahole_suite``, or that is built of ``pahole_tree``.

    With neither they stay as they are. Raises UsageError for a folder that is no source of pahole, BuildError
    when that does not build.
    """
    if options.pahole_suite and options.pahole is None:
        return replace(options, pahole=_pahole_of_suite(options, reporter))
    if options.pahole_tree is None or options.pahole is not None:
        return options
    folder = cache_root() / "pahole"
    with opened_tree(options.pahole_tree, options.libbpf_tree, folder) as tree:
        return replace(options, pahole=_pahole_of_tree(tree, folder, options.jobs, tools, reporter))


def _pahole_of_tree(tree: PaholeTree, folder: Path, jobs: int, tools: Tools, reporter: Reporter) -> Path:
    for path in filter(None, (tree.path, tree.libbpf)):
        if changed := uncommitted(path):
            reporter.warn(f"{path}: built with its uncommitted changes (files: {changed})")

    def runner() -> Runner:
        reporter.progress(f"building pahole of {tree.origin}")
        if not tools.record.isolated:
            host_toolchain.require(PAHOLE_NEEDS)
            return tools.runner
        engine = Engine.connect()
        return engine.runner(pahole_image.ensure(engine, tools.image, reporter.progress))

    return kept_pahole(tree, tools.name, folder, jobs, runner)


def _pahole_of_suite(options: BuildOptions, reporter: Reporter) -> Path:
    """Return another suite's pahole; it stands on the plain toolchain, whatever the kernel is built with."""
    reporter.progress(f"pahole of {options.pahole_suite}")
    engine = Engine.connect()
    plain = container_image.ensure(engine, options.suite, reporter.progress)
    name = suite_pahole_image.ensure(engine, plain, options.pahole_suite, reporter.progress)
    folder = cache_root() / "pahole"
    return kept_of_image(name, suite_pahole_image.PLACE, folder, lambda: engine.runner(name))


def kbuild(options: BuildOptions, tools: Tools, tree: kernel_source.Source, folder: Path) -> Kbuild:
    """Return make as the user wants it called on ``tree``, with all output below ``folder``."""
    ccache = cache_root() / "ccache"
    ccache.mkdir(parents=True, exist_ok=True)
    return Kbuild(
        runner=tools.runner,
        source=tree,
        build_dir=folder,
        ccache_dir=ccache,
        jobs=options.jobs,
        toolchain=tools.name,
        variables=options.variables,
        pahole=options.pahole,
        wrapper=_wrapper(options),
        target=target_of(options.arch),
        compiler=compiler_named(options.toolchain),
    )


def _wrapper(options: BuildOptions) -> Wrapper | None:
    """Return what stands in the place of pahole; None where kbuild is to call pahole itself."""
    if not options.btf_cache and not options.btf_server:
        return None
    return Wrapper(btf_cache() if options.btf_cache else None, server=options.btf_server)


def btf_cache() -> Path:
    """Return the folder in which modules' BTF is kept by content, made if need be."""
    folder = cache_root() / "btf"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(f"{folder}: cannot be made: {error.strerror}") from error
    return folder


def build_folder(tree: kernel_source.Source, profile: Profile, options: BuildOptions, toolchain: str) -> Path:
    """Return the build directory of these options on this source.

    Its name covers all that makes another kernel of it: the source (a user's tree by its path, so that git
    bisect keeps its directory), the toolchain (Tools.key), the compiler, the profile's file, ``-K``,
    ``VAR=VALUE`` and the content of a program that --pahole names. Paholes of trees and of suites share one:
    what is compiled stays, and forget_btf_of_other() does the rest.
    """
    name = f"{tree.key}-{profile.key}-{toolchain}"
    if options.pahole_tree or options.pahole_suite:
        pahole = "made here"
    else:
        pahole = kernel_source.file_sha256(options.pahole) if options.pahole else ""
    if options.added or options.variables or pahole or options.toolchain:
        more = json.dumps([options.added, options.variables, pahole, options.toolchain]).encode()
        name += f"-{hashlib.sha256(more).hexdigest()[:12]}"
    return cache_root() / "build" / name


def step_count(tree: kernel_source.Source, profile: Profile, options: BuildOptions) -> StepCount:
    """Return where the cache has the number of steps that a whole build of these options makes."""
    return StepCount.of(cache_root() / "steps", profile, tree, options)


@contextmanager
def locked_build_dir(folder: Path, reporter: Reporter) -> Iterator[None]:
    """Hold a build directory for this run alone; another run on the same one waits."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(f"{folder}: cannot be made: {error.strerror}") from error

    def waits() -> None:
        reporter.note(f"another run is using {folder}; waiting for it")

    with exclusive(lock_of(folder), waits):
        yield


@contextmanager
def open_build(options: BuildOptions, reporter: Reporter, run: RunRecord | None = None) -> Iterator[Kbuild]:
    """Hold the build directory of a build that was finished before.

    Raises UsageError when there is none, or another than the one that ``run`` was made from.
    """
    profile = profile_of(options)
    tools = toolchain(options.suite, reporter)
    if run is not None and run.toolchain is not None:
        _require_engine(run.toolchain, tools)
    options = with_pahole(options, tools, reporter)
    tools = tools_of_machine(tools, target_of(options.arch).machine, reporter)
    tools = with_compiler(options, tools, reporter)
    tree = source(options, tools, reporter)
    folder = build_folder(tree, profile, options, tools.key)
    if not (folder / "vmlinux").is_file() or not (folder / "modules.order").is_file():
        raise UsageError(
            f"{folder}: holds no finished build of {profile.name}",
            hint=f"kbtf-ci build --config {options.config} makes it",
        )
    with locked_build_dir(folder, reporter):
        opened = kbuild(options, tools, tree, folder)
        if run is not None:
            require_same(folder, identify(folder, opened.release), run)
        yield opened


def _require_engine(made: ToolchainRecord, tools: Tools) -> None:
    if made.isolated != tools.record.isolated:
        kind = EngineKind.CONTAINER if made.isolated else EngineKind.HOST
        raise UsageError(f"this run was built with --engine {kind}", hint="give the same one")


def kernel_of_build(kbuild: Kbuild) -> BuiltKernel:
    """Return the kernel and the modules of a finished build as they lie in its directory.

    A module that is missing is left out.
    """
    build_dir = kbuild.build_dir
    return BuiltKernel(
        facts=KernelFacts(kbuild.release),
        image=build_dir / kbuild.target.image,
        modules=build_dir,
        files=tuple(file for file in kbuild.modules if (build_dir / file).is_file()),
        config=parse_config((build_dir / ".config").read_text(errors="replace")),
        architecture=kbuild.target.architecture,
        origin=str(build_dir),
    )
