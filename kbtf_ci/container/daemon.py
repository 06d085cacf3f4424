# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A dockerd of our own, on a private socket, for machines where no service manager keeps one.

Everything it has lies in ``<cache>/engine``: socket, images, state, pidfile and log. It outlives the command
that started it, and the next command finds it by its socket.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.host import find_program
from kbtf_ci.container.places import own_socket, url_of
from kbtf_ci.errors import EngineError
from kbtf_ci.infra.locks import exclusive

_START_S = 60.0
_POLL_S = 0.2
_TAIL_LINES = 15
_PRIVATE = 0o700
_OTHERS = 0o077
# unix(7): sun_path holds 108 bytes with the final null. The longest one is containerd's, below exec/.
_SOCKET_PATH = 107


@dataclass(frozen=True)
class Places:
    """Where our daemon keeps its things, below ``folder``."""

    folder: Path

    @property
    def socket(self) -> Path:
        """The socket it listens on."""
        return self.folder / own_socket().name

    @property
    def pidfile(self) -> Path:
        """Its process id."""
        return self.folder / "docker.pid"

    @property
    def log(self) -> Path:
        """What it and the programs it starts say."""
        return self.folder / "dockerd.log"

    @property
    def state(self) -> Path:
        """What it keeps while it runs."""
        return self.folder / "exec"

    @property
    def containerd_pidfile(self) -> Path:
        """The process id of the containerd it starts."""
        return self.state / "containerd" / "containerd.pid"

    def argv(self, dockerd: str) -> list[str]:
        """Return its command line. The socket belongs to the invoking user's group, also under sudo.

        The group is for this user, who is not root; the folder keeps its other members out.
        """
        return [
            dockerd,
            *("--host", url_of(self.socket)),
            *("--data-root", str(self.folder / "data")),
            *("--exec-root", str(self.state)),
            *("--pidfile", str(self.pidfile)),
            *("--group", str(os.getgid())),
        ]


def start(root: Sequence[str]) -> Engine:
    """Return our daemon, started unless it runs already; ``root`` goes before what needs root.

    Raises EngineError, with the log's last lines, when it does not come up.
    """
    places = Places(own_socket().parent)
    _check_length(places)
    make_private(places.folder)
    with exclusive(places.folder / "start.lock"):
        if (engine := _answering(places)) is not None:
            return engine
        if _runs(places.pidfile):
            return _await(places, None)  # coming up, or going down with its socket closed
        for pidfile in (places.pidfile, places.containerd_pidfile):
            _drop_stale(pidfile, root)
        with _spawned(places, root) as process:
            return _await(places, process)


def make_private(folder: Path) -> None:
    """Close our daemon's folder, made if need be, to all but its user. Raises EngineError where that fails.

    Who may use the socket is root, and its group may be one that many share (users, staff).
    """
    try:
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.geteuid():
            raise EngineError(
                f"{folder}: belongs to user {status.st_uid}, who could put another socket there",
                hint="run kbtf-ci as that user, or set KBTF_CI_CACHE to a folder of your own",
            )
        if status.st_mode & _OTHERS:
            folder.chmod(_PRIVATE)
    except OSError as error:
        raise EngineError(f"{folder}: cannot be made private: {error.strerror}") from error


def is_private(folder: Path) -> bool:
    """Return whether our daemon's folder is closed to all but this user, as one that is not there is."""
    if not folder.exists():
        return True
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & _OTHERS


def elsewhere(proc: Path = Path("/proc")) -> str:
    """Return the command line of a dockerd that is not ours and shares our network, "" for none.

    Two daemons of one network namespace both take the bridge docker0 for their own: they hand out the same
    addresses twice, and one of them may delete it under the other's containers.
    """
    ours = os.fsencode(own_socket().parent)
    for comm in sorted(proc.glob("[0-9]*/comm")):
        try:
            words = comm.with_name("cmdline").read_bytes()
            network = (comm.parent / "ns" / "net").readlink()
            same = comm.read_text() == "dockerd\n" and network == (proc / "self" / "ns" / "net").readlink()
        except OSError:
            continue  # it has ended, or is another user's and cannot be told
        if same and ours not in words:
            return words.replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def _check_length(places: Places) -> None:
    longest = places.containerd_pidfile.with_name("containerd-debug.sock")
    if len(os.fsencode(longest)) > _SOCKET_PATH:
        raise EngineError(
            f"the cache folder's path is too long for a socket: {longest}",
            hint="set KBTF_CI_CACHE to a shorter one",
        )


def _answering(places: Places) -> Engine | None:
    try:
        return Engine.at(url_of(places.socket))
    except EngineError:
        return None


@contextmanager
def _spawned(places: Places, root: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the daemon in a session of its own, away from this terminal and its signals."""
    dockerd = find_program("dockerd")
    if dockerd is None:
        raise EngineError("dockerd is not installed", hint="install docker.io, or run `kbtf-ci setup`")
    with places.log.open("wb") as log:
        process = subprocess.Popen(
            [*root, *places.argv(dockerd)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # dockerd looks for containerd, runc and iptables where only root's PATH may lead.
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
            start_new_session=True,
        )
    try:
        yield process
    except BaseException:
        process.terminate()
        process.wait()
        raise
    # It is to outlive us: nobody waits for it, and Popen need not warn of that.
    process.returncode = 0


def _await(places: Places, process: subprocess.Popen[bytes] | None) -> Engine:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if (engine := _answering(places)) is not None:
            return engine
        if process is not None and process.poll() is not None:
            raise _failed(places, "the container engine did not start")
        time.sleep(_POLL_S)
    raise _failed(places, f"the container engine did not answer within {_START_S:g} s")


def _failed(places: Places, message: str) -> EngineError:
    lines = places.log.read_text(errors="replace").splitlines() if places.log.exists() else []
    last = f": {lines[-1]}" if lines else ""
    detail = "\n".join(lines[-_TAIL_LINES:])
    return EngineError(f"{message}{last}", hint=f"its log is {places.log}", detail=detail)


def _drop_stale(pidfile: Path, root: Sequence[str]) -> None:
    """Remove the pidfile that a kill -9 or a reboot left.

    dockerd takes any live process of that number for its own predecessor (pkg/pidfile), or for the containerd
    that it need only connect to (libcontainerd/supervisor), and does not start.
    """
    if not _runs(pidfile):
        subprocess.run([*root, "rm", "-f", str(pidfile)], check=False)


def _runs(pidfile: Path) -> bool:
    """Return whether the process that the file names lives and has the file's folder on its command line."""
    try:
        pid = int(pidfile.read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
    return os.fsencode(pidfile.parent) in words
