# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A make whose output comes as it likes; tests/kbuild has a real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from kbtf_ci.infra.runner import Command, Process
from kbtf_ci.kernel.accounts import Call
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.measure import MakeOverrides, measure, parse
from kbtf_ci.kernel.source import Source

OUTPUT = b"  LD [M]  fs/a.ko\n  BTF [M] fs/a.ko\nmake: Leaving directory '/src'\n"


class Make:
    """A Runner whose one command prints OUTPUT, divided before each of ``ends``, and keeps its account."""

    contained = True

    def __init__(self, *ends: int) -> None:
        bounds = (0, *ends, len(OUTPUT))
        self.pieces = [OUTPUT[begin:end] for begin, end in pairwise(bounds)]

    @contextmanager
    def start(self, command: Command) -> Iterator[Process]:
        (accounts,) = (mount.source for mount in command.mounts if mount.target == "/btf-accounts")
        (accounts / "calls").write_text("make\tmake\t1\t1\t1\t1\n")
        yield self

    def read(self, timeout: float | None = None) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def wait(self, timeout: float | None = None) -> int:
        return 0

    def port(self, number: int) -> int:
        raise NotImplementedError

    def kill(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ([], ["make: Leaving directory '/src'"]),
        ([18], ["LD [M] fs/a.ko", "make: Leaving directory '/src'"]),
        ([5, 30], ["LD [M] fs/a.ko", "make: Leaving directory '/src'"]),
        ([2, 18, 30, 40], ["LD [M] fs/a.ko", "BTF [M] fs/a.ko", "make: Leaving directory '/src'"]),
    ],
)
def test_the_newest_line_is_a_whole_one_wherever_the_output_is_divided(
    tmp_path: Path, ends: list[int], told: list[str]
) -> None:
    source = Source(tmp_path, "6.12.3", "here", "key")
    kbuild = Kbuild(Make(*ends), source, tmp_path, Path("/ccache"), 1, "no image")
    lines: list[str] = []
    ran = measure(kbuild, MakeOverrides(), lines.append)
    assert lines == told
    assert ran.written == {"fs/a.ko"}


def test_what_a_server_spends_is_part_of_what_make_costs() -> None:
    calls = (
        Call("server", "/vmlinux", 1.0, 0.5, 2.0, 300),
        Call("serve", "a.ko", 4.0, 2.0, 9.0, 200),
        Call("off", "a.ko", 0.25, 0.0, 9.0, 100, "served"),
        Call("off", "b.ko", 8.0, 0.0, 9.0, 100, "fallback"),
        Call("make", "make", 16.0, 1.0, 30.0, 100),
    )
    usage = parse("", calls).usage
    assert (usage.user_s, usage.system_s, usage.peak_kib) == (21.0, 3.5, 300)
    assert (usage.modules_cpu_s, usage.base_cpu_s) == (15.75, 0.0)
    assert (usage.served, usage.fallbacks, usage.misses) == (1, 1, 0)
