# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One running QEMU: its console on file, and how it ended, told apart and noticed at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from kbtf_ci.errors import EngineError, GuestError, InfrastructureError, KbtfError
from kbtf_ci.guest.console import Console
from kbtf_ci.guest.timeouts import Deadline
from kbtf_ci.infra.runner import Command, Process, Runner
from kbtf_ci.model.outcome import Death

# How long QEMU may take to end, and to print the rest, after the console said that the guest is done for.
_LAST_WORDS_S = 2.0
# How long its end, which is certain by then, may take to be known on a machine that has much else to do.
_END_S = 30.0
_POLL_S = 0.2


class GuestDiedError(GuestError):
    """The kernel in the guest ended; ``death`` says how."""

    def __init__(self, death: Death, message: str, *, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.death = death


class KvmError(InfrastructureError):
    """KVM stopped running the guest, or never ran it."""

    @classmethod
    def of_silence(cls, seconds: float) -> Self:
        """Return that of a guest without a single line on its console."""
        return cls(f"the guest printed nothing within {seconds:g} s in KVM")


@dataclass(frozen=True)
class _Ending:
    """How QEMU ended: its exit status, or the engine's error that hides it."""

    status: int
    lost: EngineError | None = None


class Vm:
    """A QEMU under way. Made by ``running``."""

    def __init__(self, process: Process, log: BinaryIO) -> None:
        self.console = Console()
        self._process = process
        self._log = log
        self._news = threading.Condition()
        self._ending: _Ending | None = None
        self._stopping = threading.Event()
        self._pump = threading.Thread(target=self._follow, name="guest console", daemon=True)
        self._pump.start()

    @property
    def ended(self) -> bool:
        """Whether QEMU has ended."""
        return self._ending is not None

    def port(self, number: int) -> int:
        """Return the host's port for QEMU's port ``number``. Raises as ``check``, and EngineError."""
        try:
            return self._process.port(number)
        except EngineError:
            self.wait(lambda: False, Deadline(_LAST_WORDS_S))
            raise

    def wait(self, condition: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait until ``condition``, asked at every console output, holds; False when the deadline passed.

        Raises as ``check`` as soon as QEMU ends, and past the deadline too when it is about to.
        """
        with self._news:
            while not (self.ended or condition() or deadline.passed):
                self._news.wait(min(_POLL_S, deadline.left))
            if self.console.fatal:
                self._news.wait_for(lambda: self.ended, _LAST_WORDS_S + _END_S)
        self.check()
        return condition()

    def check(self) -> None:
        """Raise how QEMU ended, if it has.

        GuestDiedError for the kernel's death, KvmError for KVM's, EngineError when the engine was lost,
        InfrastructureError when QEMU was killed or gave up.
        """
        if self._ending is not None:
            raise self._verdict(self._ending)

    def stop(self) -> None:
        """End QEMU and the thread that follows it."""
        self._stopping.set()
        try:
            self._process.kill()
        except EngineError:
            pass  # an engine that is gone is reported by whoever needs it next
        finally:
            self._pump.join()

    def _follow(self) -> None:
        lost = None
        status = -1
        try:
            self._read_all()
            status = self._process.wait(_END_S)
        except EngineError as error:
            lost = error
        except (OSError, TimeoutError) as error:
            lost = EngineError(f"the guest's console was lost: {error}")
        with self._news:
            self.console.finish()
            self._ending = _Ending(status, lost)
            self._news.notify_all()

    def _read_all(self) -> None:
        last_words: Deadline | None = None
        while not self._stopping.is_set():
            try:
                data = self._process.read(_POLL_S)
            except TimeoutError:
                data = None
            if data == b"":
                return
            if data is not None:
                self._take(data)
            if self.console.fatal:
                last_words = last_words or Deadline(_LAST_WORDS_S)
                if last_words.passed:
                    self._process.kill()

    def _take(self, data: bytes) -> None:
        self._log.write(data)
        with self._news:
            self.console.feed(data)
            self._news.notify_all()

    def _verdict(self, ending: _Ending) -> KbtfError:
        console, tail = self.console, self.console.tail()
        if console.kvm:
            return KvmError(f"KVM stopped running the guest: {console.kvm}", detail=tail)
        if console.oops:
            return GuestDiedError(Death.OOPS, f"the guest's kernel oopsed: {console.oops}", detail=tail)
        if console.panic:
            return GuestDiedError(Death.PANIC, f"the guest's kernel panicked: {console.panic}", detail=tail)
        if ending.lost is not None:
            return ending.lost
        if ending.status == 0:
            return GuestDiedError(Death.RESET, "the guest reset itself without a word", detail=tail)
        return InfrastructureError(
            f"QEMU ended by itself with status {ending.status}: {self.console.tail(1)}", detail=tail
        )


@contextmanager
def running(runner: Runner, command: Command, log: Path) -> Iterator[Vm]:
    """Start QEMU; what it prints is appended to ``log`` at once. Leaving the context ends it."""
    with log.open("ab", buffering=0) as file, runner.start(command) as process:
        vm = Vm(process, file)
        try:
            yield vm
        finally:
            vm.stop()
