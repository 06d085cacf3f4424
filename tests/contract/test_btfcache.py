# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The wrapper in the place of pahole, as it is in the image, with a pahole behind it that only hashes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kbtf_ci.infra.runner import Runner
from kbtf_ci.kernel.btfcache import PROGRAM, clear, survey
from tests.support import programs as support
from tests.support.programs import SHIPPED, Programs

pytestmark = pytest.mark.engine

# The "BTF" says what it was made from. A module named *loud* is complained of, one named *bad* is refused.
_PAHOLE = """#!/bin/sh
[ "$1" = --version ] && exec echo v1.30
for module; do :; done
echo "$*" >> /bench/calls
case $module in
  *bad*) echo "pahole: $module: no debug information" >&2; exit 3 ;;
  *loud*) echo "pahole: $module: a warning" >&2 ;;
esac
case "$*" in *--btf_base*) ;; *) exit 0 ;; esac
case "$*" in
  *--btf_encode_detached=*) { md5sum < vmlinux; md5sum < "$module"; } > "$module.BTF.1"; exit 0 ;;
esac
objcopy -O binary --only-section=.debug_str --set-section-flags .debug_str=alloc "$module" "$module.raw"
{ echo "$*" | sed 's/ [^ ]*$//'; md5sum < vmlinux; md5sum < "$module.raw"; } > "$module.new"
objcopy --remove-section .BTF "$module"
objcopy --add-section .BTF="$module.new" "$module"
rm "$module.raw" "$module.new"
"""
_CALL = f"{PROGRAM} -J -j --lang_exclude=rust --btf_base vmlinux"
_DETACHED = "--btf_encode_detached=m.ko.BTF.1"
_SHARDS = 256


_ENV = {
    "KBTF_CI_PAHOLE": "/bench/pahole",
    "KBTF_CI_PAHOLE_ID": "one",
    "KBTF_CI_BTF_CACHE": "/bench/cache",
    "KBTF_CI_ACCOUNTS": "/bench/calls.log",
    "LLVM_OBJCOPY": "objcopy",
}


class Bench(support.Bench):
    """A folder with a vmlinux and a way to run commands beside it in the container."""

    def __init__(self, runner: Runner, folder: Path, programs: Programs) -> None:
        super().__init__(runner, folder, programs, env=_ENV)
        self.cache = folder / "cache"

    def make(self, name: str, text: str) -> None:
        (self.folder / "text.c").write_text(text)
        done = self.sh(f"gcc -Wall -Wextra -Werror -g -c -o {name} text.c")
        assert done.status == 0, done.text

    def btf(self, name: str) -> str:
        return self.sh(
            f"objcopy -O binary --only-section=.BTF --set-section-flags .BTF=alloc {name} out; cat out"
        ).text

    def asked(self) -> int:
        """How often pahole was called."""
        path = self.folder / "calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def entries(self) -> list[Path]:
        return sorted(self.cache.glob("[0-9a-f][0-9a-f]/*"))


