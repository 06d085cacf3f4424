# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The way into the guest: commands and a shell over SSH. paramiko lives here alone."""

from __future__ import annotations

import base64
import io
import logging
import os
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import paramiko

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest import terminal
from kbtf_ci.guest.keys import GuestKeys
from kbtf_ci.guest.timeouts import Clock, Deadline

_POLL_S = 0.2
_RETRY_S = 0.1
_CHUNK = 32768
# One attempt: a connection made too early may never be answered.
_ATTEMPT_S = 15.0
# A command's start, and a guest's answer after one, on a machine that has much else to do.
_START_S = 30.0
# A VM's last words may take two seconds (vm.py), and its end a moment to be known.
_NEWS_S = 10.0
_SIGNALLED = 128  # a shell's exit status for signal N is this much more
# One choice of each, which paramiko and Debian's dropbear have: nothing is left to negotiation.
_KEX = ("curve25519-sha256@libssh.org",)
_CIPHERS = ("aes128-ctr",)
_MACS = ("hmac-sha2-256",)


class SilenceError(InfrastructureError):
    """A command said nothing for longer than it may."""


class ShellLostError(InfrastructureError):
    """The connection ended under a command."""


class CommandError(InfrastructureError):
    """A command ended with another ``status`` than 0; None when a signal ended it."""

    def __init__(self, command: str, status: int | None) -> None:
        how = "was killed" if status is None else f"ended with status {status}"
        super().__init__(f"in the guest, `{command}` {how}")
        self.status = status


class GuestShell(Protocol):
    """Commands in the guest. Every wait ends at once, and raises as the VM's ``check``, when the VM ends."""

    def run(
        self, argv: Sequence[str], lines: Iterable[str] = (), silence: float | None = None
    ) -> Iterator[str]:
        """Run ``argv`` with ``lines`` as its input; yield the lines it prints on stdout and stderr.

        The last one needs no end, unless a signal ended the command. Raises SilenceError after ``silence``
        seconds without a line, CommandError at the end for a status other than 0, and ShellLostError.
        """

    def ping(self, timeout: float) -> bool:
        """Return whether the guest runs a command within ``timeout`` seconds."""

    def interact(self) -> int:
        """Connect this terminal, or standard input, to a shell; return its exit status."""


class SshShell:
    """GuestShell over one SSH connection; silence is measured by ``clock``."""

    def __init__(self, transport: paramiko.Transport, check: Callable[[], None], clock: Clock) -> None:
        self._transport = transport
        self._check = check
        self._clock = clock

    def run(
        self, argv: Sequence[str], lines: Iterable[str] = (), silence: float | None = None
    ) -> Iterator[str]:
        """Run a command; see ``GuestShell.run``."""
        command = shlex.join(argv)
        with self._channel() as channel:
            channel.set_combine_stderr(True)
            _start(channel, command, _START_S)
            rest = b""
            for data in self._exchange(channel, "".join(f"{line}\n" for line in lines).encode(), silence):
                *whole, rest = (rest + data).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
            # First whether this is the end at all: what a dying guest, or a killed command, left of a line is
            # none.
            status = self._status(channel)
            if rest and not _killed(status):
                yield rest.decode(errors="replace")
        if status != 0:
            raise CommandError(command, status)

    def ping(self, timeout: float) -> bool:
        """Return whether the guest answers; see ``GuestShell.ping``."""
        deadline = Deadline(timeout)
        try:
            with self._channel(timeout) as channel:
                _start(channel, "true", deadline.left)
                while not channel.exit_status_ready():
                    self._check()
                    if deadline.passed:
                        return False
                    time.sleep(_RETRY_S)
                return channel.recv_exit_status() == 0
        except ShellLostError:
            return False

    def interact(self) -> int:
        """Connect the user; see ``GuestShell.interact``."""
        with self._channel() as channel:
            channel.settimeout(None)
            channel.set_combine_stderr(True)
            if terminal.present():
                channel.get_pty(os.environ.get("TERM", "vt100"), *terminal.size())
                with terminal.raw(channel.resize_pty):
                    channel.invoke_shell()
                    terminal.copy(channel, self._check)
            else:
                _start(channel, "sh -s", _START_S)
                terminal.copy(channel, self._check)
            status = self._status(channel)
        return 1 if status is None else status

    @contextmanager
    def _channel(self, timeout: float = 30.0) -> Iterator[paramiko.Channel]:
        try:
            channel = self._transport.open_session(timeout=timeout)
            try:
                channel.settimeout(_POLL_S)
                yield channel
            finally:
                channel.close()
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._await_news()
            raise ShellLostError(f"the SSH connection to the guest ended: {_why(error)}") from error

    def _await_news(self) -> None:
        """Let the VM's end, which is the likely cause, be known a moment after the connection's."""
        deadline = Deadline(_NEWS_S, self._clock)
        while not deadline.passed:
            self._check()
            time.sleep(_RETRY_S)

    def _exchange(self, channel: paramiko.Channel, data: bytes, silence: float | None) -> Iterator[bytes]:
        """Send ``data`` and yield what comes back, both as they can: neither side waits for the other."""
        quiet_since = self._clock()
        closed = False
        while True:
            while data and channel.send_ready():
                data = data[channel.send(data[:_CHUNK]) :]
            if not data and not closed:
                channel.shutdown_write()
                closed = True
            try:
                piece = channel.recv(_CHUNK)
            except TimeoutError:
                self._check()
                if silence is not None and self._clock() - quiet_since > silence:
                    raise SilenceError(f"the guest said nothing for {silence:g} s") from None
                continue
            if not piece:
                return
            quiet_since = self._clock()
            yield piece

    def _status(self, channel: paramiko.Channel) -> int | None:
        """Return the exit status, which may come after the end of the output; None for a signal's."""
        while not channel.exit_status_ready():
            self._check()
            time.sleep(_RETRY_S)
        status = channel.recv_exit_status()
        if status >= 0:
            return status
        # paramiko's -1: a signal ended the command, or the connection ended under it.
        if not self.ping(_START_S):
            raise ShellLostError("the SSH connection to the guest ended under a command")
        return None


