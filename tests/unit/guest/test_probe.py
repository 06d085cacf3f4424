# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The probe itself, compiled on this machine, with files in place of the kernel's."""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import subprocess

import pytest
from elftools.elf.elffile import ELFFile

from kbtf_ci.infra.paths import shipped
from tests.conftest import unavailable
from tests.support.elf import make_elf

NOT_A_MODULE = {errno.EPERM, errno.ENOEXEC, errno.ENOSYS}


@pytest.fixture(scope="session")
def gcc():
    return shutil.which("gcc") or unavailable("gcc", "the probe is not tested: there is no gcc")


@pytest.fixture(scope="session")
def probe(gcc, tmp_path_factory):
    target = tmp_path_factory.mktemp("probe") / "probe"
    source = shipped("containers") / "guest/probe.c"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    subprocess.run([gcc, *flags, "-o", target, source], check=True)
    return target


@pytest.fixture
def root(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "sys/kernel/btf").mkdir(parents=True)
    (tmp_path / "dev/kmsg").write_bytes(b"")
    return tmp_path


@pytest.fixture
def ask(probe, root):
    def ask(*lines, options=()):
        done = subprocess.run(
            [probe, "--root", root, *options],
            input="".join(f"{line}\n" for line in lines).encode(),
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "not-a-module.ko"
    path.write_bytes(make_elf([(".modinfo", b"")]))
    return path


@pytest.mark.parametrize("size", [0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 65535, 65536, 65537, 1_000_003])
@pytest.mark.parametrize("portable", [False, True])
def test_the_digest_is_sha256_at_every_edge_of_its_blocks(ask, root, file, size, portable):
    content = os.urandom(size)
    (root / "sys/kernel/btf/mod").write_bytes(content)
    _, answer = ask(f"real mod {file}", options=["--portable"] if portable else [])
    assert answer["btf"] == {"bytes": size, "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("mode", ["real", "inert", "carrier"])
def test_what_the_kernel_refuses_is_an_answer_and_no_error(ask, file, mode):
    _, answer = ask(f"{mode} mod {file}")
    assert answer["errno"] in NOT_A_MODULE
    assert (answer["name"], answer["mode"], answer["btf"]) == ("mod", mode, None)
    assert "error" not in answer


def test_the_marker_is_in_the_log_before_the_load_at_a_level_that_reaches_the_console(ask, root, file):
    _, answer = ask(f"inert mod {file}")
    assert (root / "dev/kmsg").read_text() == "<4>kbtf-ci: load inert mod\n"
    assert (answer["kmsg_before"], answer["kmsg"]) == ([], [])


def test_the_log_before_the_first_load_comes_first_record_by_record(ask, root, file):
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
def test_a_line_it_does_not_understand_is_answered_and_the_next_one_too(ask, file, line):
    _, rejection, answer = ask(line, f"real mod {file}")
    assert rejection["line"] == line
    assert rejection["error"]
    assert answer["name"] == "mod"


@pytest.mark.parametrize("mode", ["real", "inert", "carrier"])
def test_a_module_that_it_cannot_read_is_our_error(ask, tmp_path, mode):
    _, answer = ask(f"{mode} mod {tmp_path}/none.ko")
    assert (answer["error"], answer["errno"]) == ("cannot read the module", errno.ENOENT)


def test_a_look_loads_nothing_and_tells_what_is_there(ask, root, tmp_path):
    (root / "sys/kernel/btf/mod").write_bytes(b"btf")
    _, answer, other = ask(f"look mod {tmp_path}/none.ko", f"look other {tmp_path}/none.ko")
    assert (answer["mode"], answer["errno"]) == ("look", 0)
    assert answer["btf"] == {"bytes": 3, "sha256": hashlib.sha256(b"btf").hexdigest()}
    assert (other["errno"], other["btf"]) == (0, None)
    assert "error" not in answer | other


def test_once_leaves_what_it_only_looked_at(ask, root, tmp_path):
    (root / "sys/kernel/btf/mod").write_bytes(b"btf")
    _, answer = ask(f"look mod {tmp_path}/none.ko", options=["--once"])
    assert "error" not in answer  # to unload what is not there would be one


def test_once_unloads_nothing_that_was_not_loaded(probe, root, file):
    done = subprocess.run(
        [probe, "--once", "--root", root],
        input=f"carrier mod {file}\n".encode(),
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout.splitlines()[1])
    assert answer["errno"] in NOT_A_MODULE
    assert "error" not in answer


@pytest.mark.parametrize("words", [["--root"], ["--twice"], ["--inert"], ["--inert", "a", "b"]])
def test_what_it_is_not_made_for_is_refused_with_its_usage(probe, words):
    done = subprocess.run([probe, *words], input=b"", capture_output=True, check=False)
    assert (done.returncode, done.stderr[:13]) == (2, b"usage: probe ")


def test_btf_that_it_cannot_read_is_an_error_and_not_an_absence(ask, root, file):
    (root / "sys/kernel/btf/mod").mkdir()
    _, answer = ask(f"real mod {file}")
    assert answer["error"] == "cannot read /sys/kernel/btf"


def test_without_a_kernel_log_it_says_so_and_stops(probe, tmp_path):
    done = subprocess.run([probe, "--root", tmp_path], input=b"", capture_output=True, check=False)
    assert done.returncode == 1
    assert re.search(rb"dev/kmsg: No such file", done.stderr)


def test_answers_come_one_by_one(probe, root, file):
    with subprocess.Popen(
        [probe, "--root", root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        process.stdout.readline()
        for name in ("one", "two"):
            process.stdin.write(f"real {name} {file}\n")
            assert json.loads(process.stdout.readline())["name"] == name
        process.stdin.close()


MODULE_SOURCE = """
struct module { char name[56]; int (*init)(void); void (*exit)(void); };
extern int other(void);
int start(void) { return other(); }
void stop(void) { other(); }
struct module this_module __attribute__((section(".gnu.linkonce.this_module"))) = { "m", start, stop };
int (*elsewhere)(void) = start;
"""


def test_inert_drops_the_relocations_of_init_and_exit_and_nothing_else(probe, gcc, tmp_path):
    module = tmp_path / "module.o"
    subprocess.run([gcc, "-c", "-x", "c", "-", "-o", module], input=MODULE_SOURCE.encode(), check=True)
    before = module.read_bytes()
    after = subprocess.run([probe, "--inert", module], capture_output=True, check=True).stdout
    section = ELFFile(io.BytesIO(before)).get_section_by_name(".rela.gnu.linkonce.this_module")
    assert section.num_relocations() == 2
    expected = bytearray(before)
    for number in range(2):
        at = section["sh_offset"] + number * section["sh_entsize"] + 8
        assert expected[at : at + 8] != bytes(8)
        expected[at : at + 8] = bytes(8)
    assert after == expected
    assert module.read_bytes() == before


def test_a_module_without_init_and_exit_is_left_as_it_is(probe, tmp_path):
    module = tmp_path / "module.ko"
    module.write_bytes(make_elf([(".modinfo", b"x")]))
    done = subprocess.run([probe, "--inert", module], capture_output=True, check=True)
    assert done.stdout == module.read_bytes()


def test_broken_elf_files_are_refused_without_a_crash(probe, gcc, tmp_path):
    module = tmp_path / "module.o"
    subprocess.run([gcc, "-c", "-x", "c", "-", "-o", module], input=MODULE_SOURCE.encode(), check=True)
    whole = module.read_bytes()
    broken = [b"", b"\x7fELF", whole[:64], whole[: len(whole) // 2]]
    # e_shoff and all behind it
    broken += [whole[:at] + b"\xff" + whole[at + 1 :] for at in range(0x28, 0x40)]
    for content in broken:
        module.write_bytes(content)
        done = subprocess.run([probe, "--inert", module], capture_output=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        assert b"Sanitizer" not in done.stderr, done.stderr
