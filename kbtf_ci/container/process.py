# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One command in one container: made, started, listened to, and always taken away again."""

from __future__ import annotations

import os
import resource
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, cast

from docker import APIClient
from docker.types import LogConfig, Mount, Ulimit
from docker.utils.socket import STDERR, frames_iter_no_tty

from kbtf_ci.container import owner
from kbtf_ci.container.api import Address, engine_errors, remove_container
from kbtf_ci.errors import EngineError
from kbtf_ci.infra.runner import Command, Process

# The engine carries standard output and standard error in two pipes and loses their order. So the command
# has both in the first one; the second is left to the start itself: "started", or why it did not.
_STARTED = b"started\n"
_LAUNCH = (
    'path=$(command -v -- "$0") && case $path in */*) [ -x "$path" ] ;; esac '
    '|| { echo "there is no command $0 in the image" >&2; exit 127; }; '
    'echo started >&2; exec "$0" "$@" 2>&1'
)
_ENTRYPOINT = ["tini", "--", "sh", "-c", _LAUNCH]
# Not among the SDK's arguments, which knows no mode of Podman's. The user's number is kept, and so are the
# groups that Podman itself has, which have no numbers in there: /dev/kvm is for members of one. Podman passes
# annotations on from 5.1 on (containers/podman 83fe867c14f8), and crun alone heeds this one.
_PODMAN_AS_USER = {"UsernsMode": "keep-id", "Annotations": {"run.oci.keep_original_groups": "1"}}
_NOFILE = 65536
_NPROC = 32768  # Podman brings its own limit down to this, and cannot pass it
# How long an engine may take that is behind with its answers: on a busy machine it takes seconds to make a
# container.
_LATE_S = 10.0


@dataclass(frozen=True)
class ContainerRunner:
    """The Runner protocol over a container engine."""

    address: Address
    image: str
    run: str
    podman: bool
    rootless: bool
    contained: ClassVar[bool] = True

    def start(self, command: Command) -> AbstractContextManager[Process]:
        """Start ``command`` in a container of its own; see ``Runner.start``."""
        _check(command)
        return self._started(command)

    @contextmanager
    def _started(self, command: Command) -> Iterator[Process]:
        # The name is ours, so that a container can be removed whose id an interrupt kept from us.
        name = f"kbtf-ci-{uuid.uuid4().hex}"
        creation = _Creation(lambda: self._create(name, command))
        removal = _Removal(self.address, name, creation)
        try:
            creation.finish()
            process = ContainerProcess(self.address, name)
            process.launch()
            yield process
        finally:
            removal.finish()

    def _create(self, name: str, command: Command) -> None:
        with (
            engine_errors(f"create a container of the image {self.image}"),
            closing(self.address.open()) as client,
        ):
            client.create_container(
                self.image,
                name=name,
                entrypoint=_ENTRYPOINT,
                command=list(command.argv),
                user=self._user(),
                environment={"HOME": "/tmp", **command.env},  # noqa: S108 - a tmpfs of the container's own
                working_dir=command.workdir,
                labels=owner.labels(self.run, command.label),
                ports=list(command.ports),
                host_config={
                    **client.create_host_config(**self._host_config(command)),
                    **(_PODMAN_AS_USER if self.podman and self.rootless else {"UsernsMode": "host"}),
                },
            )

    def _user(self) -> str:
        # In a rootless Docker the invoking user is the container's root; Podman can keep the numbers.
        if self.rootless and not self.podman:
            return "0:0"
        return f"{os.getuid()}:{os.getgid()}"

    def _host_config(self, command: Command) -> dict[str, Any]:
        return {
            "mounts": [
                Mount(mount.target, str(mount.source.resolve()), type="bind", read_only=not mount.writable)
                for mount in command.mounts
            ],
            "tmpfs": {"/tmp": "rw,exec,nosuid,nodev,mode=1777"},  # noqa: S108 - inside the container
            "devices": [f"{device}:{device}:rwm" for device in command.devices],
            "group_add": self._groups(command.devices),
            "network_mode": "bridge" if command.ports else "none",
            "port_bindings": dict.fromkeys(command.ports, ("127.0.0.1",)),
            "cap_drop": ["ALL"],
            # label=disable: under SELinux a container may not touch a user's folders otherwise.
            "security_opt": ["no-new-privileges", "label=disable"],
            "ulimits": _ulimits(),
            # The output goes to whoever is attached, not to the disk as well.
            "log_config": LogConfig(type="none"),
        }

    def _groups(self, devices: tuple[str, ...]) -> list[str]:
        if self.rootless:
            return []  # a group of the host has no number of its own in the user namespace
        return sorted({str(Path(device).stat().st_gid) for device in devices})


