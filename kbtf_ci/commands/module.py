# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci module``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands.options import accel, combine, command_line, common_options, suite, timeouts_option
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.model.extmod import Way
from kbtf_ci.model.options import PrebuiltOptions
from kbtf_ci.workflow.guests import GuestOptions
from kbtf_ci.workflow.module import ModuleOptions, try_module

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_options = combine(
    click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)),
    click.option("--kernel", multiple=True, required=True, metavar="PATH",
                 help="The kernel: Debian packages (repeatable), a folder, or an image."),
    click.option("--modules", type=click.Path(exists=True, file_okay=False, path_type=Path),
                 help="Its modules, where --kernel is an image."),
    click.option("--headers", multiple=True, required=True, type=_FILE, metavar="PACKAGE",
                 help="Its headers' Debian packages; repeatable."),
    click.option("--vmlinux", "ways", multiple=True, type=click.Choice([way.value for way in Way]),
                 help="What make finds beside the headers; repeatable. Without it each in turn."),
    click.option("--wrong-vmlinux", type=_FILE, help="What 'wrong' is built against; else one made up."),
    suite("Debian suite of the toolchain."),
    click.option("--pahole", type=_FILE, help="A pahole of this machine in place of the image's."),
    accel,
    timeouts_option,
    click.option("-o", "--output-dir", "output", type=click.Path(path_type=Path),
                 help="Folder to make, with a run directory a way; runs/<UTC time>-module without it."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output."),
)  # fmt: skip


@click.command()
@_options
@common_options
def module(*, as_json: bool, quiet: bool, debug: bool, **values: Any) -> None:
    """Build the modules of DIR with a distribution's headers, and see what its kernel makes of their BTF.

    vmlinux beside the headers is absent, as they come; the kernel's own, for split BTF or for BTF with a
    distilled base; or wrong.
    """
    with reporting(quiet=quiet, debug=debug) as reporter:
        options = ModuleOptions(
            folder=values["folder"],
            kernel=PrebuiltOptions(values["kernel"], values["modules"], values["suite"]),
            headers=values["headers"],
            ways=tuple(Way(one) for one in values["ways"]) or tuple(Way),
            vmlinux=values["wrong_vmlinux"],
            pahole=values["pahole"].resolve() if values["pahole"] else None,
        )
        guest = GuestOptions(Accel(values["accel"]), timeouts=Timeouts.parse(values["timeouts"]))
        found = try_module(options, guest, values["output"], command_line(), reporter)
        reporter.close()
        echo_json(found.document()) if as_json else echo(found.text())
        sys.exit(found.exit_code)
