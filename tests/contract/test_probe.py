# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The probe itself, in the image and with sanitizers, with files in place of the kernel's."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any, Protocol

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection

from kbtf_ci.infra.runner import Mount, Runner
from tests.support import programs as support
from tests.support.elf import make_elf
from tests.support.programs import SHIPPED, Programs

pytestmark = pytest.mark.engine

NOT_A_MODULE = {errno.EPERM, errno.ENOEXEC, errno.ENOSYS}
_PROBE = "/probe"
_ARCHIVE = "/usr/lib/kbtf-ci/guest-root.cpio"


class Ask(Protocol):
    """Has the probe answer lines."""

    def __call__(self, *lines: str, options: tuple[str, ...] = ()) -> list[dict[str, Any]]: ...


class Bench(support.Bench):
    """A folder that is the probe's root too."""

    def __init__(self, runner: Runner, folder: Path, programs: Programs, shipped: Path) -> None:
        (folder / "dev").mkdir(parents=True)
        (folder / "sys/kernel/btf").mkdir(parents=True)
        (folder / "dev/kmsg").write_bytes(b"")
        (folder / "not-a-module.ko").write_bytes(make_elf([(".modinfo", b"")]))
        own = shipped if programs.folder is None else programs.folder / "probe"
        super().__init__(runner, folder, programs, (Mount(own, _PROBE),))

    def probe(self, *words: str, text: bytes = b"") -> tuple[int, bytes, bytes]:
        """Run the probe; its status, its output and its errors."""
        (self.folder / "in").write_bytes(text)
        done = self.sh(f"exec {_PROBE} {shlex.join(words)} < in > out 2> err")
        return done.status, (self.folder / "out").read_bytes(), (self.folder / "err").read_bytes()

    def ask(self, *lines: str, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Run the probe over lines, and return what it answers."""
        text = "".join(f"{line}\n" for line in lines).encode()
        status, out, err = self.probe("--root", "/bench", *options, text=text)
        assert (status, err) == (0, b"")
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def shipped_probe(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bench = support.Bench(runner, tmp_path_factory.mktemp("shipped"))
    done = bench.sh(f"cpio -i -d sbin/probe < {_ARCHIVE}")
    assert done.status == 0, done.text
    return bench.folder / "sbin/probe"


@pytest.fixture
def bench(runner: Runner, tmp_path: Path, programs: Programs, shipped_probe: Path) -> Bench:
    return Bench(runner, tmp_path / "work", programs, shipped_probe)


@pytest.fixture
def ask(bench: Bench) -> Ask:
    return bench.ask


@pytest.fixture
def root(bench: Bench) -> Path:
    return bench.folder


@pytest.fixture
def file() -> str:
    return "/bench/not-a-module.ko"


@SHIPPED
def test_the_digest_is_sha256_at_every_edge_of_its_blocks_and_of_a_read(
    ask: Ask, root: Path, file: str
) -> None:
    sizes = [0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 65535, 65536, 65537, 1_000_003]
    contents = [os.urandom(size) for size in sizes]
    for size, content in zip(sizes, contents, strict=True):
        (root / f"sys/kernel/btf/m{size}").write_bytes(content)
    _, *answers = ask(*(f"real m{size} {file}" for size in sizes))
    expected = [{"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for data in contents]
    assert [answer["btf"] for answer in answers] == expected


def test_a_long_name_is_a_name(ask: Ask, root: Path, file: str) -> None:
    """The marker's buffer was read beyond its end, and what lay there went to the kernel's log."""
    names = ["m" * size for size in (100, 228, 229, 255, 256, 1000, 5000, 60000)]
    _, *answers = ask(*(f"look {name} {file}" for name in names))
    assert [answer["name"] for answer in answers] == names
    assert (root / "dev/kmsg").read_text().splitlines() == [f"<4>kbtf-ci: load look {name}" for name in names]
    # No file can have a name of more than NAME_MAX: whether it is there was not observed.
    assert [answer.get("error") for answer in answers] == [None] * 4 + ["cannot read /sys/kernel/btf"] * 4


def test_a_line_that_is_longer_than_any_request_is_answered_in_pieces(ask: Ask, file: str) -> None:
    _, *answers = ask("x" * 200_000, f"real mod {file}")
    assert answers[-1]["name"] == "mod"
    assert all(answer["error"] for answer in answers[:-1])
    assert sum(len(answer["line"]) for answer in answers[:-1]) == 200_000


@pytest.mark.parametrize("mode", ["real", "inert", "carrier"])
def test_what_the_kernel_refuses_is_an_answer_and_no_error(ask: Ask, file: str, mode: str) -> None:
    _, answer = ask(f"{mode} mod {file}")
    assert answer["errno"] in NOT_A_MODULE
    assert (answer["name"], answer["mode"], answer["btf"]) == ("mod", mode, None)
    assert "error" not in answer


def test_the_marker_is_in_the_log_before_the_load_at_a_level_that_reaches_the_console(
    ask: Ask, root: Path, file: str
) -> None:
    _, answer = ask(f"inert mod {file}")
    assert (root / "dev/kmsg").read_text() == "<4>kbtf-ci: load inert mod\n"
    assert (answer["kmsg_before"], answer["kmsg"]) == ([], [])


def test_the_log_before_the_first_load_comes_first_record_by_record(ask: Ask, root: Path, file: str) -> None:
    (root / "dev/kmsg").write_bytes(
        b'6,0,0,-;Linux "version" \\x5c\n6,1,10,-;pci\n SUBSYSTEM=pci\n DEVICE=+pci:0\n4,2,20,-;\xff last\n'
    )
    first, _ = ask(f"real mod {file}")
    assert first == {
        "boot_kmsg": [
            '6,0,0,-;Linux "version" \\x5c',
            "6,1,10,-;pci\n SUBSYSTEM=pci\n DEVICE=+pci:0", "4,2,20,-;\xff last",
        ]
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["", " ", "real", "real mod", "real mod ", "real  /x", "carry mod /x", "real a/b /x", "real .. ", '"'],
)
def test_a_line_it_does_not_understand_is_answered_and_the_next_one_too(
    ask: Ask, file: str, line: str
) -> None:
    _, rejection, answer = ask(line, f"real mod {file}")
    assert rejection["line"] == line
    assert rejection["error"]
    assert answer["name"] == "mod"


@pytest.mark.parametrize("mode", ["real", "inert", "carrier"])
def test_a_module_that_it_cannot_read_is_our_error(ask: Ask, mode: str) -> None:
    _, answer = ask(f"{mode} mod /bench/none.ko")
    assert (answer["error"], answer["errno"]) == ("cannot read the module", errno.ENOENT)


def test_a_look_loads_nothing_and_tells_what_is_there(ask: Ask, root: Path) -> None:
    (root / "sys/kernel/btf/mod").write_bytes(b"btf")
    _, answer, other = ask("look mod /bench/none.ko", "look other /bench/none.ko")
    assert (answer["mode"], answer["errno"]) == ("look", 0)
    assert answer["btf"] == {"bytes": 3, "sha256": hashlib.sha256(b"btf").hexdigest()}
    assert (other["errno"], other["btf"]) == (0, None)
    assert "error" not in answer | other


def test_to_settle_loads_nothing_and_is_answered_with_the_log_since(ask: Ask) -> None:
    for options in ((), ("--once",)):
        _, answer = ask("settle - -", options=options)
        assert (answer["mode"], answer["errno"], answer["btf"]) == ("settle", 0, None)
        assert (answer["kmsg_before"], answer["kmsg"]) == ([], [])
        assert "error" not in answer


def test_once_leaves_what_it_only_looked_at(ask: Ask, root: Path) -> None:
    (root / "sys/kernel/btf/mod").write_bytes(b"btf")
    _, answer = ask("look mod /bench/none.ko", options=("--once",))
    assert "error" not in answer  # to unload what is not there would be one


def test_once_unloads_nothing_that_was_not_loaded(ask: Ask, file: str) -> None:
    _, answer = ask(f"carrier mod {file}", options=("--once",))
    assert answer["errno"] in NOT_A_MODULE
    assert "error" not in answer


@pytest.mark.parametrize(
    "words", [["--root"], ["--twice"], ["--portable"], ["--inert"], ["--inert", "a", "b"]]
)
def test_what_it_is_not_made_for_is_refused_with_its_usage(bench: Bench, words: list[str]) -> None:
    status, _, err = bench.probe(*words)
    assert (status, err[:13]) == (2, b"usage: probe ")


def test_btf_that_it_cannot_read_is_an_error_and_not_an_absence(ask: Ask, root: Path, file: str) -> None:
    (root / "sys/kernel/btf/mod").mkdir()
    _, answer = ask(f"real mod {file}")
    assert answer["error"] == "cannot read /sys/kernel/btf"


def test_without_a_kernel_log_it_says_so_and_stops(bench: Bench) -> None:
    status, _, err = bench.probe("--root", "/nowhere")
    assert status == 1
    assert re.search(rb"/nowhere/dev/kmsg: No such file", err)


def test_requests_that_cannot_be_read_are_no_end_of_them(bench: Bench) -> None:
    done = bench.sh(f"{_PROBE} --root /bench < /bench")
    assert done.status == 1
    assert "probe: standard input: Is a directory" in done.text


def test_answers_that_cannot_be_written_are_a_failure(bench: Bench, file: str) -> None:
    assert bench.sh(f"echo 'real mod {file}' | {_PROBE} --root /bench > /dev/full").status == 1


def test_answers_come_one_by_one(bench: Bench, file: str) -> None:
    done = bench.sh(f"""
        mkfifo to from; {_PROBE} --root /bench < to > from & exec 3> to 4< from; read -r first <&4
        for name in one two; do echo "real $name {file}" >&3; read -r answer <&4; echo "$answer"; done
    """)
    assert [json.loads(line)["name"] for line in done.text.splitlines()] == ["one", "two"]


MODULE_SOURCE = """
struct module { char name[56]; int (*init)(void); void (*exit)(void); };
extern int other(void);
int start(void) { return other(); }
void stop(void) { other(); }
struct module this_module __attribute__((section(".gnu.linkonce.this_module"))) = { "m", start, stop };
int (*elsewhere)(void) = start;
"""


def compiled(bench: Bench) -> Path:
    """Return a module's object file in the bench's folder."""
    (bench.folder / "module.c").write_text(MODULE_SOURCE)
    done = bench.sh("gcc -Wall -Wextra -Werror -c module.c -o module.o")
    assert done.status == 0, done.text
    return bench.folder / "module.o"


def without_size(data: bytes, index: int) -> bytes:
    """Return an ELF64 file whose section of that index has no bytes any more."""
    at = int.from_bytes(data[0x28:0x30], "little") + index * 64 + 32  # e_shoff, sh_size
    assert data[at : at + 8] != bytes(8)
    return data[:at] + bytes(8) + data[at + 8 :]


def test_inert_drops_the_relocations_of_init_and_exit_and_nothing_else(bench: Bench) -> None:
    module = compiled(bench)
    before = module.read_bytes()
    status, after, _ = bench.probe("--inert", "module.o")
    elf = ELFFile(io.BytesIO(before))
    section = elf.get_section_by_name(".rela.gnu.linkonce.this_module")
    assert isinstance(section, RelocationSection)
    assert section.num_relocations() == 2
    index = elf.get_section_index(section.name)
    assert index is not None
    assert (status, after) == (0, without_size(before, index))
    assert module.read_bytes() == before


SIGNATURE_MARK = b"~Module signature appended~\n"


def signed(data: bytes, said: int | None = None) -> bytes:
    """Append a signature of 70 bytes; ``said`` is another length to give for it."""
    length = (70 if said is None else said).to_bytes(4, "big")
    return data + bytes(range(70)) + bytes(8) + length + SIGNATURE_MARK


def test_inert_cuts_off_a_signature_that_would_not_fit_any_more(bench: Bench) -> None:
    module = compiled(bench)
    status, unsigned, _ = bench.probe("--inert", "module.o")
    plain = module.read_bytes()
    module.write_bytes(signed(plain))
    assert bench.probe("--inert", "module.o") == (status, unsigned, b"")
    for odd in (signed(plain, 1 << 31), signed(plain) + b"x", plain + SIGNATURE_MARK[1:]):
        module.write_bytes(odd)
        status, after, _ = bench.probe("--inert", "module.o")
        assert (status, len(after) <= len(odd), after[: len(unsigned)]) == (0, True, unsigned)


@pytest.mark.parametrize(("name", "kind", "size"), [(".rela", 4, 24), (".rel", 9, 16)])
def test_inert_knows_both_kinds_of_relocations(bench: Bench, name: str, kind: int, size: int) -> None:
    """The 32-bit architectures have theirs without addends."""
    data = bytearray(make_elf([(f"{name}.gnu.linkonce.this_module", b"\x11" * size * 2)]))
    table = int.from_bytes(data[0x28:0x30], "little")
    data[table + 64 + 4] = kind
    (bench.folder / "module.o").write_bytes(data)
    assert bench.probe("--inert", "module.o") == (0, without_size(bytes(data), 1), b"")


def test_a_module_without_init_and_exit_is_left_as_it_is(bench: Bench) -> None:
    status, out, _ = bench.probe("--inert", "not-a-module.ko")
    assert (status, out) == (0, (bench.folder / "not-a-module.ko").read_bytes())


@pytest.mark.parametrize(("at", "byte"), [(4, 1), (5, 2)], ids=["word size", "byte order"])
def test_another_machines_module_is_not_made_inert(ask: Ask, root: Path, at: int, byte: int) -> None:
    data = bytearray((root / "not-a-module.ko").read_bytes())
    data[at] = byte
    (root / "other.ko").write_bytes(data)
    _, answer = ask("inert other /bench/other.ko")
    assert (answer["errno"], answer["error"]) == (errno.ENOEXEC, "not an ELF object of this machine")


def test_broken_elf_files_are_refused_without_a_crash(bench: Bench) -> None:
    whole = compiled(bench).read_bytes()
    broken = [b"", b"\x7fELF", whole[:64], whole[: len(whole) // 2]]
    # e_shoff and all behind it, and every word of the section headers
    broken += [whole[:at] + b"\xff" + whole[at + 1 :] for at in range(0x28, 0x40)]
    table = int.from_bytes(whole[0x28:0x30], "little")
    broken += [whole[:at] + b"\xff" * 8 + whole[at + 8 :] for at in range(table, len(whole), 8)]
    (bench.folder / "broken").mkdir()
    for number, content in enumerate(broken):
        (bench.folder / f"broken/{number}").write_bytes(content)
    done = bench.sh(f"for file in broken/*; do {_PROBE} --inert $file > out 2> err; echo $?; done")
    assert set(done.text.split()) == {"0", "1"}
    assert len(done.text.split()) == len(broken)
