# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A workshop whose tools are functions: what they were given is kept, what they make is handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kbtf_ci.btf.cases.case import NotThereError
from kbtf_ci.btf.cases.workshop import Output, Vmlinux


@dataclass(frozen=True)
class Call:
    """What make M= was given."""

    files: Mapping[str, bytes]
    variables: tuple[str, ...]
    vmlinux: Vmlinux | bytes


def refuses(*_: object) -> Output:
    """Say that there is nothing here to do it with."""
    raise NotThereError("no build at hand")


@dataclass
class PlayedShop:
    """``tools`` is given argv and files, ``make`` a Call, ``relink`` the module and what is added."""

    tools: Callable[[Sequence[str], Mapping[str, bytes]], Output] = refuses
    make: Callable[[Call], Output] = refuses
    relink: Callable[[str, str], Output] = refuses
    btf: Mapping[tuple[str, ...], bytes] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def tool(self, argv: Sequence[str], files: Mapping[str, bytes], wanted: Sequence[str]) -> Output:
        """See kbtf_ci.btf.cases.workshop.Workshop, as of the others."""
        done = self.tools(argv, files)
        left = {name: done.files[name] for name in wanted if name in done.files}
        return Output(done.status, done.lines, left)

    def external(
        self,
        files: Mapping[str, bytes],
        wanted: Sequence[str],
        variables: Sequence[str] = (),
        vmlinux: Vmlinux | bytes = Vmlinux.WHOLE,
    ) -> Output:
        """See there."""
        self.calls.append(Call(files, tuple(variables), vmlinux))
        return self.make(self.calls[-1])

    def relinked(self, module: str, addition: str) -> Output:
        """See there."""
        return self.relink(module, addition)

    def encoded(self, *flags: str) -> bytes:
        """See there."""
        return self.btf[flags]

    def source(self, path: str) -> bytes:
        """See there."""
        return f"// {path}\n".encode()