@pytest.fixture(scope="module")
def beginning(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every test's folder holds at first."""
    folder = tmp_path_factory.mktemp("beginning")
    (folder / "cache").mkdir()
    (folder / "pahole").write_text(_PAHOLE)
    (folder / "pahole").chmod(0o755)
    bench = Bench(runner, folder, Programs())
    bench.make("vmlinux", "int base;")
    bench.make("m.ko", "struct s { int a; } v;")
    assert bench.sh("printf one > b && objcopy --add-section .BTF=b vmlinux").status == 0
    return folder


@pytest.fixture
def bench(runner: Runner, beginning: Path, tmp_path: Path, programs: Programs) -> Bench:
    return Bench(runner, shutil.copytree(beginning, tmp_path / "work"), programs)


@SHIPPED
def test_the_second_module_of_the_same_content_is_answered_without_pahole(bench: Bench) -> None:
    bench.sh("cp m.ko n.ko; cp m.ko plain.ko")
    assert bench.sh(f"{_CALL} m.ko && {_CALL} n.ko && {_CALL} m.ko").status == 0
    assert bench.asked() == 1
    bench.sh("/bench/pahole -J -j --lang_exclude=rust --btf_base vmlinux plain.ko")
    assert bench.btf("m.ko") == bench.btf("n.ko") == bench.btf("plain.ko") != ""
    kinds = [line.split("\t")[:2] for line in (bench.folder / "calls.log").read_text().splitlines()]
    assert kinds == [["miss", "m.ko"], ["hit", "n.ko"], ["hit", "m.ko"]]


@SHIPPED
def test_detached_btf_is_answered_as_well_and_apart_from_the_sections(bench: Bench) -> None:
    """scripts/gen-btf.sh has pahole write a file, and puts it into the module itself."""
    bench.sh("cp m.ko n.ko")
    detached = f"{_CALL} {_DETACHED} m.ko"
    first = bench.sh(f"{detached} && cat m.ko.BTF.1 && rm m.ko.BTF.1")
    again = bench.sh(f"{_CALL} {_DETACHED.replace('m.ko', 'n.ko')} n.ko && cat n.ko.BTF.1")
    assert (first.status, first.text) == (again.status, again.text)
    assert first.text != ""
    assert bench.asked() == 1
    assert bench.btf("n.ko") == ""
    assert bench.sh(f"{_CALL} n.ko").status == 0
    assert bench.asked() == 2
    assert bench.btf("n.ko") != ""


def test_detached_btf_that_cannot_be_written_is_paholes_to_complain_of(bench: Bench) -> None:
    assert bench.sh(f"{_CALL} {_DETACHED} m.ko").status == 0
    done = bench.sh(f"{_CALL} --btf_encode_detached=nowhere/x m.ko")
    assert (done.status, bench.asked()) == (0, 2)


@pytest.mark.parametrize(
    ("change", "env"),
    [
        ("sed -i 's/--lang_exclude=rust/--lang_exclude=c/' call", {}),
        ("true", {"KBTF_CI_PAHOLE_ID": "two"}),
        ("printf two > b && objcopy --update-section .BTF=b vmlinux", {}),
        ("echo 'struct s { int a, b; } v;' > text.c && gcc -g -c -o m.ko text.c", {}),
        ("echo 'struct s { int a; } w;' > text.c && gcc -g -c -o m.ko text.c", {}),
    ],
    ids=["flags", "pahole", "base", "types", "symbols"],
)
def test_whatever_btf_is_made_from_tells_one_from_another(
    bench: Bench, change: str, env: dict[str, str]
) -> None:
    (bench.folder / "call").write_text(f"{_CALL} m.ko\n")
    assert bench.sh("sh call").status == 0
    assert bench.sh(change).status == 0
    assert bench.sh("sh call", **env).status == 0
    assert bench.asked() == 2
    assert len(bench.entries()) == 2


def test_code_and_a_vmlinux_linked_again_with_the_same_btf_tell_nothing(bench: Bench) -> None:
    bench.sh(f"{_CALL} m.ko; cp vmlinux v; echo longer > note; objcopy --add-section .note=note v vmlinux")
    bench.sh(f"{_CALL} m.ko")
    assert bench.asked() == 1


@pytest.mark.parametrize(
    "call",
    ["--version", "-J -j m.ko", f"-J --btf_features=distilled_base --btf_base vmlinux {_DETACHED} m.ko"],
)
def test_any_other_call_is_paholes(bench: Bench, call: str) -> None:
    assert bench.sh(f"{PROGRAM} {call}").text == bench.sh(f"/bench/pahole {call}").text
    assert bench.entries() == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: data[:16] + b"\xff" * 16 + data[32:],
        lambda data: bytes(len(data)),
        lambda data: b"kbtf-ci BTF 2\n\0\0" + data[16:],
    ],
    ids=["bit", "end", "empty", "lengths", "zeros", "another version"],
)
def test_a_spoilt_entry_is_a_miss_and_is_made_whole(bench: Bench, spoil: Callable[[bytes], bytes]) -> None:
    bench.sh(f"{_CALL} m.ko")
    (entry,) = bench.entries()
    whole = entry.read_bytes()
    entry.write_bytes(spoil(whole))
    assert survey(bench.cache).corrupt == 1
    bench.sh(f"{_CALL} m.ko")
    assert bench.asked() == 2
    assert entry.read_bytes() == whole
    assert survey(bench.cache).corrupt == 0


