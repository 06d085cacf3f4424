# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Lines -> what they show, in context: which BTF a group of ``BPF:`` lines is about, and what else was said.

The kernel names no module in its ``BPF:`` lines. Those of a module come right before ``failed to
validate``; those of vmlinux come once a boot, at its first use, and no module has any of its own from then
on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from kbtf_ci.model.symptom import Line
from kbtf_ci.symptoms.catalogue import around, btf, build, context, loader
from kbtf_ci.symptoms.messages import Catalogue, Found, Sort

RECORDS: Final = Catalogue(btf.RECORDS)
# What a diagnosis is made of: what says nothing of a failure, or is a BPF program's, is passed over.
_LATE: Final = (Sort.PROGRAM, Sort.NOTE)
_WATCHED: Final = Catalogue(
    (
        *(
            message
            for message in (*btf.MESSAGES, *loader.MESSAGES, *build.MESSAGES, *around.MESSAGES)
            if message.sort not in _LATE
        ),
        *(message for message in build.MESSAGES if message.id in build.WHERE),
    )
)
# The long messages that a diagnosis stands or falls with: looked for across the ends of lines as well.
_LONG_SORTS: Final = (Sort.REFUSED, Sort.DROPPED, Sort.SYSFS, Sort.RELOCATION, Sort.LAYOUT)
_LONG: Final = (
    "btf.no_module_btf", "btf.no_vmlinux_btf", "build.skipped", "ids.unresolved", "ids.load",
    "loader.vermagic", "tool.invalid", "tool.format", "reader.split_without_base", "reader.prototype",
    "pahole.base_btf", loader.OUT_OF_TREE, loader.UNSIGNED,
)  # fmt: skip
_WRAPPABLE: Final = Catalogue(
    message for message in _WATCHED.messages if message.sort in _LONG_SORTS or message.id in _LONG
)
# A person speaks of everything; of a log's lines only some tell where it comes from.
_CONTEXT: Final = Catalogue(context.CONTEXT)
_OF_LOGS: Final = (
    "context.kernel",
    "context.root_mounted",
    "context.in_initramfs",
    "context.loading",
    "context.initramfs",
    "context.kernel_line",
)
_LOG_CONTEXT: Final = Catalogue(message for message in context.CONTEXT if message.id in _OF_LOGS)

_RECORD = re.compile(r"(?<![\w.-])BPF:[ \t]?")
_TROUBLE_WORDS = re.compile(r"fail|error|cannot|unable|invalid", re.IGNORECASE)
# printk writes a module's records within microseconds; a slow console takes its time.
_NEAR_SECONDS: Final = 0.3
_NEAR_LINES: Final = 4
# So much is kept of what a log says again and again.
_KEPT_LINES: Final = 8
_KEPT_REFUSALS: Final = 400
_KEPT_GROUPS: Final = 64

VMLINUX: Final = "vmlinux"