class ContainerProcess:
    """The Process protocol over a container that has been created."""

    def __init__(self, address: Address, name: str) -> None:
        self._address = address
        self._name = name
        self._output: SimpleQueue[bytes] = SimpleQueue()
        self._complaint = b""
        self._launched = threading.Event()
        self._ended = threading.Event()
        self._status: int | None = None
        self._lost = EngineError("the container was lost")

    def launch(self) -> None:
        """Attach, start, and return when the command itself runs. Raises EngineError."""
        with engine_errors("start a container"):
            listener = self._address.open()
            # Attached before the start: not a byte is missed.
            stream = listener.attach_socket(self._name, {"stdout": 1, "stderr": 1, "stream": 1})
            threading.Thread(target=self._pump, args=(listener, stream), daemon=True).start()
            with self._control() as client:
                client.start(self._name)
        self._launched.wait()
        if not self._complaint.endswith(_STARTED):
            reason = " ".join(self._complaint.decode(errors="replace").split())
            raise EngineError(f"the command did not start: {reason}") if reason else self._lost

    def read(self, timeout: float | None = None) -> bytes:
        """Return the next output; see ``Process.read``."""
        try:
            piece = self._output.get(timeout=timeout)
        except Empty:
            raise TimeoutError(f"no output within {timeout} s") from None
        if not piece:
            self._output.put(piece)  # the end stays the end
            self.wait()
        return piece

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; see ``Process.wait``."""
        if not self._ended.wait(timeout):
            raise TimeoutError(f"the command did not end within {timeout} s")
        if self._status is None:
            raise self._lost
        return self._status

    def port(self, number: int) -> int:
        """Return the host's port; see ``Process.port``. Raises EngineError when it is not published."""
        with engine_errors("look up a port"), self._control() as client:
            ports = client.inspect_container(self._name)["NetworkSettings"]["Ports"] or {}
        bindings = ports.get(f"{number}/tcp")
        if not bindings:
            raise EngineError(f"port {number} of the container is not published: the command has ended")
        return int(bindings[0]["HostPort"])

    def kill(self) -> None:
        """End the command; see ``Process.kill``."""
        try:
            with engine_errors("kill a container"), self._control() as client:
                client.kill(self._name)
        except EngineError:
            # Engines refuse to kill what has just ended, each with a status of its own.
            if not self._ended.wait(_LATE_S):
                raise

    def _pump(self, client: APIClient, stream: Any) -> None:
        try:
            # The SDK keeps the HTTP response of a stream with it, and only that one closes the connection.
            with engine_errors("follow a command"), closing(client), closing(stream._response):
                for channel, piece in cast("Iterator[tuple[int, bytes]]", frames_iter_no_tty(stream)):
                    self._take(channel, piece)
                self._status = _exit_status(client, self._name)
        except EngineError as error:
            self._lost = error
        finally:
            self._ended.set()
            self._launched.set()
            self._output.put(b"")

    def _take(self, channel: int, piece: bytes) -> None:
        if channel != STDERR:
            self._output.put(piece)
            return
        self._complaint += piece
        if self._complaint.endswith(_STARTED):
            self._launched.set()

    def _control(self) -> closing[APIClient]:
        return closing(self._address.open())


def _exit_status(client: APIClient, name: str) -> int:
    """Return the status of a container whose output has ended.

    The end of the output alone is no proof: an engine that dies closes the connection just the same.
    """
    answer = client.wait(name, timeout=None)
    state = client.inspect_container(name)["State"]
    if answer.get("Error") or state["Running"] or state["ExitCode"] != answer.get("StatusCode"):
        raise EngineError(f"the engine lost sight of a command: {answer} {state['Status']}")
    return int(state["ExitCode"])


class _Creation(threading.Thread):
    """Has a container made in a thread, which no interrupt can stop half way.

    A request that is cut off may still make one. This one is answered: whether there is a container to remove
    is known as soon as the engine knows it.
    """

    def __init__(self, create: Callable[[], None]) -> None:
        super().__init__(daemon=True)  # an engine that never answers keeps no process from its end
        self._create = create
        self._error: Exception | None = None
        self._answered = threading.Event()

    def finish(self) -> None:
        """Make the container. Raises EngineError."""
        self.start()
        self._answered.wait()
        if self._error is not None:
            raise self._error

    def settle(self) -> None:
        """Return when there is a container or will be none, or when the engine takes too long to say."""
        self._answered.wait(_LATE_S)

    def run(self) -> None:
        try:
            self._create()
        except Exception as error:  # whatever it is, it is the waiting thread's
            self._error = error
        finally:
            self._answered.set()


class _Removal(threading.Thread):
    """Kills and removes a container in a thread, which no further interrupt can stop half way."""

    def __init__(self, address: Address, name: str, creation: _Creation) -> None:
        super().__init__()
        self._address = address
        self._container = name
        self._creation = creation
        self._finished = threading.Event()

    def finish(self) -> None:
        """Remove the container; when this wait is interrupted, the interpreter's exit waits on.

        It does so for no thread whose join() was interrupted: Python 3.11 takes that for ended (bpo-45274).
        """
        self.start()
        self._finished.wait()

    def run(self) -> None:
        try:
            self._creation.settle()
            # What is not there was refused. When it is the engine that is gone, or late, the next run's
            # reap() takes the container away.
            with (
                suppress(EngineError),
                engine_errors("remove a container"),
                closing(self._address.open()) as client,
            ):
                remove_container(client, self._container)
        finally:
            self._finished.set()


def _check(command: Command) -> None:
    """Raise EngineError for a mount or device that is not there; some engines would make the folder."""
    for source in [mount.source for mount in command.mounts] + [Path(device) for device in command.devices]:
        if not source.exists():
            raise EngineError(f"{source} cannot be given to the {command.label}: it does not exist")


def _ulimits() -> list[Ulimit]:
    """Return the command's limits, none above this process's own: not every engine may raise those.

    An engine's defaults can fail either way: Podman's may be more than it is allowed to set, and some
    daemons' milliard of open files is felt by programs that close them all one by one.
    """
    wanted = {"nofile": (resource.RLIMIT_NOFILE, _NOFILE), "nproc": (resource.RLIMIT_NPROC, _NPROC)}
    limits = [Ulimit(name="core", soft=0, hard=0)]
    for name, (kind, limit) in wanted.items():
        _, hard = resource.getrlimit(kind)
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        limits.append(Ulimit(name=name, soft=allowed, hard=allowed))
    return limits
