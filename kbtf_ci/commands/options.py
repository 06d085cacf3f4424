# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Options that several commands share, and what becomes of their values."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from kbtf_ci.commands import complete
from kbtf_ci.commands.github import in_job
from kbtf_ci.container.base import SUITES
from kbtf_ci.container.image import DEFAULT_SUITE
from kbtf_ci.errors import UsageError
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.infra.engines import VARIABLE, EngineKind, choose, chosen
from kbtf_ci.infra.profiles import lasting_fragment, parse_size_mib
from kbtf_ci.infra.tarball import is_tarball
from kbtf_ci.kernel.target import NATIVE, TARGETS
from kbtf_ci.model.cluster import ClusterOptions
from kbtf_ci.model.compiler import DEFAULT, compiler_named
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FailOn, parse_fail_on
from kbtf_ci.model.options import DEFAULT_CONFIG, BuildOptions, PrebuiltOptions
from kbtf_ci.model.outcome import LoadPolicy
from kbtf_ci.model.proof import Prove
from kbtf_ci.workflow.guests import GuestOptions

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


def combine(*decorators: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Return one decorator that applies all of ``decorators``, shown in their order by --help."""

    def apply(command: _Command) -> _Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


kernel_of_others = combine(
    click.option("--kernel", multiple=True, metavar="PATH|running",
                 help="A kernel that others built: an image, packages or tarballs (repeatable), a folder as "
                      "modules_install leaves it, or the running system's own."),
    click.option("--modules", "modules_at", type=click.Path(exists=True, path_type=Path),
                 help="Its modules, a folder or an archive, where --kernel is an image."),
    click.option("--initramfs", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="Its modules are those in this initramfs; stale ones are named."),
    click.option("--root", type=click.Path(exists=True, file_okay=False, path_type=Path),
                 help="The kernel that is installed in this folder, the root of a system."),
)  # fmt: skip


def named_kernel(values: Mapping[str, Any]) -> PrebuiltOptions | None:
    """Return the kernel that others built, as ``kernel_of_others`` names it, None where it names none.

    Raises UsageError where it is named twice, or its modules without it.
    """
    kernel, root = values["kernel"], values["root"]
    if kernel and root:
        raise UsageError(
            "--kernel and --root each name a kernel", hint="name an image below ROOT with --kernel"
        )
    if not kernel and root is None:
        for name, value in (("modules", values["modules_at"]), ("initramfs", values["initramfs"])):
            if value is not None:
                raise UsageError(f"--{name} wants the kernel", hint="name it with --kernel or --root")
        return None
    return PrebuiltOptions(
        kernel=kernel,
        modules=values["modules_at"],
        suite=values.get("suite") or DEFAULT_SUITE,
        initramfs=values["initramfs"],
        root=root,
        architecture=values.get("architecture") or "",
    )


config = click.option("--config", default=DEFAULT_CONFIG, show_default=True, shell_complete=complete.profiles,
                      help="Profile, defconfig target of kbuild, or path to a .config.")  # fmt: skip


def _choose_engine(context: click.Context, parameter: click.Parameter, value: str) -> None:
    choose(EngineKind(value))


def _suite_of_image(context: click.Context, parameter: click.Parameter, value: str) -> str:
    given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    if given and chosen() is EngineKind.HOST:
        raise click.UsageError("--suite names an image's Debian, and --engine host takes no image")
    return value


def suite(text: str) -> Callable[[_Command], _Command]:
    """Return the option --suite, whose help is ``text``."""
    return click.option(
        "--suite", default=DEFAULT_SUITE, show_default=True, callback=_suite_of_image, help=text
    )


# Eager: what others mean depends on it.
engine = click.option(
    "--engine", type=click.Choice([kind.value for kind in EngineKind]), default="container",
    show_default=True, envvar=VARIABLE, show_envvar=True, expose_value=False, is_eager=True,
    callback=_choose_engine,
    help="Where programs run: in containers, or not isolated, in this very environment.",
)  # fmt: skip

# What else says which build it is, but for VAR=VALUE.
tree_options = combine(
    click.option("-C", "--directory", default="", metavar="DIR|TARBALL|URL",
                 help="Kernel source; without it the suite's own package."),
    click.option("--arch", type=click.Choice([target.architecture for target in TARGETS]),
                 default=NATIVE.architecture, show_default=True, help="Architecture to build for."),
    click.option("--toolchain", default="", metavar="gcc-N|clang-N",
                 help="Compiler of the suite, clang with all of LLVM; without it the suite's own gcc."),
    click.option("--sha256", default="", help="What a URL's download must hash to."),
    click.option("--fragment", "fragments", multiple=True, metavar="NAME|FILE",
                 shell_complete=complete.fragments,
                 help="Kernel configuration on top of the profile's: a shipped one, as trace, or a file."),
    click.option("-K", "--kconfig-add", "added", multiple=True, metavar="SYMBOL=VALUE",
                 help="A symbol on top of the profile's; repeatable."),
    click.option("-j", "--jobs", type=click.IntRange(min=1), default=len(os.sched_getaffinity(0)),
                 show_default="cores", help="Jobs of make."),
    suite("Debian suite of the toolchain."),
    click.option("--pahole", metavar="FILE|DIR|SUITE", shell_complete=complete.paholes,
                 help="A pahole in place of the image's: a program of this machine, a source, its tarball, "
                      "or a suite's."),
    click.option("--pahole-tree", metavar="DIR|FILE", type=click.Path(exists=True, path_type=Path),
                 help="Source of pahole, or a tarball, built in the toolchain in place of the image's."),
    click.option("--libbpf-tree", metavar="DIR|FILE", type=click.Path(exists=True, path_type=Path),
                 help="Source of libbpf that such a pahole is built with."),
)  # fmt: skip

btf_cache = click.option(
    "--btf-cache/--no-btf-cache", default=False, show_default=True,
    envvar="KBTF_CI_USE_BTF_CACHE", show_envvar=True,
    help="Take modules' BTF from a cache where all it is made from is unchanged.",
)  # fmt: skip
btf_server = click.option(
    "--btf-server/--no-btf-server", default=False, show_default=True,
    help="Have modules' BTF written by a server in pahole, which parses vmlinux's BTF once for all of them.",
)  # fmt: skip
variables = click.argument("variables", nargs=-1, metavar="[VAR=VALUE]...")

build_options = combine(
    config,
    tree_options,
    btf_cache,
    btf_server,
    click.option("-o", "--output-dir", "output", type=click.Path(path_type=Path),
                 help="Run directory to make; runs/<UTC time>-<profile> without it."),
    variables,
)  # fmt: skip

accel = click.option(
    "--accel", type=click.Choice([one.value for one in Accel]), default="auto",
    show_default=True, help="auto falls back from KVM to emulation, and says so.",
)  # fmt: skip
timeouts_option = click.option(
    "--timeouts", multiple=True, metavar="NAME=TIME", help="For instance boot=5m; repeatable."
)

test_options = combine(
    accel,
    click.option("-m", "--memory", "memory_mib", type=_Size(), help="Memory of the guest; else as profiled."),
    click.option("--cpus", type=click.IntRange(min=1), help="CPUs of the guest; else as profiled."),
    click.option("--append", default="", help="More words for the kernel's command line."),
    click.option("--load", type=click.Choice([policy.value for policy in LoadPolicy]),
                 help="How modules are put before the kernel; auto, above 1,500 modules carrier."),
    click.option("--guests", type=click.IntRange(min=1),
                 help="Guests that share the modules, at once; else by cores, one a thousand modules."),
    timeouts_option,
)  # fmt: skip

guest_options = combine(
    test_options,
    click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML here."),
    click.option("--json", "as_json", is_flag=True, help="Print results.json on standard output."),
    click.option("--bisect", is_flag=True, help="Exit 125 where the commit is not to blame."),
)  # fmt: skip

annotate = click.option(
    "--annotate/--no-annotate", default=in_job, show_default="in a job of GitHub Actions",
    help="Annotate the job with what is wrong, and append summary.md to its summary.",
)  # fmt: skip

prove = click.option(
    "--prove", type=click.Choice([one.value for one in Prove]),
    help="Try BPF programs: fentry, on every function of each module; kfunc, calls of every kfunc.",
)  # fmt: skip

fail_on = click.option(
    "--fail-on", "fail_on", default=",".join(sorted(DEFAULT_FAIL_ON)), show_default=True, metavar="LIST",
    help=f"Which findings end the run with 1: {', '.join(FailOn)}; or none.",
)  # fmt: skip

_TLS_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
cluster_options = combine(
    click.option("--scheduler", default="", metavar="ADDRESS", help="A Dask scheduler, as tcp://HOST:8786."),
    click.option("--scheduler-file", type=_TLS_FILE, help="The file in which it says its address."),
    click.option("--tls-ca-file", "tls_ca", type=_TLS_FILE, help="Certificates of who may sign, in PEM."),
    click.option("--tls-cert", type=_TLS_FILE, help="This side's certificate, in PEM."),
    click.option("--tls-key", type=_TLS_FILE, help="Its key, in PEM."),
)  # fmt: skip

common_options = combine(
    engine,
    click.option("-q", "--quiet", is_flag=True, help="Only warnings, errors and the summary."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)

run_directory = click.argument(
    "run_directory",
    metavar="RUNDIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    shell_complete=complete.run_directories,
)


@dataclass(frozen=True)
class _NamedPahole:
    program: Path | None = None
    tree: Path | None = None
    suite: str = ""


def _pahole_of(named: str, tree: Path | None) -> _NamedPahole:
    """Return the pahole that --pahole or --pahole-tree names. Raises UsageError for none, or for two."""
    if named and tree:
        raise UsageError("--pahole and --pahole-tree each name a pahole: one of them at a time")
    if not named:
        return _NamedPahole(tree=tree.resolve() if tree else None)
    path = Path(named)
    if path.is_dir() or is_tarball(path):
        return _NamedPahole(tree=path.resolve())
    if path.is_file():
        return _NamedPahole(program=path.resolve())
    if named not in SUITES:
        raise UsageError(
            f"--pahole {named}: no such file, folder or suite", hint=f"suites are {', '.join(SUITES)}"
        )
    if chosen() is EngineKind.HOST:
        raise UsageError(
            f"--pahole {named}: a suite's pahole is made in a container, and --engine host has none",
            hint="name a program or a source",
        )
    return _NamedPahole(suite=named)


def _libbpf_of(tree: Path | None, pahole: _NamedPahole) -> Path | None:
    if tree is not None and pahole.tree is None:
        raise UsageError(
            f"--libbpf-tree {tree}: a pahole is built with it, and none is",
            hint="name its source with --pahole",
        )
    return tree.resolve() if tree is not None else None


def build_options_of(values: dict[str, Any]) -> BuildOptions:
    """Return what ``build_options``, or ``tree_options`` and others, parsed.

    Raises UsageError for a VAR=VALUE that is none or not free.
    """
    for variable in values["variables"]:
        name, separator, _ = variable.partition("=")
        if not separator or re.fullmatch(r"[A-Za-z_]\w*", name) is None:
            raise UsageError(f"{variable}: not of the form VAR=VALUE")
        if name in _OWN_VARIABLES:
            raise UsageError(
                f"{variable}: kbtf-ci sets {name} itself", hint="-C names the source, -o the run directory"
            )
        if name == "LLVM":
            raise UsageError(
                f"{variable}: the compiler would stay gcc",
                hint="--toolchain clang-N is all of LLVM",
            )
    pahole = _pahole_of(values["pahole"] or "", values["pahole_tree"])
    compiler = compiler_named(values.get("toolchain", ""))
    return BuildOptions(
        config=values["config"],
        directory=values["directory"],
        sha256=values["sha256"],
        added=values["added"],
        jobs=values["jobs"],
        suite=values["suite"],
        pahole=pahole.program,
        pahole_tree=pahole.tree,
        pahole_suite=pahole.suite,
        libbpf_tree=_libbpf_of(values.get("libbpf_tree"), pahole),
        variables=values["variables"],
        btf_cache=values.get("btf_cache", False),
        btf_server=values.get("btf_server", False),
        arch=values.get("arch", NATIVE.architecture),
        fragments=tuple(map(lasting_fragment, values.get("fragments", ()))),
        toolchain="" if compiler == DEFAULT else compiler.name,
    )


def cluster_options_of(values: Mapping[str, Any]) -> ClusterOptions:
    """Return what ``cluster_options`` parsed. Raises UsageError for two schedulers, or TLS without one."""
    found = ClusterOptions(
        **{name: values[name] for name in ("scheduler", "scheduler_file", "tls_ca", "tls_cert", "tls_key")}
    )
    if found.scheduler and found.scheduler_file:
        raise UsageError("--scheduler and --scheduler-file each name a scheduler: one of them at a time")
    if not found.named and (found.tls_ca or found.tls_cert or found.tls_key):
        raise UsageError("TLS is for a scheduler, and none is named", hint="--scheduler tls://HOST:8786")
    return found


def guest_options_of(values: dict[str, Any]) -> GuestOptions:
    """Return what ``test_options`` and ``fail_on`` parsed.

    Raises UsageError for a timeout or a finding that is none, and for carriers that nothing can be proved of.
    """
    if values.get("prove") and values["load"] == LoadPolicy.CARRIER:
        raise UsageError(
            "--prove with --load carrier: a carrier has no code", hint="--load auto, real or inert"
        )
    return GuestOptions(
        accel=Accel(values["accel"]),
        memory_mib=values["memory_mib"],
        cpus=values["cpus"],
        append=values["append"],
        load=LoadPolicy(values["load"]) if values["load"] else None,
        guests=values["guests"],
        timeouts=Timeouts.parse(values["timeouts"]),
        fail_on=parse_fail_on(values["fail_on"]) if "fail_on" in values else DEFAULT_FAIL_ON,
        prove=Prove(values["prove"]) if values.get("prove") else None,
    )


def command_line() -> str:
    """Return the command that repeats this one."""
    words = sys.argv[1:]
    if chosen() is EngineKind.HOST and not any(word.startswith("--engine") for word in words):
        words = [*words, "--engine", EngineKind.HOST]
    return shlex.join(["kbtf-ci", *words])