@dataclass
class Group:
    """The records of one check that failed: of which type or member, and its words."""

    lines: list[Line] = field(default_factory=list)
    type_id: int | None = None
    kind: str = ""
    name: str | None = None
    is_member: bool = False
    is_variable: bool = False
    words: str = ""
    checks: tuple[str, ...] = ()
    sort: Sort = Sort.HEAD
    in_prose: bool = False

    @property
    def complete(self) -> bool:
        """Whether the text has the words of a check."""
        return bool(self.words)

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules of kbtf_ci.btf.rules that it can have been."""
        return btf.rules_of(self.checks, self.kind, member=self.is_member, variable=self.is_variable)

    def same_as(self, other: Group) -> bool:
        """Whether both tell of one check of one type: records that are quoted twice do."""
        mine = (self.words, self.type_id, self.kind, self.name)
        return mine == (other.words, other.type_id, other.kind, other.name)

    def add(self, line: Line, found: Found | None) -> None:
        """Take one more record."""
        if not self.lines or self.lines[-1] is not line:
            self.lines.append(line)
        if found is None:
            return
        message = found.message
        if message is btf.TYPE:
            self.type_id, self.kind = int(found.value("id")), found.value("kind")
            self.name = found.value("name").strip()
        elif message is btf.MEMBER:
            self.is_member, self.name = True, found.value("name").strip()
        elif message is btf.VARIABLE:
            self.is_variable = True
        elif message.sort in (Sort.CHECK, Sort.SYSCALL):
            self.words, self.checks, self.sort = message.words, message.checks, message.sort
            self.type_id = int(found.value("id")) if found.value("id") else self.type_id


@dataclass
class Refused:
    """A module that the kernel names as refused, with the records that are its own."""

    module: str
    errno: int
    line: Line
    group: Group | None = None
    relocation: list[tuple[Line, Found]] = field(default_factory=list)
    times: int = 1
    loaded: bool = False

    @property
    def lines(self) -> tuple[Line, ...]:
        """All of its lines, in their order."""
        own = [line for line, _ in self.relocation] + (self.group.lines if self.group else [])
        return (*own, self.line)


@dataclass
class Seen:
    """A message that is in the text: how often, and its first lines."""

    times: int = 0
    lines: list[Line] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)

    def add(self, line: Line, found: Found) -> None:
        """Count it, and keep it while it is one of the first."""
        self.times += 1
        if len(self.lines) < _KEPT_LINES:
            self.lines.append(line)
            self.found.append(found)


@dataclass
class Boot:
    """What one boot, or a text that knows none, shows of BTF that was refused."""

    number: int
    refused: list[Refused] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    vmlinux: Group | None = None
    vmlinux_sure: bool = False
    registrations: list[Line] = field(default_factory=list)

    @property
    def bare(self) -> list[Refused]:
        """Modules that were refused without records of their own."""
        return [one for one in self.refused if one.group is None and not one.relocation]


@dataclass
class Evidence:
    """All that a text shows."""

    boots: list[Boot] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)
    context: dict[str, Seen] = field(default_factory=dict)
    out_of_tree: set[str] = field(default_factory=set)
    kernels: list[str] = field(default_factory=list)
    lines: int = 0
    log_lines: int = 0
    first_time: float | None = None

    def has(self, *ids: str) -> bool:
        """Whether one of these messages is in the text."""
        return any(id_ in self.seen or id_ in self.context for id_ in ids)

    def quoted(self, *ids: str) -> tuple[Line, ...]:
        """Return the first lines of these messages."""
        found = [self.seen.get(id_) or self.context.get(id_) for id_ in ids]
        return tuple(line for one in found if one is not None for line in one.lines)

    def of_sort(self, sort: Sort) -> list[tuple[str, Seen]]:
        """Return the messages of a sort that are in the text."""
        return [(id_, one) for id_, one in self.seen.items() if one.found[0].message.sort is sort]

    @property
    def refused(self) -> list[Refused]:
        """All modules that were refused, in all boots."""
        return [one for boot in self.boots for one in boot.refused]

    @property
    def version(self) -> tuple[int, int] | None:
        """The kernel's version, None where the text does not say it."""
        for text in self.kernels:
            match = re.match(r"(\d+)\.(\d+)", text)
            if match is not None:
                return int(match[1]), int(match[2])
        return None


def spans(text: str, first: int, last: int) -> bool:
    """Say whether a long message runs across both places, where lines would be joined.

    One that the first line has already, with all that is wanted of it, does not.
    """
    found = _WRAPPABLE.find(text)
    if found is None or not found.start < first <= last < found.end:
        return False
    alone = found.message.regex.search(text[:first])
    return alone is None or _told(alone.groupdict()) < _told(found.values)


def _told(values: Mapping[str, str]) -> set[str]:
    return {name for name, value in values.items() if value}


def gather(lines: Iterable[Line]) -> Evidence:
    """Return what the lines show; the memory that takes does not grow with their number."""
    gathering = _Gathering()
    for line in lines:
        gathering.take(line)
    return gathering.finish()


