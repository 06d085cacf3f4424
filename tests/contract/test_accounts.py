# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The programs of the image that keep accounts of what a make starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.infra.runner import Completed, Runner
from kbtf_ci.kernel.accounts import Accounts, Call, read_accounts
from tests.support import programs as support
from tests.support.programs import SHIPPED, Programs

pytestmark = pytest.mark.engine

_BURN = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
_SHIMS = "/usr/lib/kbtf-ci/accounted"


class Bench(support.Bench):
    """A folder, and commands in it whose accounts are kept."""

    def __init__(self, runner: Runner, folder: Path, programs: Programs) -> None:
        (folder / "accounts").mkdir(parents=True)
        self.accounts = Accounts(folder / "accounts", "/bench")
        super().__init__(runner, folder, programs, self.accounts.mounts, self.accounts.environment)

    def make(self, script: str, **env: str) -> Completed:
        """Run a script as a make is run."""
        return self.run(*self.accounts.launch(("sh", "-c", script)), **env)

    def calls(self) -> tuple[Call, ...]:
        return read_accounts(self.folder / "accounts")

    def told(self) -> list[tuple[str, str]]:
        return [(call.kind, call.subject) for call in self.calls()]


@pytest.fixture
def bench(runner: Runner, tmp_path: Path, programs: Programs) -> Bench:
    return Bench(runner, tmp_path / "work", programs)


@SHIPPED
def test_what_a_command_and_its_children_cost_is_told_and_its_status_kept(bench: Bench) -> None:
    assert bench.make(f"sh -c '{_BURN}'; exit 7").status == 7
    (call,) = bench.calls()
    assert (call.kind, call.subject) == ("make", "sh")
    assert 0.01 < call.cpu_s <= call.wall_s * 1.2
    assert call.peak_kib > 500


def test_a_command_that_is_not_there_fails_as_in_a_shell(bench: Bench) -> None:
    done = bench.make("exec nowhere")
    assert done.status == 127


@SHIPPED
def test_links_are_told_by_what_they_make_and_make_the_same(bench: Bench) -> None:
    script = """
        echo 'int x;' > a.c; gcc -c -o a.o a.c
        ld -r -T /dev/null a.o -o fs/a.ko && ld.bfd -o vmlinux -r a.o && /usr/bin/ld -r -o plain.ko a.o
        cmp vmlinux plain.ko
    """
    (bench.folder / "fs").mkdir()
    assert bench.make(script).status == 0
    told = [(call.kind, call.subject, call.of_module) for call in bench.calls()]
    assert told == [("link", "fs/a.ko", True), ("link", "vmlinux", False), ("make", "sh", False)]
    *links, whole = bench.calls()
    assert sum(link.cpu_s for link in links) <= whole.cpu_s


def test_a_link_that_fails_says_so_in_its_own_words(bench: Bench) -> None:
    done = bench.make("ld -o vmlinux nowhere.o")
    assert done.status == 1
    assert "ld: cannot find nowhere.o" in done.text


@SHIPPED
def test_resolve_btfids_is_the_builds_own_one(bench: Bench) -> None:
    program = bench.folder / "tools/bpf/resolve_btfids/resolve_btfids"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "resolved $*"\nexit 3\n')
    program.chmod(0o755)
    (variable,) = bench.accounts.variables
    done = bench.make(f"{variable}; $RESOLVE_BTFIDS -b vmlinux fs/a.ko")
    assert (done.status, done.text) == (3, "resolved -b vmlinux fs/a.ko\n")
    call = bench.calls()[0]
    assert (call.kind, call.subject, call.of_module) == ("ids", "fs/a.ko", True)


@pytest.mark.parametrize(
    ("before", "shim"),
    [("", "ld"), ("", "ld.bfd"), ("", "resolve_btfids"), ("", "./ld"), ("", f"{_SHIMS}/ld"),
     ("export KBTF_CI_RESOLVE_BTFIDS={shims}/resolve_btfids;", "resolve_btfids"),
     ("export KBTF_CI_RESOLVE_BTFIDS=./ld;", "resolve_btfids")],
)  # fmt: skip
def test_a_shim_that_finds_none_but_itself_says_so_and_starts_nothing(
    bench: Bench, before: str, shim: str
) -> None:
    """It was started again and again: each of its processes forked the next."""
    script = (
        f"ln -s {_SHIMS} again; ln -s {_SHIMS}/ld; {before.format(shims=_SHIMS)} "
        f"exec /usr/bin/timeout -s KILL 60 /usr/bin/env PATH=/nowhere:/bench/again:{_SHIMS} {shim} -o vmlinux"
    )
    done = bench.sh(script, KBTF_CI_RESOLVE_BTFIDS="")
    assert done.status == 127
    assert done.text.count("\n") == 1
    assert "there is none besides kbtf-ci's own" in done.text


@pytest.mark.parametrize(
    "path", ["/nowhere:{shims}:/usr/bin", "{shims}:/usr/bin", "/bench/s:{shims}:/usr/bin:"]
)
def test_a_shim_finds_the_linker_wherever_in_path_it_is_itself(bench: Bench, path: str) -> None:
    script = """
        ln -s $SHIMS s; echo 'int x;' > a.c; /usr/bin/gcc -c -o a.o a.c
        exec /usr/bin/timeout -s KILL 60 /usr/bin/env PATH=$SEARCH ld -r -o a.ko a.o
    """
    done = bench.sh(script, SHIMS=_SHIMS, SEARCH=path.format(shims=_SHIMS))
    assert (done.status, done.text) == (0, "")
    assert bench.told() == [("link", "a.ko")]
    assert (bench.folder / "a.ko").read_bytes()[:4] == b"\x7fELF"


def test_a_status_is_kept_where_children_are_not_waited_for(bench: Bench) -> None:
    """Whoever ignores SIGCHLD hands that on, and then waitpid(2) has no status to give."""
    done = bench.sh(f"PATH={_SHIMS}:$PATH; exec env --ignore-signal=CHLD ld -o vmlinux nowhere.o")
    assert done.status == 1


@pytest.mark.parametrize(
    ("name", "told"), [("a\tb\n.ko", "a?b?.ko"), ("\u2028\x85\x0b.ko", "\u2028\x85?.ko"), ("x" * 5000, None)]
)
def test_the_name_of_a_file_does_not_spoil_the_accounts(bench: Bench, name: str, told: str | None) -> None:
    bench.make(f"ld -r -o '{name}' nowhere.o")
    assert bench.told() == [*([("link", told)] if told else []), ("make", "sh")]
