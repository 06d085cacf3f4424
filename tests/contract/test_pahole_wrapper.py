# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The wrapper as it is installed for a developer's own make: which server it has where nobody names one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kbtf_ci.infra.paths import shipped
from kbtf_ci.infra.runner import Command, Mount, Runner, run
from tests.support.programs import Bench

pytestmark = pytest.mark.engine

_MAKE = """
make -f /containers/Makefile pahole O=/bench LIBRARIES=/bench SERVES=y
printf 'struct base { int a; } base;' > base.c && gcc -g -c -o base.o base.c
printf 'struct own { int b; } own;' > m.c && gcc -g -c -o m.ko m.c
LLVM_OBJCOPY=objcopy pahole -J base.o
"""
_CALL = "rm -f calls; /bench/kbtf-ci-pahole -J --btf_base base.o m.ko && cut -f 1 calls | tail -n 1"


@pytest.fixture(scope="module")
def installed(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    mounts = (Mount(folder, "/bench", writable=True), Mount(shipped("containers"), "/containers"))
    done = run(runner, Command(("sh", "-ec", _MAKE), mounts, workdir="/bench"))
    assert done.status == 0, done.text
    return folder


@pytest.fixture
def bench(runner: Runner, installed: Path) -> Bench:
    env = {
        "LLVM_OBJCOPY": "objcopy", "KBTF_CI_ACCOUNTS": "/bench/calls", "KBTF_CI_BTF_SERVER_IDLE": "1",
        "HOME": "/nonexistent",
    }  # fmt: skip
    return Bench(runner, installed, env=env)


def test_it_has_a_folder_of_the_users_own(bench: Bench) -> None:
    here = "export HOME=/bench/home; mkdir -p /bench/home /bench/run; "
    assert bench.sh(here + _CALL).text == "off+served\n"
    assert len(list((bench.folder / "home/.cache/kbtf-ci/btf-server").glob("*.lock"))) == 1
    assert bench.sh(here + _CALL, XDG_RUNTIME_DIR="/bench/run").text == "off+served\n"
    assert len(list((bench.folder / "run/kbtf-ci").glob("*.lock"))) == 1
    named = bench.sh(here + _CALL, XDG_RUNTIME_DIR="/bench/run", KBTF_CI_BTF_SERVER="/tmp/named")
    assert named.text == "off+served\n"
    assert [path.stat().st_mode & 0o777 for path in (bench.folder / "run").iterdir()] == [0o700]


def test_without_any_pahole_does_it_and_that_is_said(bench: Bench) -> None:
    done = bench.sh(_CALL, XDG_RUNTIME_DIR="run")
    *words, kind = done.text.splitlines()
    assert kind == "off+fallback"
    why = "the folder for its socket is not this user's alone"
    assert words == [f"kbtf-ci-pahole: m.ko: written by pahole itself, not by a server: {why}"]
    assert done.status == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="of another user's folder only root can make one")
def test_another_users_folder_is_not_used(bench: Bench) -> None:
    theirs = bench.folder / "theirs"
    theirs.mkdir(mode=0o777)
    os.chown(theirs, 4711, 4711)
    (bench.folder / "home").mkdir(exist_ok=True)
    assert bench.sh(_CALL, XDG_RUNTIME_DIR="/bench/theirs", HOME="/bench/home").text == "off+served\n"
    assert list(theirs.iterdir()) == []


def test_an_empty_variable_switches_it_off(bench: Bench) -> None:
    assert bench.sh(_CALL, KBTF_CI_BTF_SERVER="").text == "off\n"


@pytest.mark.parametrize("words", ["--version", "-J base.o", "-C base base.o"])
def test_all_else_is_paholes_own(bench: Bench, words: str) -> None:
    own, wrapped = (bench.sh(f"{program} {words}") for program in ("pahole", "/bench/kbtf-ci-pahole"))
    assert (own.status, own.text) == (wrapped.status, wrapped.text)
    assert bench.sh(f"PATH=/bench:$PATH /bench/kbtf-ci-pahole {words}").text == own.text


def test_its_folder_does_not_grow_and_holds_what_others_keep_there(bench: Bench) -> None:
    folder = bench.folder / "kept"
    folder.mkdir()
    name = "0123456789abcdef-1-2"
    # Of a lock's name and size, but another name, size, kind or age.
    kept = {f"{name}.lock.txt", "notes.lock", "0123456789abcde-1-2.lock", f"{name}3.lock", name}
    for file in (f"{name}.lock", *kept):
        (folder / file).touch()
    (folder / f"{name}3.lock").write_text("mine")
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    (folder / "fedcba9876543210-1-2.lock").touch()
    assert bench.sh(_CALL, KBTF_CI_BTF_SERVER="/bench/kept").text == "off+served\n"
    left = {path.name for path in folder.iterdir()}
    assert left >= kept | {"fedcba9876543210-1-2.lock"}
    assert f"{name}.lock" not in left
