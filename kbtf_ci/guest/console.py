# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the serial console says: where the guest is, and how it ended.

QEMU's own standard error comes down the same stream, so its last words are read here as well.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from kbtf_ci.guest.kernel_warning import is_oops
from kbtf_ci.model.outcome import LoadMode

_KEPT = 2000
# Bytes of a line; what is longer is taken in pieces. The kernel's own lines end after 1,024 (LOG_LINE_MAX in
# kernel/printk/printk.c), so a longer one is some firmware's or a broken guest's.
_LINE = 64 * 1024
# A sign that such a cut goes through is found all the same: so much before it is looked at again.
_OVERLAP = 1024
_READY = "kbtf-ci: guest ready"
_NOT_READY = "kbtf-ci: guest not ready"
_COMPLAINT = re.compile(r"kbtf-ci: (?P<text>guest (?:has no|cannot) .*)")
_MARKER = re.compile(rf"kbtf-ci: load (?P<mode>{'|'.join(LoadMode)}) (?P<name>\S+)$")
_PANIC = re.compile(r"Kernel panic - not syncing: ")
# SLOF, pseries' firmware, ends so where a kernel's first instructions fail, and waits for a command.
_FIRMWARE = re.compile(r"^\( [0-9a-f]{3} \) .* \[ [0-9a-f]+ \]$")
_UNPACKING = re.compile(r"Initramfs unpacking failed: .*")
# accel/kvm/kvm-all.c, kvm_cpu_exec(), and target/i386/kvm/kvm.c.
_KVM = re.compile(
    r"KVM internal error|error: kvm run failed|KVM: entry failed|error: failed to [sg]et MSR 0x"
    r"|kvm_\w+: Assertion|failed to initialize kvm|Could not access KVM"
)
# printk.time and CONFIG_PRINTK_CALLER
_STAMP = re.compile(r"^\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ")


@dataclass(frozen=True)
class Marker:
    """The probe's announcement of a load."""

    mode: LoadMode
    name: str


class Console:
    """Takes the console's bytes as they come and keeps what they mean; it never forgets a sign it saw."""

    def __init__(self) -> None:
        self.ready = False
        self.not_ready = False
        self.panic = ""
        self.oops = ""
        self.kvm = ""
        self.unpacking = ""
        self.complaints: list[str] = []
        self.marker: Marker | None = None
        self._rest = bytearray()
        self._before = ""  # the end of what this line has been cut from
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._since_marker: deque[str] = deque(maxlen=_KEPT)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._hold(end)
            self._line()
            self._before = ""
        self._hold(rest)

    def finish(self) -> None:
        """Take what is left as a line: there is no more to come."""
        if self._rest:
            self.feed(b"\n")

    @property
    def fatal(self) -> bool:
        """Whether the guest will do nothing any more, though QEMU may still run."""
        return bool(self.panic or self.kvm)

    def tail(self, lines: int = 40) -> str:
        """Return the last lines."""
        return "\n".join(list(self._lines)[-lines:])

    def since_marker(self) -> tuple[str, ...]:
        """Return the lines since the last marker, without their time stamps."""
        return tuple(_STAMP.sub("", line) for line in list(self._since_marker))

    def _hold(self, data: bytes) -> None:
        taken, room = 0, _LINE - len(self._rest)
        while len(data) - taken > room:
            self._rest += data[taken : taken + room]
            self._line()
            taken, room = taken + room, _LINE
        self._rest += data[taken:]

    def _line(self) -> None:
        line = self._rest.decode(errors="replace").strip("\r")
        self._rest = bytearray()
        self._lines.append(line)
        seen = self._before + line
        self._before = seen[-_OVERLAP:]
        if match := _MARKER.search(seen):
            self.marker = Marker(LoadMode(match["mode"]), match["name"])
            self._since_marker.clear()
            return
        self._since_marker.append(line)
        self._init_says(seen)
        self._sign(seen)

    def _init_says(self, line: str) -> None:
        if match := _COMPLAINT.search(line):
            self.complaints.append(match["text"])
        self.ready |= line.endswith(_READY)
        self.not_ready |= line.endswith(_NOT_READY)

    def _sign(self, line: str) -> None:
        text = _STAMP.sub("", line)
        if match := _PANIC.search(line):
            self.panic = self.panic or line[match.start() :]
        elif _FIRMWARE.search(text.rstrip()):
            self.panic = self.panic or f"the firmware's exception: {text.strip()}"
        elif is_oops(text):
            self.oops = self.oops or text
        elif _KVM.search(line):
            self.kvm = self.kvm or text
        elif match := _UNPACKING.search(line):
            self.unpacking = match[0]
