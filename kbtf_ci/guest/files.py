# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Files into the guest and out of it, over its shell: lines of base64, since a channel has lines of text."""

from __future__ import annotations

import base64
import gzip
import shlex
from collections.abc import Iterator
from typing import Final

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.ssh import GuestShell
from kbtf_ci.infra.text import printable

_LINE: Final = 3 << 10  # bytes, a multiple of three: no line but the last is padded


def read(shell: GuestShell, path: str, silence: float) -> bytes:
    """Return the file at ``path`` in the guest.

    Raises as GuestShell.run(), and InfrastructureError for what did not come whole, as of a file that is not
    there.
    """
    packed = "".join(shell.run(("sh", "-c", f"gzip -c {shlex.quote(path)} | base64"), silence=silence))
    try:
        return gzip.decompress(base64.b64decode(packed))
    except (ValueError, EOFError, OSError) as error:
        problem = f"{printable(path)} did not come out of the guest whole: {error}"
        raise InfrastructureError(problem) from error


def write(shell: GuestShell, path: str, data: bytes, silence: float) -> None:
    """Write a file in the guest. Raises as GuestShell.run()."""
    command = f"base64 -d | gzip -d > {shlex.quote(path)}"
    for _ in shell.run(("sh", "-c", command), _lines(gzip.compress(data, 1)), silence=silence):
        pass


def _lines(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), _LINE):
        yield base64.b64encode(data[start : start + _LINE]).decode()
