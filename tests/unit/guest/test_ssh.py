# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What counts as silence, by a clock that the channel itself moves on. The rest: tests/contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import paramiko
import pytest

from kbtf_ci.guest.ssh import SilenceError, SshShell
from tests.support.guest import HandClock


class Channel:
    """The end of a channel at which each receive takes ``seconds`` and brings ``data``, None for nothing."""

    def __init__(self, clock: HandClock, *receives: tuple[float, bytes | None]) -> None:
        self.clock = clock
        self.receives = list(receives)
        self.sent = b""

    def send_ready(self) -> bool:
        return True

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    def shutdown_write(self) -> None:
        self.sent += b"<end>"

    def recv(self, size: int) -> bytes:
        seconds, data = self.receives.pop(0)
        self.clock.now += seconds
        if data is None:
            raise TimeoutError
        return data


def exchanged(
    silence: float | None, *receives: tuple[float, bytes | None]
) -> tuple[Channel, Iterator[bytes]]:
    clock = HandClock()
    shell = SshShell(cast(paramiko.Transport, None), lambda: None, clock)
    channel = Channel(clock, *receives)
    return channel, shell._exchange(cast(paramiko.Channel, channel), b"words", silence)


def test_output_now_and_then_is_no_silence_however_long_it_takes_in_all() -> None:
    channel, pieces = exchanged(10, (9, b"a"), (9, None), (0, b"b"), (9, None), (0, b"c"), (0, b""))
    assert list(pieces) == [b"a", b"b", b"c"]
    assert channel.sent == b"words<end>"


def test_silence_is_what_is_longer_than_allowed_since_the_last_output() -> None:
    channel, pieces = exchanged(10, (9, b"a"), (9, None), (1, None), (1, None), (0, b"too late"))
    assert next(pieces) == b"a"
    with pytest.raises(SilenceError, match="said nothing for 10 s"):
        next(pieces)
    assert channel.receives == [(0, b"too late")]


def test_without_a_limit_there_is_no_silence() -> None:
    _, pieces = exchanged(None, (1e9, None), (1e9, None), (0, b"a"), (0, b""))
    assert list(pieces) == [b"a"]
