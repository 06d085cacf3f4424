# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the tree's Kconfig files say of a symbol: that it exists, what it depends on, and where it went.

Kbuild itself decides every value; this reads the same files only to explain a decision, so it knows the
few statements of Documentation/kbuild/kconfig-language.rst that carry dependencies and renamings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TOKEN = re.compile(r"\s*(&&|\|\||!=|<=|>=|[!=<>()]|\"[^\"]*\"|'[^']*'|\$\([^)]*\)|[\w./-]+)")
_TRISTATE = {"n": 0, "m": 1, "y": 2}


@dataclass(frozen=True)
class Definition:
    """One ``config`` entry: its place, and the conditions on it, those of enclosing blocks first.

    ``defaults`` are those of its own. One that is ``transitional`` is an old name: it is read from a
    configuration and not written, and the symbol that has it for a default is what it stands for.
    """

    symbol: str
    place: str
    depends: tuple[str, ...]
    defaults: tuple[str, ...] = ()
    transitional: bool = False


def definitions(tree: Path, source_arch: str = "x86") -> dict[str, list[Definition]]:
    """Return every symbol that the Kconfig files of ``tree`` define, other architectures left out."""
    found: dict[str, list[Definition]] = {}
    for path in sorted(_kconfig_files(tree, source_arch)):
        for definition in _read(path, path.relative_to(tree)):
            found.setdefault(definition.symbol, []).append(definition)
    return found


def names_now(symbol: str, known: Mapping[str, Sequence[Definition]]) -> tuple[str, ...]:
    """Return the symbols that a transitional one stands for; itself where it is not one."""
    if not any(one.transitional for one in known.get(symbol, ())):
        return (symbol,)
    return tuple(new for new, entries in known.items() if any(symbol in one.defaults for one in entries))


def _kconfig_files(tree: Path, source_arch: str) -> Iterator[Path]:
    skipped = {str(tree / top) for top in (".git", "Documentation", "LICENSES")}
    for folder, subfolders, files in os.walk(tree):
        if folder == str(tree / "arch"):
            subfolders[:] = [source_arch]
        subfolders[:] = [name for name in subfolders if os.path.join(folder, name) not in skipped]  # noqa: PTH118
        yield from (Path(folder, name) for name in files if name.startswith("Kconfig"))


_STATEMENTS = frozenset(
    ["config", "menuconfig", "if", "endif", "menu", "endmenu", "choice", "endchoice", "comment", "source"]
)
# Of an entry, with what Definition has of them.
_ATTRIBUTES = frozenset(["depends", "default", "transitional"])


@dataclass
class _Entry:
    """A symbol's, or a block's, which has no symbol."""

    symbol: str
    number: int
    depends: list[str] = field(default_factory=list)
    defaults: list[str] = field(default_factory=list)
    transitional: bool = False

    def add(self, word: str, rest: str) -> None:
        """Take in a statement of the entry."""
        if word == "depends":
            self.depends.append(rest.removeprefix("on "))
        elif word == "default":
            self.defaults.append(rest)
        else:
            self.transitional = True


def _read(path: Path, shown: Path) -> Iterator[Definition]:
    blocks = [_Entry("", 0)]  # the file, and each open if, menu and choice
    entry: _Entry | None = None
    for number, word, rest in _statements(path.read_text(errors="replace").replace("\\\n", " ")):
        if word in _ATTRIBUTES:
            (entry or blocks[-1]).add(word, rest)
            continue
        if entry:
            yield _definition(entry, blocks, shown)
        entry = _Entry(rest, number) if word in ("config", "menuconfig") else None
        if word in ("if", "menu", "choice"):
            blocks.append(_Entry("", number, [rest] if word == "if" else []))
        elif word in ("endif", "endmenu", "endchoice") and blocks[1:]:
            blocks.pop()
    if entry:
        yield _definition(entry, blocks, shown)


def _statements(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, keyword, rest) of block statements and attributes, help texts passed over."""
    help_indent: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        indent = len(line.expandtabs()) - len(line.expandtabs().lstrip())
        if help_indent is not None and stripped and indent <= help_indent:
            help_indent = None
        word, rest = (*stripped.split(maxsplit=1), "", "")[:2]
        if help_indent is None and word in ("help", "---help---"):
            help_indent = indent
        elif help_indent is None and (word in _STATEMENTS or _is_attribute(word, rest)):
            yield number, word, " ".join(rest.split("#")[0].split())


def _is_attribute(word: str, rest: str) -> bool:
    return word in _ATTRIBUTES and (word != "depends" or rest.startswith("on "))


def _definition(entry: _Entry, blocks: Sequence[_Entry], shown: Path) -> Definition:
    outer = [condition for block in blocks for condition in block.depends]
    return Definition(
        entry.symbol,
        f"{shown}:{entry.number}",
        (*outer, *entry.depends),
        tuple(entry.defaults),
        entry.transitional,
    )


def unmet(definition: Definition, values: Mapping[str, str]) -> list[str]:
    """Return the conditions of ``definition`` that the final ``values`` do not meet, with what is to blame.

    ``values`` maps symbol (no ``CONFIG_``) to its text in ``.config``; absent means n.
    """
    reasons = []
    for condition in definition.depends:
        if _Expression(condition, values).value() < _TRISTATE["y"]:
            names = dict.fromkeys(re.findall(r"\b[A-Z][A-Z0-9_]*\b", condition))
            state = ", ".join(
                f"{name}={values[name]}" if name in values else f"{name} is not set" for name in names
            )
            reasons.append(f"depends on {condition} ({state})")
    return reasons


class _Expression:
    """Evaluates one dependency expression to n, m or y (0, 1, 2); what it cannot read counts as y."""

    def __init__(self, text: str, values: Mapping[str, str]) -> None:
        self._tokens = _TOKEN.findall(text)
        self._values = values

    def value(self) -> int:
        try:
            return self._either()
        except IndexError:
            return _TRISTATE["y"]

    def _next(self, *wanted: str) -> bool:
        if self._tokens and self._tokens[0] in wanted:
            self._tokens.pop(0)
            return True
        return False

    def _either(self) -> int:
        result = self._both()
        while self._next("||"):
            result = max(result, self._both())
        return result

    def _both(self) -> int:
        result = self._one()
        while self._next("&&"):
            result = min(result, self._one())
        return result

    def _one(self) -> int:
        if self._next("!"):
            return 2 - self._one()
        if self._next("("):
            result = self._either()
            self._next(")")
            return result
        left = self._tokens.pop(0)
        for sign in ("!=", "<=", ">=", "=", "<", ">"):
            if self._next(sign):
                return 2 if self._compare(sign, left, self._tokens.pop(0)) else 0
        if left.startswith("$"):
            return _TRISTATE["y"]  # a macro: only kbuild can expand it
        return _TRISTATE.get(self._text(left), 0)

    def _text(self, word: str) -> str:
        if word[0] in "\"'":
            return word[1:-1]
        if word in _TRISTATE or word[0].isdigit():
            return word
        return self._values.get(word, "n").strip('"')

    def _compare(self, sign: str, left: str, right: str) -> bool:
        a, b = self._text(left), self._text(right)
        if sign in ("=", "!="):
            return (a == b) is (sign == "=")
        try:
            difference = int(a, 0) - int(b, 0)
        except ValueError:
            return False
        return {"<": difference < 0, ">": difference > 0, "<=": difference <= 0, ">=": difference >= 0}[sign]
