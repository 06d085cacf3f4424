# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The workshop that cases are built in, over a real make and a kernel tree in miniature."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.btf.cases.case import NotThereError
from kbtf_ci.btf.cases.workshop import Vmlinux
from kbtf_ci.host.runner import HostRunner
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.workflow.workshop import Shop
from tests.support import faketree
from tests.support.local import LocalRunner

SOURCES = {"m.c": b"int m;\n", "Kbuild": b"obj-m := m.o\n"}


@pytest.fixture
def build(tmp_path: Path) -> Kbuild:
    made = faketree.kbuild(tmp_path)
    (made.build_dir / "vmlinux").write_text("vmlinux\n")
    (made.build_dir / "modules.order").write_text("fs/alpha.o\n")
    return made


def shop(folder: Path, build: Kbuild | None, lacking: str = "") -> Shop:
    (folder / "scratch").mkdir(exist_ok=True)
    return Shop(build.runner if build else LocalRunner(), folder / "scratch", build, lacking)


def calls(build: Kbuild) -> int:
    assert isinstance(build.runner, LocalRunner)
    return len(build.runner.started)


def test_a_tool_sees_the_files_and_what_is_wanted_comes_back(tmp_path: Path) -> None:
    done = shop(tmp_path, None).tool(("cp", "-v", "a", "b"), {"a": b"\0x"}, ("b", "c"))
    assert (done.status, dict(done.files)) == (0, {"b": b"\0x"})
    assert done.lines == ("'a' -> 'b'",)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_make_is_called_once_for_the_same_module_on_the_same_vmlinux(tmp_path: Path, build: Kbuild) -> None:
    one = shop(tmp_path, build)
    first = one.external(SOURCES, ("m.ko",))
    assert (first.status, dict(first.files)) == (0, {"m.ko": b"int m;\n"})
    assert any("LD [M]  m.ko" in line for line in first.lines)
    assert (one.external(SOURCES, ("m.ko",)), calls(build)) == (first, 1)
    one.external({**SOURCES, "m.c": b"int n;\n"}, ("m.ko",))
    one.external(SOURCES, ("m.ko",), ("PAHOLE=x",))
    assert calls(build) == 3
    os.utime(build.build_dir / "vmlinux", (1, 1))
    assert (one.external(SOURCES, ("m.ko",)), calls(build)) == (first, 4)
    other = replace(build, toolchain="another image")
    assert (shop(tmp_path, other).external(SOURCES, ("m.ko",)), calls(build)) == (first, 5)


def test_what_was_kept_and_cannot_be_read_is_made_again(tmp_path: Path, build: Kbuild) -> None:
    one = shop(tmp_path, build)
    first = one.external(SOURCES, ("m.ko",))
    (kept,) = (build.build_dir / ".kbtf-ci/repro").iterdir()
    for text in ("", "[]", '{"files": {}}'):
        kept.write_text(text)
        assert one.external(SOURCES, ("m.ko",)) == first
    assert calls(build) == 4


def test_a_make_that_fails_is_an_answer_too(tmp_path: Path, build: Kbuild) -> None:
    done = shop(tmp_path, build).external({"Kbuild": b"obj-m := gone.o\n"}, ("gone.ko",))
    assert done.status == 2
    assert not done.files
    assert any("gone.c" in line for line in done.lines)


def test_what_the_build_does_not_have_is_told(tmp_path: Path, build: Kbuild) -> None:
    with pytest.raises(NotThereError, match="its build has no module beta"):
        shop(tmp_path, build).relinked("beta", "int x;")
    with pytest.raises(NotThereError, match="its source has no drivers/net"):
        shop(tmp_path, build).source("drivers/net/dummy.c")
    assert shop(tmp_path, build).source("fs/Kconfig")
    with pytest.raises(NotThereError, match="made from packages"):
        shop(tmp_path, None, "made from packages").external(SOURCES, ())


def test_where_no_file_can_stand_for_another_what_needs_that_does_not_apply(
    tmp_path: Path, build: Kbuild
) -> None:
    host = shop(tmp_path, replace(build, runner=HostRunner()))
    assert host.external(SOURCES, ("m.ko",)).status == 0
    with pytest.raises(NotThereError, match="takes --engine container"):
        host.external(SOURCES, ("m.ko",), vmlinux=Vmlinux.ABSENT)
    with pytest.raises(NotThereError, match="takes --engine container"):
        host.relinked("alpha", "int more;")