def test_an_entry_in_anothers_place_is_no_answer(bench: Bench) -> None:
    bench.make("n.ko", "struct t { char b; } w;")
    bench.sh(f"{_CALL} m.ko")
    (first,) = bench.entries()
    bench.sh(f"{_CALL} n.ko")
    (second,) = (entry for entry in bench.entries() if entry != first)
    second.write_bytes(first.read_bytes())
    before = bench.btf("n.ko")
    bench.sh(f"{_CALL} n.ko")
    assert (bench.btf("n.ko"), bench.asked()) == (before, 3)


@pytest.mark.parametrize("spoil", ["printf x", "head -c 128 /dev/zero", "tr 0-9a-f 1-9a-f0"])
def test_a_spoilt_note_of_the_base_is_made_anew(bench: Bench, spoil: str) -> None:
    bench.sh(f"{_CALL} m.ko; for f in cache/base/*; do {spoil} < $f > x; cat x > $f; done; {_CALL} m.ko")
    assert bench.asked() == 1


@pytest.mark.parametrize("name", ["KBTF_CI_BTF_CACHE", "KBTF_CI_PAHOLE_ID"])
def test_without_these_variables_it_is_off(bench: Bench, name: str) -> None:
    bench.sh(f"{_CALL} m.ko; {_CALL} m.ko", **{name: ""})
    assert bench.asked() == 2
    assert bench.entries() == []


def test_what_pahole_complains_of_it_complains_of_again(bench: Bench) -> None:
    bench.sh("cp m.ko loud.ko")
    for number in (1, 2):
        assert bench.sh(f"{_CALL} loud.ko").text == "pahole: loud.ko: a warning\n"
        assert bench.asked() == number


def test_what_pahole_refuses_is_refused_with_its_status_and_not_kept(bench: Bench) -> None:
    bench.sh("cp m.ko bad.ko")
    done = bench.sh(f"{_CALL} bad.ko")
    assert (done.status, done.text) == (3, "pahole: bad.ko: no debug information\n")
    assert bench.entries() == []


@pytest.mark.parametrize("content", [b"", b"no ELF", b"\x7fELF\x02\x01\x01" + bytes(60)])
def test_a_module_that_is_none_is_left_to_pahole(bench: Bench, content: bytes) -> None:
    (bench.folder / "bad.ko").write_bytes(content)
    assert bench.sh(f"{_CALL} bad.ko").status == 3
    assert bench.asked() == 1


@pytest.mark.parametrize("section", [".debug_str", ".BTF"])
def test_a_section_without_bytes_in_the_file_is_left_to_pahole(bench: Bench, section: str) -> None:
    (bench.folder / "nobits.s").write_text(f'.section {section},"",@nobits\n.skip 4096\n')
    done = bench.sh(f"as -o bad.ko nobits.s && {_CALL} bad.ko; {PROGRAM} -J --btf_base bad.ko bad.ko")
    assert (done.status, bench.asked()) == (3, 2)


def test_a_folder_that_cannot_be_written_costs_no_more_than_the_cache(bench: Bench) -> None:
    done = bench.sh(f"{_CALL} m.ko", KBTF_CI_BTF_CACHE="/proc/nowhere")
    assert (done.status, done.text) == (0, "")
    assert bench.asked() == 1


@SHIPPED
def test_many_at_once_on_an_empty_cache_leave_one_whole_entry(bench: Bench) -> None:
    copies = " ".join(f"c{number}.ko" for number in range(24))
    done = bench.sh(
        f"for c in {copies}; do cp m.ko $c; done; {_CALL} m.ko; rm -r cache/*; "
        f"echo {copies} | xargs -n 1 -P 12 {_CALL}"
    )
    assert done.status == 0, done.text
    sums = bench.sh(f"for c in {copies}; do objcopy --dump-section .BTF=o $c; md5sum < o; done").text
    assert len(set(sums.splitlines())) == 1
    assert len(bench.entries()) == 1
    assert survey(bench.cache).corrupt == 0


