# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The container engine: found, asked who it is, and turned into a runner."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import APIError

from kbtf_ci.container import owner
from kbtf_ci.container.api import Address, engine_errors, remove_container
from kbtf_ci.container.places import places, socket_of
from kbtf_ci.container.process import ContainerRunner
from kbtf_ci.errors import EngineError
from kbtf_ci.infra.runner import Runner

_NO_ENGINE_HINT = "run `kbtf-ci setup`"


@dataclass(frozen=True)
class Engine:
    """A container engine that answers.

    ``name`` is ``Docker`` or ``Podman``; ``rootless`` says that it runs without root's powers; ``storage``
    is what it calls the driver that keeps its images.
    """

    address: Address
    name: str
    version: str
    rootless: bool
    storage: str = ""

    @classmethod
    def connect(cls) -> Engine:
        """Return the first engine that answers, in the order of ``places``.

        Raises EngineError, with the way out, when none does.
        """
        refusals: list[EngineError] = []
        for url in places():
            try:
                return cls.at(url)
            except EngineError as error:
                refusals.append(error)
        # A socket that is there and refuses says more than one that is not there.
        telling = [error for error in refusals if not isinstance(error, NoEngineError)]
        if telling or "DOCKER_HOST" in os.environ:
            raise (telling or refusals)[0]
        raise NoEngineError("no container engine answers on this machine", hint=_NO_ENGINE_HINT)

    @classmethod
    def at(cls, url: str) -> Engine:
        """Return the engine at ``url``. Raises EngineError."""
        _check_socket(url)
        with (
            engine_errors(f"use the container engine at {url}"),
            closing(Address(url, "auto").open()) as client,
        ):
            version: dict[str, Any] = client.version()
            info: dict[str, Any] = client.info()
        components = " ".join(part.get("Name", "") for part in version.get("Components") or ())
        return cls(
            Address(url, client.api_version),
            "Podman" if "Podman" in components else "Docker",
            version["Version"],
            _rootless(info),
            str(info.get("Driver") or ""),
        )

    def runner(self, image: str) -> Runner:
        """Return a runner of commands in ``image``; what dead runs left behind is removed first."""
        self.reap()
        podman = self.name == "Podman"
        return ContainerRunner(self.address, image, uuid.uuid4().hex, podman=podman, rootless=self.rootless)

    def reap(self) -> None:
        """Remove the containers of ours whose process was killed before it could. Raises EngineError."""
        with (
            engine_errors("remove the containers of a run that was killed"),
            closing(self.address.open()) as client,
        ):
            for container in client.containers(all=True, filters={"label": owner.PID}):
                if owner.orphaned(container.get("Labels") or {}):
                    _remove(client, container["Id"])


def _rootless(info: Mapping[str, Any]) -> bool:
    # Docker lists it among the security options; Podman has a key of its own.
    options = info.get("SecurityOptions") or ()
    return bool(info.get("Rootless")) or any("rootless" in option for option in options)


class NoEngineError(EngineError):
    """There is no engine at this address at all."""


def _remove(client: APIClient, container: str) -> None:
    try:
        remove_container(client, container)
    except APIError as error:
        if error.status_code != HTTPStatus.CONFLICT:
            raise  # that one: another run is at it


def _check_socket(url: str) -> None:
    """Raise the error that says most when nobody answers at ``url``: no engine, or none for this user."""
    path = socket_of(url)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except PermissionError as error:
            raise _not_allowed(path) from error
        except OSError as error:  # also a path that is too long for a socket, or what a dead daemon left
            raise NoEngineError(f"no container engine answers at {url}", hint=_NO_ENGINE_HINT) from error


def _not_allowed(path: Path) -> EngineError:
    try:
        group = path.group()
    except (OSError, KeyError):
        group = "docker"
    return EngineError(
        f"the container engine's socket {path} is closed to this user",
        hint=f"join its group (`sudo usermod -aG {group} $USER`, then log in again)",
    )
