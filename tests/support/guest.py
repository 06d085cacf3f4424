# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A guest without QEMU: a console that prints, and a real SSH server on this machine behind it.

It stands where QEMU would in the Runner protocol, and speaks as the guest's init, its probe, and a kernel
would that does with each module what a test asks for. Other commands run on this machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import ClassVar

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from kbtf_ci.errors import EngineError
from kbtf_ci.guest.image import GuestImage
from kbtf_ci.guest.keys import GuestKeys
from kbtf_ci.infra.runner import Command


@dataclass(frozen=True)
class Load:
    """What the kernel does with a module: an errno, its BTF, its words; or ``end``, one of ENDS.

    ``late`` it says once the load has returned.
    """

    errno: int = 0
    btf: bytes | None = b"btf"
    log: tuple[str, ...] = ()
    end: str = ""
    late: tuple[str, ...] = ()


# What the console says, and the status that QEMU ends with; None: it goes on, and the load never returns.
# Under "long" no time passes: that load takes as long as the test wants.
ENDS: Mapping[str, tuple[str, int | None]] = {
    "panic": ("[    2.0] Kernel panic - not syncing: told to\n[    2.1] Kernel Offset: disabled\n", 0),
    "oops": (
        "[    2.0] BUG: kernel NULL pointer dereference, address: 0000000000000000\n"
        "[    2.0] Oops: Oops: 0002 [#1] PREEMPT SMP\n"
        "[    2.0] Kernel panic - not syncing: Fatal exception\n",
        0,
    ),
    "reset": ("", 0),
    "killed": ("", 137),
    "kvm": ("KVM internal error. Suberror: 1\n", None),
    "hang": ("", None),
    "spin": ("", None),
    "long": ("", None),
    "probe-killed": ("", None),
    "connection-lost": ("", None),
}


# Ends under which nothing more comes, however long one waits.
_SILENT = {"hang", "spin", "connection-lost"}
_READY = "kbtf-ci: guest ready"


@dataclass(frozen=True)
class Boot:
    """What a boot prints, and how it ends without a guest: status, or None for one that goes on."""

    console: str = f"[    0.0] Linux version 0\n[    1.0] {_READY}\n"
    status: int | None = None


@dataclass
class HandClock:
    """A clock that stands still, and is moved on where nothing more can happen.

    However slow the machine is, no deadline on it passes before all is said and done. It belongs to one guest
    at a time: one that is silent moves it on for all.
    """

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeGuests:
    """A Runner whose every QEMU is a guest of this machine.

    ``loads`` maps ("real", name) and the like; whatever is not there loads. ``boots`` are the first boots'
    ways, all others come up. ``requests`` holds what every guest was asked to load, in order, and
    ``dmesg`` what was asked of its console. On ``clock`` time passes only while a guest is silent for good.
    """

    keys: GuestKeys
    loads: Mapping[tuple[str, str], Load] = field(default_factory=dict)
    boots: list[Boot] = field(default_factory=list)
    started: list[Command] = field(default_factory=list)
    requests: list[list[str]] = field(default_factory=list)
    dmesg: list[str] = field(default_factory=list)
    living: list[FakeQemu] = field(default_factory=list)
    unsettled: str = ""  # what the console says when a CPU is kept behind the last load, and no end to it
    clock: HandClock = field(default_factory=HandClock)
    contained: ClassVar[bool] = True

    def start(self, command: Command) -> AbstractContextManager[FakeQemu]:
        return self._started(command)

    @contextmanager
    def _started(self, command: Command) -> Iterator[FakeQemu]:
        boot = self.boots.pop(0) if self.boots else Boot()
        self.started.append(command)
        qemu = FakeQemu(self, boot)
        self.requests.append(qemu.requests)
        self.living.append(qemu)
        try:
            yield qemu
        finally:
            qemu.end(137)
            qemu.server.join()
            self.living.remove(qemu)


# Real seconds that a wait for a silent guest takes.
_MOMENT_S = 0.002


class FakeQemu:
    """The Process protocol, and the guest in it."""

    def __init__(self, guests: FakeGuests, boot: Boot) -> None:
        self.guests = guests
        self.requests: list[str] = []
        self.kmsg = list(BOOT_KMSG)
        self.ended = threading.Event()
        self.spinning = False
        self.silent = boot.status is None and _READY not in boot.console
        self.engine_lost = False
        self._status = 0
        self._lock = threading.Lock()
        self._console: SimpleQueue[bytes] = SimpleQueue()
        self.server = SshServer(self)
        self.say(boot.console)
        if boot.status is not None:
            self.end(boot.status)

    def say(self, text: str) -> None:
        if text:
            self._console.put(text.replace("\n", "\r\n").encode())

    def log(self, texts: Iterable[str]) -> list[str]:
        """Return ``texts`` as new records of /dev/kmsg, from which the next probe reads all once more."""
        new = [f"4,{number},2000000,-;{text}" for number, text in enumerate(texts, len(self.kmsg))]
        self.kmsg += new
        return new

    def end(self, status: int) -> None:
        with self._lock:
            if not self.ended.is_set():
                self._status = status
                self.ended.set()
                self._console.put(b"")
        self.server.close()

    def lose_engine(self) -> None:
        self.engine_lost = True
        self._console.put(b"")

    def read(self, timeout: float | None = None) -> bytes:
        try:
            data = self._console.get(timeout=_MOMENT_S if self.silent else timeout)
        except Empty:
            if self.silent:
                self.guests.clock.now += timeout or 0.0
            raise TimeoutError from None
        if self.engine_lost:
            raise EngineError("the engine was lost")
        while data == b"" and not self._console.empty():
            data = self._console.get()
        return data

    def wait(self, timeout: float | None = None) -> int:
        if not self.ended.wait(timeout):
            raise TimeoutError
        return self._status

    def port(self, number: int) -> int:
        return self.server.port

    def kill(self) -> None:
        self.end(137)


