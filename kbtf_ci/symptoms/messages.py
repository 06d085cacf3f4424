# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Messages: what one is, and how it is found in a line. What there are lies in ``catalogue``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final


class Sort(StrEnum):
    """What a message is to a diagnosis."""

    HEAD = "head"  # which type a check is about, and its details
    CHECK = "check"  # the words of one of the kernel's checks of BTF
    SYSCALL = "syscall"  # of checks that BPF_BTF_LOAD alone makes, never a module's load
    PROGRAM = "program"  # of a BPF program's verifier
    REFUSED = "refused"  # the kernel refuses a module's BTF
    DROPPED = "dropped"  # the same where CONFIG_MODULE_ALLOW_BTF_MISMATCH is set
    RELOCATION = "relocation"  # .BTF.base
    REGISTRATION = "registration"  # kfuncs, destructors, struct_ops
    SYSFS = "sysfs"
    LAYOUT = "layout"  # struct module
    LOADER = "loader"  # the module loader refuses, and not for BTF
    NOTE = "note"  # says nothing of a failure
    BUILD = "build"  # a build, at its BTF steps
    READER = "reader"  # what user space says of BTF
    TOOL = "tool"  # user space says that a load failed, not why
    EFFECT = "effect"  # follows from modules that did not load
    TROUBLE = "trouble"  # trouble of another kind
    CONTEXT = "context"  # where and how this happened


@dataclass(frozen=True)
class Message:
    """One message: ``words`` is a format string of printf's or, with ``pattern``, a regular expression.

    ``args`` name the conversions that are wanted. ``checks`` are the rules of kbtf_ci.btf.rules it stands
    for. ``since`` and ``until`` are the first and last kernel that says it, where that is not all from 5.11
    to 7.3.
    """

    id: str
    words: str
    sort: Sort
    said_by: str
    args: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    meaning: str = ""
    since: str = ""
    until: str = ""
    pattern: bool = False
    anchors: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The expression that finds it in a line."""
        return re.compile(self.words if self.pattern else expression(self.words, self.args))

    @cached_property
    def sure_words(self) -> tuple[str, ...]:
        """Words of which one is in every line that it is in: a cheap look before the dear one."""
        if self.anchors or self.pattern:
            return self.anchors
        literals = " ".join(_CONVERSION.split(self.words.replace("\\t", " ").replace("\\n", " ")))
        return (max(literals.split(), key=len),)


@dataclass(frozen=True)
class Found:
    """A message in a line, with the values of its named conversions, and where it begins."""

    message: Message
    values: Mapping[str, str]
    start: int = 0
    end: int = 0

    def value(self, name: str) -> str:
        """Return what stands for a conversion, "" where there is none of that name."""
        return self.values.get(name) or ""


_CONVERSION: Final = re.compile(r"%[-0-9*.]*(?:l|ll|z|h)?([a-zA-Z])(?:hN|x)?")
_NUMBERS: Final = {
    "d": r"-?\d+",
    "u": r"\d+",
    "i": r"-?\d+",
    "x": r"[0-9a-fA-F]+",
    "X": r"[0-9a-fA-F]+",
    "p": r"[0-9a-fA-Fx]+",
}


def expression(words: str, args: tuple[str, ...] = ()) -> str:
    """Return the regular expression of a format string of printf's; blanks match blanks of any number."""
    text = words.replace("\\t", "\t").replace("\\n", "\n").strip("\n\t ")
    parts = []
    end = 0
    names = iter(args)
    for match in _CONVERSION.finditer(text):
        parts.append(_literal(text[end : match.start()]))
        parts.append(_value(match, text, next(names, "")))
        end = match.end()
    parts.append(_literal(text[end:]))
    return "".join(parts)


def _literal(text: str) -> str:
    return re.sub(r"(?:\\?[ \t\n])+", r"\\s+", re.escape(text))


def _value(match: re.Match[str], text: str, name: str) -> str:
    before, after = text[: match.start()][-1:], text[match.end() :][:1]
    if match[1] != "s":
        inner = _NUMBERS.get(match[1], r"\S+")
    elif before in ("'", "`") or before == "[":
        inner = r"[^'\]]*"
    elif not before:
        inner = r"[\w.()-]+"
    else:
        inner = r".*?" if after else r".*"
    return f"(?P<{name}>{inner})" if name else f"(?:{inner})"


class Catalogue:
    """Messages, found in lines; the particular ones come before the general."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self.messages = tuple(messages)
        self._by_word: dict[str, list[int]] = {}
        for order, message in enumerate(self.messages):
            for word in message.sure_words:
                self._by_word.setdefault(word, []).append(order)
        self._words = tuple(self._by_word)

    def find(self, text: str) -> Found | None:
        """Return the first message that stands somewhere in the text."""
        return next(self.find_all(text), None)

    def find_all(self, text: str) -> Iterator[Found]:
        """Yield every message that stands somewhere in the text, once each, in the catalogue's order."""
        words = [word for word in self._words if word in text]
        if not words:
            return
        for order in sorted({order for word in words for order in self._by_word[word]}):
            match = self.messages[order].regex.search(text)
            if match is not None:
                yield Found(self.messages[order], match.groupdict(), match.start(), match.end())

    def whole(self, text: str) -> Found | None:
        """Return the first message that the text is, blanks at both ends set aside."""
        text = text.strip()
        for message in self.messages:
            match = message.regex.fullmatch(text)
            if match is not None:
                return Found(message, match.groupdict(), 0, len(text))
        return None
