# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The group of all commands."""

from __future__ import annotations

import click

from kbtf_ci import __version__
from kbtf_ci.commands.btf_cache import btf_cache
from kbtf_ci.commands.build import build
from kbtf_ci.commands.check import check
from kbtf_ci.commands.doctor import doctor
from kbtf_ci.commands.prune import prune
from kbtf_ci.commands.regen import regen
from kbtf_ci.commands.run import run
from kbtf_ci.commands.setup import setup
from kbtf_ci.commands.shell import shell
from kbtf_ci.commands.sizes import sizes
from kbtf_ci.commands.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Build a kernel, boot it, and prove that the BTF of every module still loads."""


for _command in (run, build, verify, check, sizes, regen, btf_cache, prune, shell, setup, doctor):
    main.add_command(_command)