class _Gathering:
    def __init__(self) -> None:
        self._evidence = Evidence()
        self._boot = Boot(1)
        self._group: Group | None = None
        self._relocation: list[tuple[Line, Found]] = []
        self._last: Refused | None = None

    def take(self, line: Line) -> None:
        evidence = self._evidence
        evidence.lines += 1
        evidence.log_lines += line.stamped and line.time is not None
        if evidence.first_time is None:
            evidence.first_time = line.time
        if line.boot != self._boot.number:
            self._end_boot(line.boot)
        self._watch(line)
        if "BPF:" in line.text:
            line = self._records(line)
        self._message(line)
        self._take_context(line)

    def finish(self) -> Evidence:
        self._end_boot(self._boot.number + 1)
        return self._evidence

    def _end_boot(self, following: int) -> None:
        _settle(self._boot)
        if self._boot.refused or self._boot.groups or self._boot.vmlinux:
            self._evidence.boots.append(self._boot)
        self._boot = Boot(following)
        self._group, self._last = None, None
        self._relocation = []

    def _records(self, line: Line) -> Line:
        """Take the records of ``BPF:`` in a line, several where its ends were lost, and return the rest."""
        first, *records = _RECORD.split(line.text)
        rest = first
        for record in records:
            inner, found, behind = record.partition("failed to validate")
            self._record(line, inner)
            rest = f"{rest} {found}{behind}" if found else rest
        return replace(line, text=rest)

    def _record(self, line: Line, rest: str) -> None:
        """Take one record."""
        found = RECORDS.whole(rest.partition("`")[0].rstrip("\\| \t"))
        heads = found is not None and found.message in (btf.TYPE, btf.MEMBER, btf.VARIABLE)
        checks = found is not None and found.message.sort in (Sort.CHECK, Sort.SYSCALL)
        group = self._group
        if group is None or (group.complete and (heads or checks)) or (heads and group.name is not None):
            if found is None and not rest.strip():
                return
            group = self._group = Group(
                in_prose=not line.stamped and not line.text.lstrip().startswith("BPF:")
            )
            if len(self._boot.groups) < _KEPT_GROUPS:
                self._boot.groups.append(group)
        group.add(line, found)

    def _message(self, line: Line) -> None:
        for found in _apart(_WATCHED.find_all(line.text)):
            self._found(line, found)

    def _found(self, line: Line, found: Found) -> None:
        sort = found.message.sort
        self._evidence.seen.setdefault(found.message.id, Seen()).add(line, found)
        if sort is Sort.REFUSED:
            self._refuse(line, found)
        elif sort is Sort.RELOCATION:
            self._relocation.append((line, found))
            del self._relocation[:-_KEPT_LINES]
        elif sort is Sort.DROPPED:
            self._drop(line)
        elif found.value("errno") and not self._boot.refused and sort is Sort.REGISTRATION:
            self._boot.registrations.append(line)
            del self._boot.registrations[_KEPT_LINES:]
        if found.message.id == loader.OUT_OF_TREE:
            self._evidence.out_of_tree.add(_same(found.value("module")))

    def _refuse(self, line: Line, found: Found) -> None:
        errno = abs(int(found.value("errno") or found.value("code") or 0))
        group = self._near(line)
        module = found.value("module") or found.value("named")
        self._group = None
        if module in ("%s", "x", "X", "...", "NAME", "module", "<module>", "*"):
            return
        one = Refused(module, errno, line, group, self._relocation)
        self._relocation = []
        same = next((other for other in self._boot.refused if _equal(other, one)), None)
        if same is not None:
            same.times += 1
            if same.group is None and not same.relocation:
                same.group, same.relocation, same.line = group, one.relocation, line
        elif len(self._boot.refused) < _KEPT_REFUSALS:
            self._boot.refused.append(one)
        self._last = same or one

    def _near(self, line: Line) -> Group | None:
        """Take the first group that is near enough to be this module's."""
        for group in self._boot.groups:
            if group.complete and _is_near(group.lines[-1], line):
                self._boot.groups.remove(group)
                return group
        last = self._boot.groups[-1] if self._boot.groups else None
        if last is not None and _is_near(last.lines[-1], line):
            self._boot.groups.remove(last)
            return last
        return None

    def _drop(self, line: Line) -> None:
        """The kernel goes on without some module's BTF, which it does not name."""
        group = self._near(line)
        self._group = None
        if group is not None or self._relocation:
            self._boot.refused.append(Refused("", 0, line, group, self._relocation, loaded=True))
            self._relocation = []

    def _watch(self, line: Line) -> None:
        """Notice that the module which was refused last speaks all the same."""
        last = self._last
        if last is None or not line.stamped or last.loaded or line.file != last.line.file:
            return
        if line.number - last.line.number > _NEAR_LINES:
            self._last = None
        elif _same(re.split(r"[\s:\[]", line.text, maxsplit=1)[0]) == _same(last.module):
            last.loaded = not _TROUBLE_WORDS.search(line.text)

    def _take_context(self, line: Line) -> None:
        for found in (_LOG_CONTEXT if line.stamped else _CONTEXT).find_all(line.text):
            id_ = found.message.id
            self._evidence.context.setdefault(id_, Seen()).add(line, found)
            if id_ in ("context.kernel", "context.uname"):
                version = next((value for value in found.values.values() if value), "").rstrip(".,;)")
                if version and version not in self._evidence.kernels and len(self._evidence.kernels) < 8:
                    self._evidence.kernels.append(version)