def test_it_stays_below_its_bound_and_what_was_not_used_for_longest_goes(bench: Bench) -> None:
    for number in range(_SHARDS):
        shard = bench.cache / f"{number:02x}"
        shard.mkdir()
        for name, age in (("old", 1), ("newer", 2)):
            (shard / name).write_bytes(bytes(4096))
            os.utime(shard / name, (age, age))
    bench.sh(f"{_CALL} m.ko", KBTF_CI_BTF_CACHE_MAX=str(_SHARDS * 2 * 4096))
    (entry,) = (path for path in bench.entries() if path.name not in ("old", "newer"))
    assert sorted(path.name for path in entry.parent.iterdir()) == sorted(["newer", entry.name])
    assert len(bench.entries()) == 2 * _SHARDS


def test_a_hit_makes_an_entry_young(bench: Bench) -> None:
    bench.sh(f"{_CALL} m.ko")
    (entry,) = bench.entries()
    bench.sh(f"touch -d @5 {entry.relative_to(bench.folder)}; {_CALL} m.ko")
    assert entry.stat().st_mtime > 1000


def test_survey_and_clear_see_what_it_wrote(bench: Bench) -> None:
    bench.sh(f"{_CALL} m.ko")
    held = survey(bench.cache)
    assert (held.entries, held.corrupt, held.disk_bytes) == (1, 0, 4096)
    assert clear(bench.cache) == 1
    bench.sh(f"{_CALL} m.ko")
    assert bench.asked() == 2


def test_a_command_for_objcopy_is_never_cut(bench: Bench) -> None:
    """It ended within "m.ko" once, "m" got the section, and m.ko had none."""
    bench.sh(f"cp m.ko n.ko; cp m.ko m; cp m.ko plain.ko; {_CALL} n.ko; {_CALL} plain.ko")
    cut = 2 * 4096 - 1 - len(" --add-section .BTF=m.ko.btf m")
    bench.sh(f"{_CALL} m.ko", LLVM_OBJCOPY="objcopy".ljust(cut))
    assert bench.btf("m.ko") == bench.btf("plain.ko") != ""
    assert bench.btf("m") == ""
    assert bench.asked() == 1


@pytest.mark.parametrize("name", ["a b.ko", "$(touch owned).ko", "a;touch owned;.ko", "a'.ko", "a\nb.ko"])
def test_no_shell_sees_the_name_of_a_module(bench: Bench, name: str) -> None:
    (bench.folder / name).write_bytes((bench.folder / "m.ko").read_bytes())
    bench.sh(f"{_CALL} m.ko")
    assert bench.run(*_CALL.split(), name).status == 0
    assert bench.asked() == 1
    assert not (bench.folder / "owned").exists()
    assert bench.run("objcopy", "-O", "binary", "--only-section=.BTF", "--set-section-flags", ".BTF=alloc",
                     name, "out").status == 0  # fmt: skip
    assert (bench.folder / "out").read_text() == bench.btf("m.ko") != ""


@pytest.mark.parametrize(
    ("objcopy", "asked"),
    [(" env  objcopy", 1), ("objcopy -p", 1), ('"objcopy"', 2), ("", 2), ("nowhere", 2), ("false", 2),
     ("objcopy #", 2), ("env " * 15 + "objcopy", 2), ("/usr/bin", 2)],
)  # fmt: skip
def test_what_objcopy_cannot_be_asked_for_is_paholes(bench: Bench, objcopy: str, asked: int) -> None:
    bench.sh(f"cp m.ko n.ko; {_CALL} m.ko")
    done = bench.sh(f"{_CALL} n.ko", LLVM_OBJCOPY=objcopy)
    assert done.status == 0
    assert bench.asked() == asked
    assert bench.btf("n.ko") == bench.btf("m.ko") != ""
    assert not (bench.folder / "n.ko.btf").exists()


