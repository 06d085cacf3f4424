# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Records of /dev/kmsg (Documentation/ABI/testing/dev-kmsg), and the log written from them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# kernel/printk/printk.c, msg_print_ext_body(): what is not printable ASCII comes as \xNN.
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


@dataclass(frozen=True)
class Record:
    """One record: ``usec`` since boot, and the text, of one line or more."""

    sequence: int
    usec: int
    text: str

    @classmethod
    def parse(cls, raw: str) -> Record:
        """Return ``prio,seq,usec,flags;text`` without the lines behind it (`` KEY=value``) as a record.

        Raises ValueError.
        """
        head, found, rest = raw.partition(";")
        fields = head.split(",")
        if not found or len(fields) < 4:
            raise ValueError(f"not a record of /dev/kmsg: {raw[:80]!r}")
        return cls(int(fields[1]), int(fields[2]), _unescape(rest.split("\n", 1)[0]))

    @property
    def lines(self) -> tuple[str, ...]:
        """The text, line by line."""
        return tuple(self.text.split("\n"))

    def stamped(self) -> str:
        """Return the record as the console shows it: ``[    1.234567] text``."""
        stamp = f"[{self.usec // 1_000_000:5d}.{self.usec % 1_000_000:06d}] "
        return "".join(f"{stamp}{line}\n" for line in self.lines)


def _unescape(text: str) -> str:
    # The probe hands bytes over as code points of the same number.
    data = text.encode("latin-1", errors="replace")
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), data).decode(errors="replace")


class KmsgLog:
    """The kernel's log of one boot, appended to a file; a record that comes twice is written once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = -1

    def add(self, records: Iterable[Record]) -> tuple[Record, ...]:
        """Append the records that are new, and return them."""
        new = []
        for record in records:
            if record.sequence > self._last:
                self._last = record.sequence
                new.append(record)
        if new:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(record.stamped() for record in new))
        return tuple(new)
