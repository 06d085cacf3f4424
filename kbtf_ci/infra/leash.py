# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A command that another of ours started ends when that one does, however it ended.

The parent holds the end of a pipe; the child reads the other one, which tells the end of a parent that was
killed with -9. The child then ends as by SIGTERM: in order.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

_VARIABLE: Final = "KBTF_CI_LEASH"


@contextmanager
def leash() -> Iterator[tuple[int, Mapping[str, str]]]:
    """Give a descriptor that the child has to inherit, and the variables of its environment that say so."""
    readable, writable = os.pipe()  # the latter goes to nobody: it is closed with this process
    try:
        yield readable, {_VARIABLE: str(readable)}
    finally:
        os.close(readable)
        os.close(writable)


def heed() -> None:
    """Begin to watch the leash that this process is on, if it is on one."""
    text = os.environ.pop(_VARIABLE, "")
    if text.isdecimal():
        threading.Thread(target=_watch, args=(int(text),), daemon=True, name="leash").start()


def _watch(descriptor: int) -> None:
    with suppress(OSError):
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
