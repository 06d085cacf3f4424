# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci worker``."""

from __future__ import annotations

import click

from kbtf_ci.commands.options import cluster_options, cluster_options_of, common_options
from kbtf_ci.commands.session import reporting
from kbtf_ci.errors import UsageError
from kbtf_ci.workflow import cluster_extra


@click.command("worker")
@cluster_options
@click.option("--cells", type=click.IntRange(min=1), default=1, show_default=True, help="Cells at once.")
@click.option("--name", default="", help="What the worker is called; its address without it.")
@common_options
def worker(*, cells: int, name: str, quiet: bool, debug: bool, **options: object) -> None:
    """Run cells of matrices for a Dask scheduler, with what doctor finds that this machine can do."""
    with reporting(quiet=quiet, debug=debug) as reporter:
        cluster = cluster_options_of(options)
        if not cluster.named:
            raise UsageError("a worker wants a scheduler", hint="--scheduler tcp://HOST:8786")
        cluster_extra.require()
        from kbtf_ci.workflow.worker import work  # noqa: PLC0415 - distributed is an extra

        work(cluster, cells, name, reporter)