def _apart(found: Iterable[Found]) -> list[Found]:
    """Return the messages of a line that do not overlap, those that come first in the catalogue."""
    kept: list[Found] = []
    for one in found:
        if all(one.end <= other.start or one.start >= other.end for other in kept):
            kept.append(one)
    return kept


def _is_near(before: Line, after: Line) -> bool:
    if before.number == after.number and before.file == after.file:
        return True
    if before.time is not None and after.time is not None:
        return 0 <= after.time - before.time <= _NEAR_SECONDS and after.number - before.number <= 40
    return before.file == after.file and 0 < after.number - before.number <= _NEAR_LINES


def _equal(one: Refused, other: Refused) -> bool:
    """Whether both tell of one thing: a line that is quoted again says no more than the first."""
    if one.module != other.module or (one.errno != other.errno and other.errno):
        return False
    mine, its = one.group, other.group
    return (
        mine is None or its is None or (mine.words, mine.kind, mine.name) == (its.words, its.kind, its.name)
    )


def _same(module: str) -> str:
    """Return a module's name as the kernel has it: with underscores, without path and .ko."""
    return re.sub(r"\.ko.*$", "", module.rpartition("/")[2]).replace("-", "_").strip("'\"`")


def _settle(boot: Boot) -> None:
    """Decide whether vmlinux's own BTF was refused in a boot.

    It is looked at once, so that records of several checks are modules', in whatever order a text has them.
    """
    complete = [group for group in boot.groups if group.complete and not group.in_prose]
    own = [one for one in boot.refused if one.group is not None or one.relocation]
    first = complete[0] if complete else None
    if first is not None and not own:
        if all(group.same_as(first) for group in complete):
            boot.vmlinux, boot.vmlinux_sure = first, bool(boot.refused)
            boot.groups.remove(first)
            return
        for one, group in zip(boot.refused, complete, strict=False):
            one.group = group
            boot.groups.remove(group)
    elif not complete and len(boot.refused) > 2 and own == boot.refused[:1] and own[0].group is not None:
        # Until 5.15 vmlinux's was looked at with the first module's, whose line then comes right behind.
        boot.vmlinux, boot.vmlinux_sure = own[0].group, len({one.errno for one in boot.refused}) == 1
        own[0].group = None
    elif boot.registrations and boot.refused and not own:
        # The kernel's own kfuncs are registered from vmlinux's BTF, before any module is there.
        boot.vmlinux = Group(boot.registrations)
