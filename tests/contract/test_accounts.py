# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The programs of the image that keep accounts of what a make starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.infra.runner import Command, Completed, Mount, run
from kbtf_ci.kernel.accounts import Accounts, Call, read_accounts

pytestmark = pytest.mark.engine

_BURN = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"


class Bench:
    """A folder, and commands in it whose accounts are kept."""

    def __init__(self, runner, folder: Path) -> None:
        self.runner = runner
        self.folder = folder
        (folder / "accounts").mkdir()
        self.accounts = Accounts(folder / "accounts", "/bench")

    def sh(self, script: str) -> Completed:
        mounts = (Mount(self.folder, "/bench", writable=True), *self.accounts.mounts)
        argv = self.accounts.launch(("sh", "-c", script))
        return run(self.runner, Command(argv, mounts, self.accounts.environment, workdir="/bench"))

    def calls(self) -> tuple[Call, ...]:
        return read_accounts(self.folder / "accounts")


@pytest.fixture
def bench(engine: Engine, toolchain: Toolchain, tmp_path: Path) -> Bench:
    folder = tmp_path / "work"
    folder.mkdir()
    return Bench(engine.runner(toolchain.image), folder)


def test_what_a_command_and_its_children_cost_is_told_and_its_status_kept(bench):
    assert bench.sh(f"sh -c '{_BURN}'; exit 7").status == 7
    (call,) = bench.calls()
    assert (call.kind, call.subject) == ("make", "sh")
    assert 0.01 < call.cpu_s <= call.wall_s * 1.2
    assert call.peak_kib > 500


def test_a_command_that_is_not_there_fails_as_in_a_shell(bench):
    done = bench.sh("exec nowhere")
    assert done.status == 127


def test_links_are_told_by_what_they_make_and_make_the_same(bench):
    script = """
        echo 'int x;' > a.c; gcc -c -o a.o a.c
        ld -r -T /dev/null a.o -o fs/a.ko && ld.bfd -o vmlinux -r a.o && /usr/bin/ld -r -o plain.ko a.o
        cmp vmlinux plain.ko
    """
    (bench.folder / "fs").mkdir()
    assert bench.sh(script).status == 0
    told = [(call.kind, call.subject, call.of_module) for call in bench.calls()]
    assert told == [("link", "fs/a.ko", True), ("link", "vmlinux", False), ("make", "sh", False)]
    *links, whole = bench.calls()
    assert sum(link.cpu_s for link in links) <= whole.cpu_s


def test_a_link_that_fails_says_so_in_its_own_words(bench):
    done = bench.sh("ld -o vmlinux nowhere.o")
    assert done.status == 1
    assert "ld: cannot find nowhere.o" in done.text


def test_resolve_btfids_is_the_builds_own_one(bench):
    program = bench.folder / "tools/bpf/resolve_btfids/resolve_btfids"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "resolved $*"\nexit 3\n')
    program.chmod(0o755)
    (variable,) = bench.accounts.variables
    done = bench.sh(f"{variable}; $RESOLVE_BTFIDS -b vmlinux fs/a.ko")
    assert (done.status, done.text) == (3, "resolved -b vmlinux fs/a.ko\n")
    call = bench.calls()[0]
    assert (call.kind, call.subject, call.of_module) == ("ids", "fs/a.ko", True)
