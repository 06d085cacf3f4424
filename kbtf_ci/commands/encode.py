# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci encode``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands import options as shared
from kbtf_ci.commands.options import combine, common_options
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.errors import UsageError
from kbtf_ci.workflow import encode as workflow

_encode_options = combine(
    click.option("--vmlinux", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="The kernel: a vmlinux, a boot image or raw BTF such as /sys/kernel/btf/vmlinux."),
    click.option("--detached", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
                 help="Write files of BTF alone below DIR and leave the modules as they are."),
    click.option("--distilled", is_flag=True,
                 help="Write .BTF.base besides, with which a module outlives changes of vmlinux's BTF."),
    click.option("-j", "--jobs", type=click.IntRange(min=1), default=len(os.sched_getaffinity(0)),
                 show_default="cores", help="Modules that pahole encodes at a time."),
    shared.suite("Debian suite of the toolchain."),
    click.option("--pahole", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="A pahole of this machine in place of the image's."),
    click.option("--pahole-flags", "flags", metavar="FLAGS",
                 help="Flags of pahole, as one word; else those of Linux 6.12 for its version."),
    click.option("--btf-server/--no-btf-server", "server", default=True, show_default=True,
                 help="Have pahole parse vmlinux's BTF once for all modules, in a server."),
    click.option("--json", "as_json", is_flag=True, help="Print what came of each module as JSON."),
    click.argument("modules", nargs=-1, required=True, metavar="MODULE|DIR...",
                   type=click.Path(exists=True, path_type=Path)),
)  # fmt: skip


@click.command()
@_encode_options
@common_options
def encode(*, as_json: bool, quiet: bool, debug: bool, **options: Any) -> None:
    """Give modules their split BTF, outside of a kernel build.

    Each module is replaced as a whole or stays as it was; of a folder it is every .ko below.
    """
    with reporting(quiet=quiet, debug=debug) as reporter:
        if options["detached"] is not None and options["distilled"]:
            raise UsageError("--detached with --distilled: pahole writes .BTF.base into modules alone")
        pahole = options["pahole"].resolve() if options["pahole"] else None
        values = {**options, "flags": _words(options["flags"]), "pahole": pahole}
        done = workflow.encode(workflow.EncodeOptions(**values), reporter)
        reporter.close()
        echo_json(done.document()) if as_json else echo(done.text())
        sys.exit(done.exit_code)


def _words(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--pahole-flags {text}: {error}") from error