class SshServer:
    """The guest's dropbear."""

    def __init__(self, qemu: FakeQemu) -> None:
        self.qemu = qemu
        self._host_key = _host_key(qemu.guests.keys)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._transports: list[paramiko.Transport] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.close()

    def join(self) -> None:
        for thread in [*self._threads, *self._transports]:
            thread.join(60)

    def drop_connections(self) -> None:
        for transport in self._transports:
            transport.close()

    def run(self, command: str, channel: paramiko.Channel) -> None:
        thread = threading.Thread(target=self._run, args=(command, channel))
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError, EOFError, paramiko.SSHException):
            while True:
                connection, _ = self._listener.accept()
                transport = paramiko.Transport(connection)
                self._transports.append(transport)
                transport.add_server_key(self._host_key)
                with suppress(EOFError, paramiko.SSHException):
                    transport.start_server(server=_Server(self))

    def _run(self, command: str, channel: paramiko.Channel) -> None:
        with suppress(OSError, EOFError, paramiko.SSHException):
            if command.split(maxsplit=1)[0] == "dmesg":
                self.qemu.guests.dmesg.append(command)
                command = "true"  # and leaves this machine's own console alone
            status = (
                probe(self.qemu, channel) if command == "/sbin/probe" else _on_host(self, command, channel)
            )
            if status is not None and status >= 0:
                channel.send_exit_status(status)
            channel.close()


class _Server(paramiko.ServerInterface):
    def __init__(self, server: SshServer) -> None:
        self._server = server

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = self._server.qemu.guests.keys.client_public.split()[1] == key.get_base64()
        return AUTH_SUCCESSFUL if known and username == "root" else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self._server.qemu.spinning:
            self._server.qemu.ended.wait()
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._server.run(command.decode(), channel)
        return True


def _on_host(server: SshServer, command: str, channel: paramiko.Channel) -> int | None:
    process = subprocess.Popen(
        ["sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdin
    assert isinstance(process.stdout, io.BufferedReader)

    def feed() -> None:
        assert process.stdin
        with process.stdin, suppress(OSError):
            while data := channel.recv(32768):
                process.stdin.write(data)
                process.stdin.flush()

    def end() -> None:
        server.qemu.ended.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    for work in (feed, end):
        threading.Thread(target=work, daemon=True).start()
    with process.stdout:
        while data := process.stdout.read1(32768):
            channel.sendall(data)
    return process.wait()


BOOT_KMSG = ["6,0,0,-;Linux version 0", "6,1,5000000,-;tab\\x09here\n SUBSYSTEM=pci"]


def probe(qemu: FakeQemu, channel: paramiko.Channel) -> int | None:
    """Answer as containers/guest/probe.c; the status to end with, None for none at all."""
    _answer(channel, {"boot_kmsg": qemu.kmsg})
    late: tuple[str, ...] = ()
    for line in channel.makefile("r"):
        mode, name, path = line.split()
        if mode == "settle":
            if qemu.guests.unsettled:
                qemu.say(qemu.guests.unsettled)
                return _end(qemu, "hang")
            _answer(channel, {"name": name, "mode": mode, "errno": 0, "load_us": 7, "btf": None,
                              "kmsg_before": qemu.log(late), "kmsg": []})  # fmt: skip
            late = ()
            continue
        assert path.startswith("/lib/modules/")
        qemu.requests.append(f"{mode} {name}")
        qemu.say(f"[    2.0] kbtf-ci: load {mode} {name}\n")
        load = qemu.guests.loads.get((mode, name), Load())
        if load.end:
            return _end(qemu, load.end)
        before, during, late = qemu.log(late), qemu.log(load.log), load.late
        kept = load.btf if load.errno == 0 else None
        btf = None if kept is None else {"bytes": len(kept), "sha256": hashlib.sha256(kept).hexdigest()}
        _answer(channel, {"name": name, "mode": mode, "errno": load.errno, "load_us": 7, "btf": btf,
                          "kmsg_before": before, "kmsg": during})  # fmt: skip
    return 0


def _end(qemu: FakeQemu, end: str) -> int | None:
    text, status = ENDS[end]
    qemu.say(text)
    if status is not None:
        qemu.end(status)
    elif end == "probe-killed":
        return None
    elif end == "connection-lost":
        qemu.server.drop_connections()
    qemu.spinning = end == "spin"
    qemu.silent = end in _SILENT
    qemu.ended.wait()
    return None


def _answer(channel: paramiko.Channel, said: dict[str, object]) -> None:
    channel.sendall(json.dumps(said).encode() + b"\n")


def _host_key(keys: GuestKeys) -> paramiko.Ed25519Key:
    """Read the key as dropbear does: two strings, the second the seed and the public key."""
    (size,) = struct.unpack_from(">I", keys.host)
    assert keys.host[4 : 4 + size] == b"ssh-ed25519"
    seed = keys.host[8 + size : 8 + size + 32]
    pem = Ed25519PrivateKey.from_private_bytes(seed).private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
    )
    return paramiko.Ed25519Key.from_private_key(io.StringIO(pem.decode()))


def make_files(folder: Path, keys: GuestKeys) -> tuple[Path, GuestImage]:
    """Return a kernel and an image that nobody will look into."""
    kernel, initramfs = folder / "bzImage", folder / "initramfs.cpio"
    kernel.write_bytes(b"")
    initramfs.write_bytes(b"")
    return kernel, GuestImage(initramfs, keys)
