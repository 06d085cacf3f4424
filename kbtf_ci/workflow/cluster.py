# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A Dask scheduler that the user started: the way to it, and whether its workers can run a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from distributed import Client, Security

from kbtf_ci import __version__
from kbtf_ci.errors import InfrastructureError
from kbtf_ci.model.cluster import ClusterOptions, Workers, needs, offers, shown
from kbtf_ci.model.matrix import Cell
from kbtf_ci.workflow import cluster_task

CONNECT_S: Final = 30


@contextmanager
def connected(options: ClusterOptions) -> Iterator[Client]:
    """Give a client. Raises InfrastructureError where no scheduler answers."""
    with connect_errors(options):
        client = _Client(  # type: ignore[no-untyped-call]
            address=options.scheduler or None,
            scheduler_file=_text(options.scheduler_file),
            timeout=CONNECT_S,
            security=security_of(options),
            set_as_default=False,
        )
    try:
        yield client
    finally:
        _end(client)


class _Client(Client):
    """Ends what it has begun where no scheduler answers.

    Dask leaves that to the garbage collector. It may come amid the making of another client, and close() then
    waits forever for the lock that this one holds.
    """

    def start(self, **kwargs: Any) -> None:
        try:
            super().start(**kwargs)  # type: ignore[no-untyped-call]
        except BaseException:
            _end(self)
            raise


def _end(client: Client) -> None:
    """Close a client, and its loop, which goes on where the client has closed itself."""
    with suppress(OSError, RuntimeError):  # RuntimeError: of a loop that did not begin
        client.close(timeout=CONNECT_S)
    client.status = "closed"
    with suppress(OSError):
        client._loop_runner.stop()


@contextmanager
def connect_errors(options: ClusterOptions) -> Iterator[None]:
    """Turn what Dask raises where no scheduler answers into a line."""
    try:
        yield
    except (OSError, ValueError, TypeError, TimeoutError) as error:
        raise InfrastructureError(
            f"--scheduler {options.where}: no scheduler answers there: {error}",
            hint="dask scheduler starts one",
        ) from error


def security_of(options: ClusterOptions) -> Security | None:
    """Return Dask's own of the files of TLS, None without them."""
    if not (options.tls_ca or options.tls_cert or options.tls_key):
        return None
    cert, key = _text(options.tls_cert), _text(options.tls_key)
    return Security(
        tls_ca_file=_text(options.tls_ca),
        tls_client_cert=cert,
        tls_client_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
        require_encryption=True,
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def workers_of(client: Client) -> Workers:
    """Return workers' resources by their addresses. Raises InfrastructureError where the scheduler is gone.

    Client.scheduler_info() may return what the client itself asked for meanwhile, which is of five alone.
    """
    gone = InfrastructureError(
        "the scheduler is gone", hint="what had come back is kept: the same command goes on"
    )
    if client.scheduler is None:  # the client has closed itself
        raise gone
    try:
        found = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
    except (OSError, TimeoutError) as error:
        raise gone from error
    return {address: worker.get("resources") or {} for address, worker in found.items()}


def require_workers(client: Client, cells: Sequence[Cell]) -> None:
    """Raise InfrastructureError where there is no worker, one of another kbtf-ci, or none for a cell.

    For the first one it waits a little: it may have been started just now.
    """
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=CONNECT_S)
    workers = workers_of(client)
    if not workers:
        raise InfrastructureError(
            "the scheduler has no worker", hint="kbtf-ci worker, or dask worker --resources cell=1, is one"
        )
    for address, found in client.run(cluster_task.version, on_error="return").items():
        if isinstance(found, BaseException):
            raise InfrastructureError(f"worker {address}: kbtf-ci does not run there: {found}")
        if found != __version__:
            raise InfrastructureError(
                f"worker {address} has kbtf-ci {found}, and this is {__version__}",
                hint="install the same one",
            )
    for cell in cells:
        wanted = needs(cell)
        if not any(offers(resources, wanted) for resources in workers.values()):
            words = shown(wanted)
            raise InfrastructureError(
                f"cell {cell.name}: none of {len(workers)} workers offers {words}",
                hint=f"dask worker --resources '{words}'",
            )
