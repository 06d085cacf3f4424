# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The server behind the wrapper, as it is in the image: with its pahole, and with one that obeys tests."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from kbtf_ci.infra.runner import Completed, Runner
from kbtf_ci.kernel.accounts import read_accounts
from kbtf_ci.kernel.btfcache import PROGRAM
from tests.support import programs as support
from tests.support.programs import SHIPPED, Programs

pytestmark = pytest.mark.engine

_MODULES = 12
_CALL = f"{PROGRAM} -J -j --lang_exclude=rust --btf_base vmlinux"
_ENV = {
    "KBTF_CI_PAHOLE": "pahole",
    "KBTF_CI_ACCOUNTS": "/bench/calls",
    "KBTF_CI_BTF_SERVER": "/bench/sockets",
    "LLVM_OBJCOPY": "objcopy",
}
# Types that are the base's, that are nearly so, and of their own; forward declared, anonymous, in each other.
_TYPES = """
struct list { struct list *next, *prev; };
union value { int number; float real; struct { short low, high; } parts; };
enum state { OFF, ON = 7 };
typedef int (*hook)(struct list *, union value, enum state);
struct device { struct list list; union value value; enum state state; hook hooks[4]; struct later *later;
                const volatile char *name; unsigned flag : 3, rest : 29; };
"""
_VMLINUX = _TYPES + "struct later { long when; }; struct device base; struct later later; "
_MODULE = (
    _TYPES
    + """
#ifdef SECOND
#define own%d second%d
#define probe%d remove%d
struct later { long when; };
#else
struct later;
#endif
struct shared%d { struct shared%d *next; struct later *later; struct list list; };
struct shared%d *probe%d(struct list *list);
struct own%d { struct device device; struct own%d *next; int room[%d]; enum { A%d, B%d } kind; };
static int use(struct own%d *own, struct list *list) { return own->kind + (list != 0); }
static struct own%d own; struct shared%d *probe%d(struct list *list) { return (void *)(long)use(&own, list); }
"""
)
# Linked with libbpf as pahole is, and obeys the name of the module.
_OBEDIENT = """
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
struct btf *btf__parse(const char *, void *);
void btf__free(struct btf *);
int main(int argc, char **argv)
{
	const char *module = argv[argc - 1], *base = NULL;
	char folder[4096];

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--btf_base"))
			base = argv[i + 1];
	btf__free(btf__parse(base, NULL));
	if (strstr(module, "bad")) {
		fprintf(stderr, "pahole: %s: no debug information\\n", module);
		return 3;
	}
	if (strstr(module, "crash")) {
		fprintf(stderr, "pahole: %s: about to crash\\n", module);
		raise(SIGSEGV);
	}
	if (strstr(module, "slow")) {
		FILE *file = fopen("pid", "w");

		fprintf(file, "%d", getpid());
		fclose(file);
		sleep(600);
	}
	if (strstr(module, "tell"))
		printf("%s %o %s %s\\n", getcwd(folder, sizeof(folder)), umask(0), getenv("WORD"),
			getenv("LD_PRELOAD") ? "preloaded" : "alone");
	return 0;
}
"""


class Bench(support.Bench):
    """A folder with a vmlinux and modules, and a way to run commands beside them in the container."""

    def calls(self) -> Counter[str]:
        """How often there was which kind of call, by kind and route."""
        calls = read_accounts(self.folder)
        return Counter(f"{call.kind}+{call.route}" if call.route else call.kind for call in calls)

    def btf(self, name: str) -> bytes:
        """What was written for a module."""
        return (self.folder / f"{name}.BTF").read_bytes()


