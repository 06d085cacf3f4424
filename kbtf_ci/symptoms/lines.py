# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Any text a person may have -> the lines of the log in it, one at a time, whatever its size.

What carries a log is taken off: HTML, markdown, quoting in mails, colours, the prefixes of journals, syslog,
logread and dmesg. A line is read in pieces of at most ``LONGEST`` bytes: the kernel's records are shorter.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import BinaryIO, Final

from kbtf_ci.model.symptom import Line

LONGEST: Final = 1 << 16
# So many bytes tell text from what is none.
_START: Final = 4096
# A page of HTML may be one line of this many pieces; what is longer is no log, and its rest is passed over.
_PIECES: Final = 16
# The longest text that messages are looked for in: what that takes grows with more than the length.
_PART: Final = 2000
# A clock that goes back by this much is another boot's: CPUs' records come out of order by far less.
_BACK_SECONDS: Final = 1.0
# So many lines of its own may a wrapped message take beside the first.
_WRAPPED: Final = 2

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|(?:\^\[|#033|\\x1b|\\e)\[[0-9;]*[mK]")
_BREAK = re.compile(r"<br\s*/?>|</(?:p|div|li|tr|pre|td)>", re.IGNORECASE)
# Only tags that are HTML's: <4> is a level of printk's, <anon> and <void> come out of tools.
_TAG = re.compile(
    r"</?(?:a|b|i|p|em|li|td|th|tr|ul|ol|br|hr|h[1-6]|div|img|pre|kbd|tt|code|span|table|tbody|thead|strong"
    r"|html|"
    r"body|head|title|meta|script|style|details|summary|blockquote|font|button|svg|path|article|section)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})[\w+-]*\s*$")
_QUOTE = re.compile(r"\s*(?:(?:>|\|)\s?)+")
_TICKS = re.compile(r"^\s*(?:[-*+]\s+)?`+\s?|\s?`+\s*$")
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?"
# What may stand before a kernel's line, each taken off as often as it comes.
_PREFIX: Final = re.compile(
    "|".join(
        (
            r"<\d{1,3}>",  # printk's level, or syslog's
            r"\d{4}-\d\d-\d\d[T ]"
            + _CLOCK
            + r"(?:Z|[+-]\d\d:?\d\d)?\s+",  # journalctl -o short-iso, CI's logs
            r"[A-Z][a-zäéû]{2,4}\.?\s+\d{1,2}\s+(?:\d{4}\s+)?" + _CLOCK + r"\s+",  # syslog's date
            r"\d{1,2}\.?\s+[A-Za-zäéû]{3,4}\.?\s+" + _CLOCK + r"\s+",
            _DAY + r"\s+\w{3}\s+\d{1,2}\s+" + _CLOCK + r"\s+\d{4}\s+",  # OpenWrt's logread
            r"\[[^\W\d]{2,4}\w*\.?,?\s+[^\]]{4,20}" + _CLOCK + r"\s+\d{4}\]\s?",  # dmesg -T
            r"\[[A-Za-zéûäé]{3,5}\.?\s?\d{1,2}\s+"
            + _CLOCK
            + r"\]\s?",  # dmesg -H, its first line of a minute
            r"(?:kern|user|daemon|syslog|auth)\s*:\s*(?:emerg|alert|crit|err|warn|notice|info"
            r"|debug)\s*:\s",  # dmesg -x
            r"(?:kern|user|daemon|syslog)\.(?:emerg|alert|crit|err|warn|notice|info|debug)\s+",  # logread
            r"(?:\S+\s)?(?:kernel|klogd)(?:\[\d+\])?:\s",
        )
    )
)
_TIME = re.compile(r"\[\s*(?P<plus>\+)?\s*(?P<whole>\d{1,7})[.,](?P<part>\d{3,9})\s*\]\s?")
_CALLER = re.compile(r"\s?\[\s*[TC]\d+\s*\]\s?")
_BOOT = re.compile(r"Linux version \d+\.\d|^-- (?:Boot [0-9a-f]{32}|Reboot) --")
# What editors and translations make of quotes, colons and blanks.
_PLAIN: Final = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\uff1a": ":", "\xa0": " "}
)
_HYPHEN = re.compile(r"\w-$")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class NotTextError(ValueError):
    """The bytes are no text; the message says what they are."""


def raw_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the stream's lines, long ones in pieces. Raises NotTextError where its start is no text."""
    start: list[bytes] = []
    while sum(map(len, start)) < _START and (piece := stream.readline(LONGEST)):
        start.append(piece)
    _require_text(b"".join(start))
    pieces = 0
    for piece in chain(start, iter(partial(stream.readline, LONGEST), b"")):
        if pieces < _PIECES:
            yield piece
        pieces = 0 if piece.endswith(b"\n") else pieces + 1


def _require_text(start: bytes) -> None:
    if start.startswith(_UTF16):
        raise NotTextError("UTF-16")
    if start.startswith(b"\x7fELF"):
        raise NotTextError("an ELF file")
    start = start[:_START]
    controls = sum(byte < 9 or 13 < byte < 27 for byte in start)
    if controls > len(start) // 20:
        raise NotTextError("binary")


def log_lines(stream: BinaryIO, file: str, first_boot: int = 1) -> Iterator[Line]:
    """Yield the stream's lines without what carries them; boots are counted from ``first_boot``.

    Raises NotTextError.
    """
    boots = _Boots(first_boot)
    for number, raw in enumerate(raw_lines(stream), 1):
        text = raw.decode(errors="replace").rstrip("\r\n\0 ")
        for piece in _pieces(text):
            line = _stripped(piece, file, number)
            if line is not None:
                yield boots.place(line)


class _Boots:
    """Counts boots: at a kernel's first line, at a journal's mark, and where its clock goes back."""

    def __init__(self, first: int) -> None:
        self._boot = first
        self._latest = -1.0
        self._seen = False

    def place(self, line: Line) -> Line:
        if _BOOT.search(line.text) and (line.stamped or line.text.startswith(("Linux version", "-- "))):
            if line.time is None or line.time < self._latest:
                self._next(announced=True)
        elif line.time is not None and line.time < self._latest - _BACK_SECONDS:
            self._next(announced=False)
        if line.time is not None:
            self._latest = max(self._latest, line.time)
            self._seen = True
        return line if line.boot == self._boot else replace(line, boot=self._boot)

    def _next(self, *, announced: bool) -> None:
        """Begin a boot; a mark and the kernel's first line behind it are one boot's."""
        if self._seen or not announced:
            self._boot += 1
        self._latest = -1.0
        self._seen = False


def _pieces(text: str) -> Iterator[str]:
    """Yield the lines within a line of HTML, else the line; what is still long in parts, cut at a blank."""
    for piece in _html_lines(text):
        rest = piece
        while len(rest) > _PART:
            cut = rest.rfind(" ", 1, _PART) + 1 or _PART
            yield rest[:cut]
            rest = rest[cut:]
        yield rest


def _html_lines(text: str) -> Iterator[str]:
    if "\x1b" in text or "[" in text:
        text = _COLOUR.sub("", text)
    if "<" in text:
        yield from (_TAG.sub("", piece) for piece in _BREAK.split(text))
    else:
        yield text


def _stripped(text: str, file: str, number: int) -> Line | None:
    if "&" in text:
        text = html.unescape(text)
    if not text.isascii():
        text = text.translate(_PLAIN)
    if _FENCE.match(text):
        return None
    text = _unquoted(text)
    bare, time, stamped = _bare(text)
    return Line(bare, file, number, time=time, stamped=stamped) if bare.strip() else None


def _unquoted(text: str) -> str:
    quote = _QUOTE.match(text)
    if quote is not None:
        text = text[quote.end() :]
    return _TICKS.sub("", text) if "`" in text else text


def _bare(text: str) -> tuple[str, float | None, bool]:
    """Return the text without prefixes, the seconds since boot, and whether there was any prefix."""
    rest = text.lstrip()
    time = None
    taken = True
    while taken:
        taken = False
        match = _TIME.match(rest)
        if match is not None:
            time = time if match["plus"] else float(f"{match['whole']}.{match['part']}")
            rest, taken = rest[match.end() :], True
            caller = _CALLER.match(rest)
            rest = rest[caller.end() :] if caller else rest
        match = _PREFIX.match(rest)
        if match is not None:
            rest, taken = rest[match.end() :], True
    stamped = len(rest) < len(text.lstrip())
    return (rest if stamped else text.strip()), time, stamped


def joined(lines: Iterable[Line], spans: Callable[[str, int, int], bool]) -> Iterator[Line]:
    """Yield the lines, wrapped messages made one.

    ``spans(text, first, last)`` says whether one message of the catalogue begins before ``first`` and ends
    behind ``last``, where lines would be joined. A line with a stamp of its own begins anew.
    """
    held: list[Line] = []
    for line in lines:
        held.append(line)
        while len(held) > _WRAPPED:
            yield _first(held, spans)
    while held:
        yield _first(held, spans)


def _first(held: list[Line], spans: Callable[[str, int, int], bool]) -> Line:
    """Take the first line off, with those that go on with it."""
    line = held.pop(0)
    texts, joints = [line.text], [len(line.text)]
    for count, follower in enumerate(held, 1):
        # A number left out is an empty line.
        if follower.stamped or follower.number != line.number + count or follower.file != line.file:
            break
        glue = "" if _HYPHEN.search(texts[-1]) else " "
        texts.append(f"{texts[-1]}{glue}{follower.text}")
        joints.append(len(texts[-1]))
    for count in range(len(texts) - 1, 0, -1):
        if spans(texts[count], joints[0], joints[count - 1]):
            del held[:count]
            return replace(line, text=texts[count])
    return line
