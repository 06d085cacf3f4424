# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Text from files and guests as a person may see it: nothing in it steers a terminal or breaks a line."""

from __future__ import annotations

import re

# C0 and C1 controls but the tab, DEL, Unicode's line and paragraph separators and overrides of direction, the
# lone surrogates by which Python stands for a file name's bytes that are not UTF-8, and what XML cannot hold.
_UNSAFE = re.compile(
    "[\0-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# What a CI system's runner takes for a command of the job's: GitHub's at the start of a line
# (ActionCommand.TryParseV2 of actions/runner), and anywhere in it GitHub's older form (TryParse), Azure's
# "##vso[" and TeamCity's.
_COMMAND = re.compile(r"^(\s*):(?=:)|##(?=\w*\[)")
_SHORT = {"\n": r"\n", "\r": r"\r"}
_BYTES = range(0xDC80, 0xDD00)  # PEP 383


def printable(text: str) -> str:
    r"""Return ``text`` as one line: what is unsafe in it is written as ``\n``, ``\x1b`` or ``\u202e``.

    A byte of a file name that is not UTF-8 becomes ``\xNN``.
    """
    return _UNSAFE.sub(lambda match: _escaped(match[0]), text)


def inert(text: str) -> str:
    r"""Return ``text`` as one printable line in which a CI system's runner finds no command.

    The mark that it would know one by is written with ``\x3a`` or ``\x23`` in it.
    """
    return _COMMAND.sub(_disarmed, printable(text))


def _disarmed(match: re.Match[str]) -> str:
    return r"#\x23" if match[1] is None else rf"{match[1]}\x3a"


def _escaped(character: str) -> str:
    code = ord(character)
    if code in _BYTES:
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