# libelf that has elf_getshdrstrndx() fail from call FAIL_FROM on, and elf_getdata() where FAIL_DATA is set.
_FAILING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libelf.h>
#include <stdlib.h>
int elf_getshdrstrndx(Elf *elf, size_t *index)
{
	static int calls;
	int (*real)(Elf *, size_t *) = dlsym(RTLD_NEXT, "elf_getshdrstrndx");
	return ++calls >= atoi(getenv("FAIL_FROM")) ? -1 : real(elf, index);
}
Elf_Data *elf_getdata(Elf_Scn *section, Elf_Data *data)
{
	Elf_Data *(*real)(Elf_Scn *, Elf_Data *) = dlsym(RTLD_NEXT, "elf_getdata");
	return getenv("FAIL_DATA") ? NULL : real(section, data);
}
"""


@pytest.mark.parametrize("fails", ["FAIL_FROM=1", "FAIL_FROM=2", "FAIL_FROM=9 FAIL_DATA=1"])
def test_what_libelf_fails_in_is_paholes(bench: Bench, fails: str) -> None:
    (bench.folder / "failing.c").write_text(_FAILING)
    made = bench.sh("gcc -Wall -Wextra -Werror -shared -fPIC -o failing.so failing.c -ldl")
    assert made.status == 0, made.text
    bench.sh(f"{_CALL} m.ko; cp m.ko n.ko")
    done = bench.sh(f"env {fails} LD_PRELOAD=./failing.so {_CALL} n.ko")
    assert (done.status, done.text, bench.asked()) == (0, "", 2)
    assert bench.sh("readelf -SW n.ko | grep -c '\\.BTF '").text == "1\n"


def test_a_module_with_a_section_whose_name_cannot_be_read_is_not_kept(bench: Bench) -> None:
    data = bytearray((bench.folder / "m.ko").read_bytes())
    table = int.from_bytes(data[0x28:0x30], "little")
    data[table + 64 : table + 68] = b"\xff\xff\xff\x7f"  # sh_name of the first
    (bench.folder / "m.ko").write_bytes(data)
    assert bench.sh(f"{_CALL} {_DETACHED} m.ko").status == 0
    assert bench.entries() == []


@pytest.mark.parametrize("limit", ["1GiB", "-1", "99999999999999999999", "many"])
def test_a_bound_that_is_no_number_empties_nothing(bench: Bench, limit: str) -> None:
    bench.sh(f"{_CALL} m.ko; {_CALL} m.ko", KBTF_CI_BTF_CACHE_MAX=limit)
    assert (bench.asked(), len(bench.entries())) == (1, 1)


@pytest.mark.parametrize("own", [PROGRAM, "/bench/bin/pahole", ""])
def test_it_never_takes_itself_for_the_real_pahole(bench: Bench, own: str) -> None:
    """Each of its processes started the next, without end."""
    (bench.folder / "bin").mkdir()
    (bench.folder / "bin/pahole").symlink_to(PROGRAM)
    for call in ("--version", "-J --btf_base vmlinux m.ko", "-J vmlinux"):
        start = f"timeout -s KILL 60 env PATH=/bench/bin {PROGRAM} {call}"
        done = bench.sh(start, KBTF_CI_PAHOLE=own)
        assert done.status == 127
        assert done.text == (
            f"{own or 'pahole'}: there is none besides kbtf-ci's own, which only stands in its place\n"
        )


def test_a_status_is_kept_where_children_are_not_waited_for(bench: Bench) -> None:
    deaf = "exec env --ignore-signal=CHLD"
    bench.sh("cp m.ko bad.ko")
    assert bench.sh(f"{deaf} {_CALL} bad.ko").status == 3
    bench.sh(f"{_CALL} m.ko")
    done = bench.sh(f"cp m.ko n.ko; objcopy -R .BTF n.ko; {deaf} {_CALL} n.ko")
    assert (done.status, bench.asked()) == (0, 2)
    assert bench.btf("n.ko") == bench.btf("m.ko") != ""


def test_a_cache_whose_paths_are_too_long_is_none(bench: Bench) -> None:
    script = f"""
        for length in $(seq 4006 8 4095); do
            slashes=$(printf %0${{length}}d 0 | tr 0 / | cut -c 13-)
            KBTF_CI_BTF_CACHE=/bench/cache$slashes {_CALL} m.ko || exit 1
        done
    """
    assert bench.sh(script).status == 0
    assert 2 <= bench.asked() < 12  # the first ones fit, the last ones do not
    assert all(path.name.startswith(path.parent.name) for path in bench.entries())
    assert [len(path.name) for path in bench.entries()] == [64]
