# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The wrapper in the place of pahole, as it is in the image, with a pahole behind it that only hashes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.infra.runner import Command, Completed, Mount, run
from kbtf_ci.kernel.btfcache import PROGRAM, clear, survey

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


class Bench:
    """A folder with a vmlinux and a way to run commands beside it in the container."""

    def __init__(self, runner, folder: Path) -> None:
        self.runner = runner
        self.folder = folder
        self.cache = folder / "cache"
        self.cache.mkdir()
        (folder / "pahole").write_text(_PAHOLE)
        (folder / "pahole").chmod(0o755)
        self.env = {
            "KBTF_CI_PAHOLE": "/bench/pahole",
            "KBTF_CI_PAHOLE_ID": "one",
            "KBTF_CI_BTF_CACHE": "/bench/cache",
            "KBTF_CI_ACCOUNTS": "/bench/calls.log",
            "LLVM_OBJCOPY": "objcopy",
        }
        self.make("vmlinux", "int base;")
        self.sh("printf one > b && objcopy --add-section .BTF=b vmlinux")

    def sh(self, script: str, **env: str) -> Completed:
        mounts = (Mount(self.folder, "/bench", writable=True),)
        return run(self.runner, Command(("sh", "-c", script), mounts, {**self.env, **env}, workdir="/bench"))

    def make(self, name: str, text: str) -> None:
        (self.folder / "text.c").write_text(text)
        done = self.sh(f"gcc -g -c -o {name} text.c")
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


@pytest.fixture
def bench(engine: Engine, toolchain: Toolchain, tmp_path: Path) -> Bench:
    folder = tmp_path / "work"
    folder.mkdir()
    bench = Bench(engine.runner(toolchain.image), folder)
    bench.make("m.ko", "struct s { int a; } v;")
    return bench


def test_the_second_module_of_the_same_content_is_answered_without_pahole(bench):
    bench.sh("cp m.ko n.ko; cp m.ko plain.ko")
    assert bench.sh(f"{_CALL} m.ko && {_CALL} n.ko && {_CALL} m.ko").status == 0
    assert bench.asked() == 1
    bench.sh("/bench/pahole -J -j --lang_exclude=rust --btf_base vmlinux plain.ko")
    assert bench.btf("m.ko") == bench.btf("n.ko") == bench.btf("plain.ko") != ""
    kinds = [line.split("\t")[:2] for line in (bench.folder / "calls.log").read_text().splitlines()]
    assert kinds == [["miss", "m.ko"], ["hit", "n.ko"], ["hit", "m.ko"]]


def test_detached_btf_is_answered_as_well_and_apart_from_the_sections(bench):
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


def test_detached_btf_that_cannot_be_written_is_paholes_to_complain_of(bench):
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
def test_whatever_btf_is_made_from_tells_one_from_another(bench, change, env):
    (bench.folder / "call").write_text(f"{_CALL} m.ko\n")
    assert bench.sh("sh call").status == 0
    assert bench.sh(change).status == 0
    assert bench.sh("sh call", **env).status == 0
    assert bench.asked() == 2
    assert len(bench.entries()) == 2


def test_code_and_a_vmlinux_linked_again_with_the_same_btf_tell_nothing(bench):
    bench.sh(f"{_CALL} m.ko; cp vmlinux v; echo longer > note; objcopy --add-section .note=note v vmlinux")
    bench.sh(f"{_CALL} m.ko")
    assert bench.asked() == 1


@pytest.mark.parametrize(
    "call",
    ["--version", "-J -j m.ko", f"-J --btf_features=distilled_base --btf_base vmlinux {_DETACHED} m.ko"],
)
def test_any_other_call_is_paholes(bench, call):
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
    ],
    ids=["bit", "end", "empty", "lengths", "zeros"],
)
def test_a_spoilt_entry_is_a_miss_and_is_made_whole(bench, spoil):
    bench.sh(f"{_CALL} m.ko")
    (entry,) = bench.entries()
    whole = entry.read_bytes()
    entry.write_bytes(spoil(whole))
    assert survey(bench.cache).corrupt == 1
    bench.sh(f"{_CALL} m.ko")
    assert bench.asked() == 2
    assert entry.read_bytes() == whole
    assert survey(bench.cache).corrupt == 0


def test_an_entry_in_anothers_place_is_no_answer(bench):
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
def test_a_spoilt_note_of_the_base_is_made_anew(bench, spoil):
    bench.sh(f"{_CALL} m.ko; for f in cache/base/*; do {spoil} < $f > x; cat x > $f; done; {_CALL} m.ko")
    assert bench.asked() == 1


@pytest.mark.parametrize("name", ["KBTF_CI_BTF_CACHE", "KBTF_CI_PAHOLE_ID"])
def test_without_these_variables_it_is_off(bench, name):
    bench.sh(f"{_CALL} m.ko; {_CALL} m.ko", **{name: ""})
    assert bench.asked() == 2
    assert bench.entries() == []


def test_what_pahole_complains_of_it_complains_of_again(bench):
    bench.sh("cp m.ko loud.ko")
    for number in (1, 2):
        assert bench.sh(f"{_CALL} loud.ko").text == "pahole: loud.ko: a warning\n"
        assert bench.asked() == number


def test_what_pahole_refuses_is_refused_with_its_status_and_not_kept(bench):
    bench.sh("cp m.ko bad.ko")
    done = bench.sh(f"{_CALL} bad.ko")
    assert (done.status, done.text) == (3, "pahole: bad.ko: no debug information\n")
    assert bench.entries() == []


@pytest.mark.parametrize("content", [b"", b"no ELF", b"\x7fELF\x02\x01\x01" + bytes(60)])
def test_a_module_that_is_none_is_left_to_pahole(bench, content):
    (bench.folder / "bad.ko").write_bytes(content)
    assert bench.sh(f"{_CALL} bad.ko").status == 3
    assert bench.asked() == 1


@pytest.mark.parametrize("section", [".debug_str", ".BTF"])
def test_a_section_without_bytes_in_the_file_is_left_to_pahole(bench, section):
    (bench.folder / "nobits.s").write_text(f'.section {section},"",@nobits\n.skip 4096\n')
    done = bench.sh(f"as -o bad.ko nobits.s && {_CALL} bad.ko; {PROGRAM} -J --btf_base bad.ko bad.ko")
    assert (done.status, bench.asked()) == (3, 2)


def test_a_folder_that_cannot_be_written_costs_no_more_than_the_cache(bench):
    done = bench.sh(f"{_CALL} m.ko", KBTF_CI_BTF_CACHE="/proc/nowhere")
    assert (done.status, done.text) == (0, "")
    assert bench.asked() == 1


def test_many_at_once_on_an_empty_cache_leave_one_whole_entry(bench):
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


def test_it_stays_below_its_bound_and_what_was_not_used_for_longest_goes(bench):
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


def test_a_hit_makes_an_entry_young(bench):
    bench.sh(f"{_CALL} m.ko")
    (entry,) = bench.entries()
    bench.sh(f"touch -d @5 {entry.relative_to(bench.folder)}; {_CALL} m.ko")
    assert entry.stat().st_mtime > 1000


def test_survey_and_clear_see_what_it_wrote(bench):
    bench.sh(f"{_CALL} m.ko")
    held = survey(bench.cache)
    assert (held.entries, held.corrupt, held.disk_bytes) == (1, 0, 4096)
    assert clear(bench.cache) == 1
    bench.sh(f"{_CALL} m.ko")
    assert bench.asked() == 2