@contextmanager
def connected(
    port: int, keys: GuestKeys, deadline: Deadline, check: Callable[[], None]
) -> Iterator[SshShell]:
    """Log in to the guest at 127.0.0.1:``port``, trying until the deadline; leaving logs out.

    Only a guest with our host key is talked to. Raises InfrastructureError when the deadline passes, and
    whatever ``check`` raises when the VM ends meanwhile.
    """
    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
    transport = _login(port, keys, deadline, check)
    try:
        yield SshShell(transport, check, deadline.clock)
    finally:
        _close(transport)


def _login(port: int, keys: GuestKeys, deadline: Deadline, check: Callable[[], None]) -> paramiko.Transport:
    while True:
        check()
        try:
            return _try_login(port, keys, deadline)
        except paramiko.AuthenticationException as error:
            check()
            raise InfrastructureError(f"the guest does not let us in: {_why(error)}") from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            check()
            if deadline.passed:
                raise InfrastructureError(
                    f"no SSH connection to the guest within {deadline.seconds:g} s: {_why(error)}",
                    hint="give it longer with --timeouts ssh=...",
                ) from error
        time.sleep(_RETRY_S)


def _try_login(port: int, keys: GuestKeys, deadline: Deadline) -> paramiko.Transport:
    left = max(0.1, deadline.left)
    sock = socket.create_connection(("127.0.0.1", port), left)
    transport = paramiko.Transport(sock)
    try:
        transport.banner_timeout = transport.handshake_timeout = min(left, _ATTEMPT_S)
        transport.auth_timeout = left
        options = transport.get_security_options()
        options.kex, options.ciphers, options.digests = _KEX, _CIPHERS, _MACS
        kind, blob = keys.host_public.split()
        options.key_types = (kind,)
        transport.start_client(timeout=left)
        if transport.get_remote_server_key().asbytes() != base64.b64decode(blob):
            raise InfrastructureError("what answers for the guest has another host key than the guest")
        transport.auth_publickey(
            "root", paramiko.Ed25519Key.from_private_key(io.StringIO(keys.client.decode()))
        )
    except BaseException:
        _close(transport)
        raise
    return transport


def _killed(status: int | None) -> bool:
    """Return whether a signal ended a command, in SSH's words or in those of a shell that saw it."""
    return status is None or status > _SIGNALLED


def _start(channel: paramiko.Channel, command: str, timeout: float) -> None:
    """Start the command; paramiko itself would wait for ever for a server that hangs."""
    closing = threading.Timer(timeout, channel.close)
    closing.start()
    try:
        channel.exec_command(command)
    finally:
        closing.cancel()
        closing.join()


def _close(transport: paramiko.Transport) -> None:
    transport.close()
    if transport.ident is not None:
        transport.join(5)


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
