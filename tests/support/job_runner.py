# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the runner of GitHub Actions does with the lines that a step prints, as far as commands go.

Read in actions/runner: ActionCommand.TryParseV2 and TryParse, ActionCommandManager.TryProcessCommand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_COMMANDS = {
    "internal-set-repo-path", "set-env", "set-output", "save-state", "add-mask", "add-path", "add-matcher",
    "remove-matcher", "debug", "warning", "error", "notice", "group", "endgroup", "echo", "stop-commands",
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    name: str
    properties: dict[str, str]
    data: str


@dataclass
class JobRunner:
    """Takes lines as they come; ``acted`` are the commands that it carried out, ``shown`` all else."""

    acted: list[Command] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    token: str = ""

    def take(self, lines: Iterable[str]) -> JobRunner:
        for line in lines:
            self._take(line)
        return self

    @property
    def is_stopped(self) -> bool:
        return bool(self.token)

    def _take(self, line: str) -> None:
        known = _COMMANDS | {self.token.lower()}
        found = _command(line, known) or _old_command(line, known)
        if found is None:
            self.shown.append(line)
        elif self.token:
            if found.name.lower() == self.token.lower():
                self.token = ""
            else:
                self.shown.append(line)
        elif found.name.lower() == "stop-commands":
            self.token = found.data
        else:
            self.acted.append(found)


def _command(line: str, known: Iterable[str]) -> Command | None:
    """Return the command of a line that begins with two colons, whatever space is before them."""
    match = re.match(r"::(.*?)::(.*)", line.lstrip(), re.DOTALL)
    if match is None:
        return None
    name, _, given = match[1].partition(" ")
    if name.lower() not in known:
        return None
    pairs = [one.split("=", 1) for one in given.strip().split(",") if one]
    properties = {
        pair[0]: _unescaped(pair[1], ":", ",") for pair in pairs if len(pair) == 2 and pair[0] and pair[1]
    }
    return Command(name, properties, _unescaped(match[2]))


def _old_command(line: str, known: Iterable[str]) -> Command | None:
    """Return the command that stands in brackets behind two hashes, anywhere in a line."""
    match = re.search(r"##\[([^\]]*)\](.*)", line, re.DOTALL)
    if match is None or match[1].partition(" ")[0].lower() not in known:
        return None
    return Command(match[1].partition(" ")[0], {}, _unescaped(match[2], ";", "]"))


def _unescaped(text: str, *more: str) -> str:
    for character in ("\r", "\n", *more, "%"):
        text = text.replace(f"%{ord(character):02X}", character)
    return text
