# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What make's output says of its failure: whose fault it is, and the one line that tells it best."""

from __future__ import annotations

import re

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.kernel.kbuild import BUILD, SOURCE

# From the most telling to the least; of each kind the first line counts.
_FAULTS = (
    re.compile(r"^\S+:\d+:\d+: (?:fatal )?error: "),
    re.compile(r"^ERROR: modpost: "),
    re.compile(r"^ld(?:\.\w+)?: |: undefined reference to "),
    re.compile(r"^(?:FAILED|Error): |^\S+: (?:fatal )?error: "),
    # A program that is not there, in the words of dash and bash.
    re.compile(r": not found$|: command not found$"),
    # What Kconfig, its parser and scripts/{cc,as,ld}-version.sh say.
    re.compile(r"Kconfig\S*:\d+: |: unknown (?:C compiler|assembler|linker)"),
    re.compile(r"^\S*Makefile\S*:\d+: |^make(?:\[\d+\])?: (?!\*\*\*|Entering|Leaving)"),
    re.compile(r"^make(?:\[\d+\])?: \*\*\* "),
)
# A program that the build starts and its image does not hold, in the words of dash, bash, make, ccache and
# scripts/Kconfig.include.
_MISSING = (
    re.compile(r"^(?:\S+: )?(?:line )?\d+: (\S+): (?:command )?not found$"),
    re.compile(r"^make(?:\[\d+\])?: ([^\s/]+): No such file or directory$"),
    re.compile(r'^ccache: error: Could not find compiler "(\S+)" in PATH'),
    re.compile(r"Kconfig\.include:\d+: (?:C compiler|linker|assembler) '(\S+)' not found"),
)
# The kernel's memory killer takes the largest process: a compiler, a linker or pahole. gcc and its collect2,
# clang, xargs, rustc, shells and make tell of its SIGKILL in these words; the last ones were refused memory.
_KILLED = (
    re.compile(r"\bfatal error: Killed signal terminated program \S+"),
    re.compile(r"\bterminated (?:with|by) signal 9\b|\(signal: 9, SIGKILL"),
    re.compile(r"\berror: unable to execute command: Killed$"),
    re.compile(r"^(?:\S+: (?:line )?\d+: +)?(?:\d+ +)?Killed(?: .*)?$"),
    re.compile(r"^make(?:\[\d+\])?: \*\*\* \[.*\] (?:Killed|Error 137)$"),
    re.compile(r"^\S+: (?:final link failed: )?(?:virtual )?memory exhausted"),
    re.compile(r"^\S+: out of memory(?: allocating .*)?$|^LLVM ERROR: out of memory"),
    re.compile(r": Cannot allocate memory$"),
)
# strerror(3) of what a disk or a limit of the machine refuses: ENOSPC, EDQUOT, EIO, EMFILE and ENFILE.
_REFUSED = re.compile(
    r"No space left on device|Disk quota exceeded|Input/output error|Too many open files(?: in system)?"
)
SIGNALLED = 128  # a shell's exit status for signal N is this much more


class Diagnostics:
    """Takes make's output line by line and remembers what its failure is told by.

    ``missing`` names the first program that the build wanted and its image does not hold, "" for none.
    """

    def __init__(self, text: str = "") -> None:
        self.missing = ""
        self._faults: dict[int, str] = {}
        self._killed = ""
        self._refused = ""
        self._last = ""
        for line in text.splitlines():
            self.feed(line)

    def feed(self, line: str) -> None:
        """Take one line, with or without its newline."""
        line = line.rstrip()
        if line[:1].isspace():
            return  # a step of kbuild's, or the source that a compiler quotes below its error
        self._last = line or self._last
        if found := _REFUSED.search(line):
            self._refused = self._refused or found[0]
        elif any(pattern.search(line) for pattern in _KILLED):
            self._killed = self._killed or line
        else:
            self._take_fault(line)

    def _take_fault(self, line: str) -> None:
        found = next(filter(None, (pattern.search(line) for pattern in _MISSING)), None)
        if found and not self.missing:
            self.missing = found[1]
        for rank, pattern in enumerate(_FAULTS):
            if pattern.search(line):
                self._faults.setdefault(rank, line)

    @property
    def first_error(self) -> str:
        """The first line of the most telling kind, a compiler's before make's own; else the last line."""
        line = self._faults[min(self._faults)] if self._faults else self._last
        return _readable(line) or "make said no reason"

    def machine_fault(self, status: int, place: object, where: str = "") -> InfrastructureError | None:
        """Return the error for a failure that says nothing about the kernel, None for any other.

        ``status`` is make's exit status, ``place`` is what it wrote to, ``where`` tells where its output is.
        """
        if self._refused:
            reason = self._refused[0].lower() + self._refused[1:]
            return InfrastructureError(f"{place}: {reason}{where}")
        if self._killed:
            return InfrastructureError(
                f"a program of the build was killed or got no memory: {_readable(self._killed)}{where}",
                hint="give it more memory, or fewer jobs (-j)",
            )
        if status > SIGNALLED:
            return InfrastructureError(f"make was ended by signal {status - SIGNALLED}{where}")
        return None


def _readable(line: str) -> str:
    return line.replace(f"{SOURCE}/", "").replace(f"{BUILD}/", "")