@pytest.fixture(scope="module")
def beginning(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every test's folder holds at first; NAME.BTF.own is what pahole itself makes of a module."""
    folder = tmp_path_factory.mktemp("beginning")
    (folder / "vmlinux.c").write_text(_VMLINUX)
    (folder / "obedient.c").write_text(_OBEDIENT)
    for number in range(_MODULES):
        (folder / f"m{number}.c").write_text(_MODULE.replace("%d", str(number + 1)))
    script = """
        set -e
        for file in m*.c; do  # of two units that share types, as modules are
            gcc -g -c -o one.o $file && gcc -g -DSECOND -c -o two.o $file
            ld -r -o ${file%.c}.ko one.o two.o
        done
        gcc -g -c -o vmlinux.ko vmlinux.c
        mv vmlinux.ko vmlinux; rm one.o two.o
        pahole -J --btf_features=encode_force,var,float,enum64 vmlinux
        gcc -g -w -o obedient obedient.c -l:libbpf.so.1
        for file in m*.ko; do
            pahole -J -j --lang_exclude=rust --btf_base vmlinux --btf_encode_detached=$file.BTF.own $file
        done
    """
    done = Bench(runner, folder, env=_ENV).sh(script)
    assert done.status == 0, done.text
    return folder


@pytest.fixture
def bench(runner: Runner, beginning: Path, tmp_path: Path, programs: Programs) -> Bench:
    return Bench(runner, shutil.copytree(beginning, tmp_path / "work"), programs, env=_ENV)


def encode_all(jobs: int = 1) -> str:
    """Return a script's line that writes the BTF of all modules, ``jobs`` at a time."""
    return f"ls m*.ko | xargs -P {jobs} -I@ {_CALL} --btf_encode_detached=@.BTF @"


def assert_all_right(bench: Bench, done: Completed) -> None:
    assert done.status == 0, done.text
    for number in range(_MODULES):
        own = (bench.folder / f"m{number}.ko.BTF.own").read_bytes()
        assert bench.btf(f"m{number}.ko") == own, f"m{number}.ko"


@SHIPPED
def test_one_server_writes_the_same_bytes_as_pahole_for_all(bench: Bench) -> None:
    assert_all_right(bench, bench.sh(encode_all(jobs=4)))
    assert bench.calls() == {"off+served": _MODULES, "serve": _MODULES, "server": 1}


@SHIPPED
def test_a_section_is_put_into_the_module_as_pahole_does(bench: Bench) -> None:
    own = _CALL.replace(PROGRAM, "pahole")
    script = f"cp m1.ko own.ko; cp m1.ko ours.ko; {own} own.ko; {_CALL} ours.ko"
    done = bench.sh(f"{script} && cmp own.ko ours.ko && readelf -SW ours.ko | grep -q '[.]BTF ' && ls *.btf")
    assert "No such file" in done.text
    assert bench.calls()["off+served"] == 1


def test_what_is_not_in_the_cache_is_served_and_is_then_in_it(bench: Bench) -> None:
    done = bench.sh(
        f"mkdir cache; {encode_all()}; {encode_all()}",
        KBTF_CI_BTF_CACHE="/bench/cache",
        KBTF_CI_PAHOLE_ID="one",
    )
    assert_all_right(bench, done)
    assert bench.calls() == {"miss+served": _MODULES, "hit": _MODULES, "serve": _MODULES, "server": 1}


def test_a_killed_server_costs_no_module_its_btf(bench: Bench) -> None:
    kill = "for i in 1 2 3 4; do sleep 0.3; pkill -9 -o -x pahole; done"
    script = f"{kill} & for i in 1 2 3 4 5; do {encode_all(jobs=4)} || exit; done"
    done = bench.sh(script.replace("pkill -9 -o -x pahole", _KILL_SERVER))
    assert_all_right(bench, done)
    calls = bench.calls()
    assert calls["off+served"] + calls["off+fallback"] == 5 * _MODULES
    assert calls["server"] > 1


# The image has no pkill. The server's parent is init, its children have its environment.
_KILL_SERVER = (
    "for p in /proc/[0-9]*; do "
    "grep -qsz KBTF_CI_SERVED_BASE $p/environ && "
    "grep -qs '^PPid:.1$' $p/status && kill -9 ${p#/proc/} && break; done"
)
_OBEY = {"KBTF_CI_PAHOLE": "/bench/obedient"}
_WAIT = "while ! [ -s pid ]; do sleep 0.05; done"


@SHIPPED
def test_a_killed_child_has_pahole_itself_called(bench: Bench) -> None:
    # Killed once, the same call is then pahole's own, which is killed as well: its status is the call's.
    script = (
        f"cp m1.ko slow.ko; ({_CALL} slow.ko; echo status $?) & {_WAIT}; first=$(cat pid); rm pid; "
        f"kill -9 $first; {_WAIT}; kill -9 $(cat pid); wait"
    )
    done = bench.sh(script, **_OBEY)
    assert "written by pahole itself, not by a server: its pahole was killed" in done.text
    assert "status 137" in done.text
    assert bench.calls() == {"off+fallback": 1, "server": 1}


def test_a_killed_server_takes_what_it_runs_along(bench: Bench) -> None:
    script = (
        f"cp m1.ko slow.ko; {_CALL} slow.ko & {_WAIT}; first=$(cat pid); rm pid; {_KILL_SERVER}; {_WAIT}; "
        "kill -0 $first 2>/dev/null && echo left; kill -9 $(cat pid); wait"
    )
    done = bench.sh(script, **_OBEY)
    assert "by a server: the server is gone" in done.text
    assert "left" not in done.text


@pytest.mark.parametrize(
    ("name", "status", "words"), [("bad", 3, "no debug information"), ("crash", 139, "about to crash")]
)
def test_message_and_status_are_paholes_own(bench: Bench, name: str, status: int, words: str) -> None:
    done = bench.sh(f"cp m1.ko {name}.ko; {_CALL} {name}.ko", **_OBEY)
    assert done.status == status, done.text
    assert f"pahole: {name}.ko: {words}" in done.text


def test_folder_umask_and_environment_are_the_callers(bench: Bench) -> None:
    script = (
        f"{_CALL} m1.ko; mkdir -p in/it; cp m1.ko in/it/tell.ko; cd in/it; umask 027; "
        f"WORD='a b' {PROGRAM} -J --btf_base ../../vmlinux tell.ko"
    )
    assert "/bench/in/it 27 a b alone" in bench.sh(script, **_OBEY).text
    assert bench.calls() == {"off+served": 2, "serve": 2, "server": 1}


def test_a_base_that_changed_gets_a_server_of_its_own(bench: Bench) -> None:
    change = "cp vmlinux old; objcopy --remove-section .BTF old new; gcc -g -c -o more.ko -x c - < more.c"
    (bench.folder / "more.c").write_text(_VMLINUX + "struct more { int more; } more;")
    script = f"""
        {_CALL} --btf_encode_detached=first.BTF m1.ko
        {change}
        pahole -J --btf_features=encode_force,var,float,enum64 more.ko && cat more.ko > vmlinux
        {_CALL} --btf_encode_detached=second.BTF m1.ko
        pahole -J -j --lang_exclude=rust --btf_base vmlinux --btf_encode_detached=own.BTF m1.ko
        cmp second.BTF own.BTF && ! cmp -s first.BTF second.BTF
    """
    done = bench.sh(script)
    assert done.status == 0, done.text
    assert bench.calls() == {"off+served": 2, "serve": 2, "server": 2}


def test_a_pahole_that_was_replaced_is_served_no_more(bench: Bench) -> None:
    script = (
        f"cp $(command -v pahole) p; {_CALL} m1.ko; cp p q; mv q p; {_CALL} m2.ko; "
        f"rm p; {_CALL} m3.ko; echo status $?"
    )
    done = bench.sh(script, KBTF_CI_PAHOLE="/bench/p")
    assert "status 127" in done.text
    assert bench.calls() == {"off+served": 2, "serve": 2, "server": 2, "off+fallback": 1}


def test_a_library_that_was_replaced_is_used_no_more(bench: Bench) -> None:
    # At once, before the server looks by itself whether it is still right.
    script = (
        f"mkdir lib; cp -L /usr/lib/*/libbpf.so.1 lib; {_CALL} m1.ko; "
        f"cp lib/libbpf.so.1 lib/new; mv lib/new lib/libbpf.so.1; {_CALL} m2.ko"
    )
    assert bench.sh(script, LD_LIBRARY_PATH="/bench/lib").status == 0
    assert bench.calls() == {"off+served": 2, "serve": 2, "server": 2}


@pytest.mark.parametrize("program", ['#!/bin/sh\nexec pahole "$@"\n', "static"])
def test_a_pahole_without_a_shared_libbpf_is_called_itself(bench: Bench, program: str) -> None:
    (bench.folder / "p").write_text(program)
    make = "gcc -static -o p -x c - < p.c" if program == "static" else "chmod +x p"
    (bench.folder / "p.c").write_text("int main(void) { return 0; }")
    done = bench.sh(f"{make} && {_CALL} --btf_encode_detached=m1.ko.BTF m1.ko", KBTF_CI_PAHOLE="/bench/p")
    assert done.status == 0
    assert "m1.ko: written by pahole itself, not by a server: " in done.text
    assert bench.calls() == {"off+fallback": 1}


def test_nothing_waits_for_the_server(bench: Bench) -> None:
    done = bench.sh(f"timeout 60 sh -c '{_CALL} m1.ko | cat'; echo status $?", KBTF_CI_BTF_SERVER_IDLE="600")
    assert "status 0" in done.text
    assert bench.calls()["off+served"] == 1


@pytest.mark.parametrize("how", ["idle", "changed"])
def test_a_server_ends_by_itself(bench: Bench, how: str) -> None:
    there = "grep -qsz KBTF_CI_SERVED_BASE /proc/[0-9]*/environ"
    script = (
        f"{_CALL} m1.ko; {there} || exit 4; {'touch vmlinux' if how == 'changed' else ':'}; "
        f"for i in $(seq 300); do {there} || exit 0; sleep 0.2; done; exit 5"
    )
    assert bench.sh(script, KBTF_CI_BTF_SERVER_IDLE="2" if how == "idle" else "600").status == 0


def test_a_socket_is_its_users_own_and_lies_as_deep_as_may_be(bench: Bench) -> None:
    folder = "/bench/" + "/".join(["deep" * 20] * 4)
    done = bench.sh(f"{_CALL} m1.ko; stat -c '%F %a' {folder}/*-*", KBTF_CI_BTF_SERVER=folder)
    assert "socket 600" in done.text
    assert bench.calls()["off+served"] == 1


def test_a_folder_that_others_may_write_to_is_not_used(bench: Bench) -> None:
    done = bench.sh(f"mkdir -m 777 open; {_CALL} m1.ko", KBTF_CI_BTF_SERVER="/bench/open")
    assert done.status == 0
    assert "the folder for its socket is not this user's alone" in done.text
    assert bench.calls() == {"off+fallback": 1}


# As kbuild does it: a module is linked, and its BTF goes into that file.
_MAKEFILE = f"""
all: $(patsubst m%.ko,out%.ko,$(wildcard m*.ko))
out%.ko: m%.ko
\t@cp $< $@ && {_CALL} $@
.DELETE_ON_ERROR:
"""
_AT_WORK = "grep -qsE 'out[0-9]+[.]ko' /proc/[0-9]*/cmdline"


@pytest.mark.parametrize("signal", ["KILL", "INT"])
def test_a_make_that_ends_amid_modules_leaves_each_whole_or_to_be_made(bench: Bench, signal: str) -> None:
    (bench.folder / "Makefile").write_text(_MAKEFILE)
    script = f"""
        env --default-signal=INT setsid make -j2 2>/dev/null & make=$!
        while ! ls out*.ko >/dev/null 2>&1; do :; done
        if [ {signal} = KILL ]; then kill -KILL $make; else kill -INT -$make; fi
        wait $make; [ $? -ne 0 ] || exit 4
        for i in $(seq 300); do {_AT_WORK} || break; sleep 0.2; done; {_AT_WORK} && exit 5
        for file in out*.ko; do  # of a make that was killed, a recipe that had only begun is not undone
            [ ! -e $file ] || readelf -SW $file | grep -q '[.]BTF ' ||
                {{ [ {signal} = KILL ] && rm $file; }} || exit 6
        done
        make -j2 || exit 7
        for file in m*.ko; do
            objcopy --dump-section .BTF=$file.BTF out${{file#m}} /dev/null || exit 8
        done
    """
    assert_all_right(bench, bench.sh(script))
    assert bench.calls()["off+fallback"] == 0


def test_a_server_that_cannot_fork_leaves_the_call_to_pahole(bench: Bench) -> None:
    (bench.folder / "poor.c").write_text("#include <errno.h>\nint fork(void) { errno = ENOMEM; return -1; }")
    script = f"""
        gcc -w -rdynamic -o poor obedient.c poor.c -l:libbpf.so.1 && cp m1.ko tell.ko || exit 9
        WORD=word {_CALL} tell.ko; {_CALL} m2.ko
    """
    done = bench.sh(script, KBTF_CI_PAHOLE="/bench/poor")
    assert done.status == 0
    assert "word alone" in done.text
    assert "m2.ko: written by pahole itself, not by a server: " in done.text
    calls = bench.calls()
    assert (calls["off+fallback"], calls["off+served"]) == (2, 0)


@SHIPPED
@pytest.mark.parametrize(("signal", "status"), [("INT", 130), ("TERM", 143)])
def test_an_interrupt_ends_what_the_server_runs(bench: Bench, signal: str, status: int) -> None:
    # A shell without job control has what it starts in the background ignore SIGINT.
    script = (
        f"cp m1.ko slow.ko; env --default-signal={signal} {_CALL} slow.ko & own=$!; {_WAIT}; "
        f"kill -{signal} $own; wait $own; echo status $?; kill -0 $(cat pid) 2>/dev/null && echo left"
    )
    done = bench.sh(script, **_OBEY)
    assert f"status {status}" in done.text
    assert "left" not in done.text


def test_a_caller_that_was_killed_takes_its_pahole_along(bench: Bench) -> None:
    script = (
        f"cp m1.ko slow.ko; {_CALL} slow.ko & own=$!; {_WAIT}; kill -9 $own; "
        "for i in $(seq 300); do kill -0 $(cat pid) 2>/dev/null || exit 0; sleep 0.1; done; exit 5"
    )
    assert bench.sh(script, **_OBEY).status == 0


def test_a_full_disk_is_paholes_to_complain_of(bench: Bench) -> None:
    own = bench.sh("pahole -J --btf_base vmlinux --btf_encode_detached=/dev/full m1.ko")
    ours = bench.sh(f"{_CALL} --btf_encode_detached=/dev/full m1.ko")
    assert ours.status == own.status != 0
    assert own.text.strip() in ours.text
    failing = bench.sh(f"cp m1.ko ours.ko; LLVM_OBJCOPY=false {_CALL} ours.ko; echo status $?")
    assert "status 1" in failing.text


def test_a_server_does_not_grow(bench: Bench) -> None:
    size = (
        "for p in /proc/[0-9]*; do grep -qsz KBTF_CI_SERVED_BASE $p/environ && "
        "awk '/^VmRSS/ {print $2}' $p/status; done | sort -n | tail -1"
    )
    rounds = f"for i in $(seq 25); do {encode_all(2)}; done"
    done = bench.sh(f"{encode_all()}; before=$({size}); {rounds}; echo $before $({size})")
    before, after = (int(word) for word in done.text.split()[-2:])
    assert bench.calls()["off+served"] == 26 * _MODULES
    assert after <= before + 512


def test_two_bases_at_once_are_two_servers(bench: Bench) -> None:
    (bench.folder / "more.c").write_text(_VMLINUX + "struct more { int more; } more;")
    script = f"""
        gcc -g -c -o other more.c && pahole -J --btf_features=encode_force,var,float,enum64 other || exit
        {encode_all(2)} &
        ls m*.ko | xargs -P 2 -I@ {_CALL.replace("vmlinux", "other")} --btf_encode_detached=@.other @
        wait
        for m in m*.ko; do
            rm -f own; pahole -J --lang_exclude=rust --btf_base other --btf_encode_detached=own $m
            cmp own $m.other || exit
        done
    """
    assert_all_right(bench, bench.sh(script))
    assert bench.calls() == {"off+served": 2 * _MODULES, "serve": 2 * _MODULES, "server": 2}
