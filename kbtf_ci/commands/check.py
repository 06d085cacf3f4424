# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci check``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands import complete
from kbtf_ci.commands.options import combine, common_options, kernel_of_others, named_kernel
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.errors import UsageError
from kbtf_ci.model.options import PrebuiltOptions
from kbtf_ci.workflow import check as workflow

_check_options = combine(
    click.option("--vmlinux", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="The kernel: a vmlinux, a boot image or raw BTF such as /sys/kernel/btf/vmlinux."),
    kernel_of_others,
    click.option("--kernel-version", "version", default="", metavar="6.12",
                 help="Judge by this version's rules; else by what the kernel's own BTF and version say."),
    click.option("--allow-mismatch/--no-allow-mismatch", default=None,
                 help="CONFIG_MODULE_ALLOW_BTF_MISMATCH; else from the kernel's configuration."),
    click.option("--kernel-config", "config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="The kernel's .config; else the one embedded, or config-<release> beside the kernel."),
    click.option("-j", "--jobs", type=click.IntRange(min=1), default=len(os.sched_getaffinity(0)),
                 show_default="cores", help="Processes."),
    click.option("--json", "as_json", is_flag=True, help="Print the predictions as JSON."),
    click.argument("modules", nargs=-1, metavar="[MODULE|DIR|RUNDIR]...",
                   type=click.Path(exists=True, path_type=Path), shell_complete=complete.runs_and_files),
)  # fmt: skip


def _options(values: dict[str, Any], kernel: PrebuiltOptions | None) -> workflow.CheckOptions:
    names = ("modules", "vmlinux", "version", "allow_mismatch", "config", "jobs")
    return workflow.CheckOptions(**{name: values[name] for name in names}, kernel=kernel)


@click.command()
@_check_options
@common_options
def check(*, as_json: bool, quiet: bool, debug: bool, **options: Any) -> None:
    """Say, without booting, what the kernel will say of each module's BTF, and what it will not notice.

    Without modules it is --vmlinux alone that is judged, or the modules that come with --kernel.
    """
    with reporting(quiet=quiet, debug=debug) as reporter:
        named = named_kernel(options)
        if named is not None and options["vmlinux"] is not None:
            raise UsageError("--vmlinux and --kernel each name a kernel", hint="name one of them")
        if not options["modules"] and options["vmlinux"] is None and named is None:
            raise UsageError("check wants modules, a run directory, --vmlinux or --kernel")
        found = workflow.check(_options(options, named), reporter)
        reporter.close()
        echo_json(found.document()) if as_json else echo(found.text())
        sys.exit(found.exit_code)
