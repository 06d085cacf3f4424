# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The places where a container engine may listen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from docker.context import ContextAPI
from docker.errors import DockerException

from kbtf_ci.errors import EngineError
from kbtf_ci.infra.paths import cache_root

_SCHEME = "unix://"


def own_socket() -> Path:
    """Return the socket of the daemon that ``kbtf-ci setup`` starts where there is no other."""
    return cache_root() / "engine" / "docker.sock"


def url_of(socket: Path) -> str:
    """Return a socket's URL."""
    return f"{_SCHEME}{socket}"


def socket_of(url: str) -> Path:
    """Return the socket behind ``url``. Raises EngineError for an engine on another machine.

    Commands see folders of this machine and answer on ports of it, which a remote engine has no part in.
    """
    if not url.startswith(_SCHEME):
        raise EngineError(
            f"the container engine {url!r} is not on this machine",
            hint="point DOCKER_HOST at a unix:// socket, or unset it",
        )
    return Path(url.removeprefix(_SCHEME))


def places() -> Iterator[str]:
    """Yield URLs in the order in which they are tried.

    ``DOCKER_HOST`` stands alone: who names an engine wants no other. Otherwise docker's current context,
    docker's default socket, Podman's sockets of the user and of the system, and our own daemon.
    """
    if explicit := os.environ.get("DOCKER_HOST"):
        yield explicit
        return
    yield from _context()
    yield url_of(Path("/var/run/docker.sock"))
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    yield url_of(runtime / "podman" / "podman.sock")
    yield url_of(Path("/run/podman/podman.sock"))
    yield url_of(own_socket())


def _context() -> Iterator[str]:
    try:
        host = ContextAPI.get_current_context().Host
    except (DockerException, OSError, ValueError, AttributeError):
        return  # a context that docker's own files do not describe cannot be asked for its socket
    if host and host.startswith(_SCHEME):
        yield host
