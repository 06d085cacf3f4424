# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci diagnose`` as a user calls it: texts in, exit codes, JSON, and the offline check's word."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kbtf_ci.commands.main import main
from tests.support import images, pair
from tests.support.schemas import valid

REFUSED = (
    "[    5.000001] BPF: [103111] FUNC  \n[    5.000002] BPF: type_id=9\n[    5.000003] BPF:  \n"
    "[    5.000004] BPF: Invalid name\n[    5.000005] BPF: \n"
    "[    5.000006] failed to validate module [m] BTF: -22\n"
)
HEALTHY = "[    0.000000] Linux version 6.12.1 (x) #1 SMP\n[    2.000000] usb 1-1: new device\n"
MODINFO = b"vermagic=6.12.107+deb13-amd64 SMP \0intree=Y\0name=m\0"


def call(*words: str | Path, given: str | bytes = "") -> Result:
    done = CliRunner().invoke(main, ["diagnose", *map(str, words)], input=given)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done


def document(*words: str | Path, given: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call("--json", *words, given=given).stdout)
    valid("diagnose", found)
    return found


def test_standard_input_is_read_and_explained() -> None:
    done = call(given=REFUSED)
    assert done.exit_code == 0
    assert "Refused: the BTF of m EINVAL (-22), by func.name" in done.stdout
    assert "<stdin>:6: failed to validate module [m] BTF: -22" in done.stdout
    assert "1. likely: module and vmlinux come from two builds of one version (class 1)" in done.stdout
    assert call("-", given=REFUSED).stdout == done.stdout


def test_quiet_is_the_conclusion_alone() -> None:
    done = call("-q", given=REFUSED)
    assert done.stdout == "m: class 1, module and vmlinux come from two builds of one version.\n"


def test_nothing_of_btf_is_one() -> None:
    done = call(given=HEALTHY)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (1, "Nothing here shows BTF at fault.")
    prose = call(given="hello\n")
    assert prose.exit_code == 1
    assert "Nothing here shows BTF at fault: there is no line of a kernel" in prose.stdout
    assert "dmesg" in prose.stdout


def test_the_document_has_lines_with_their_places(tmp_path: Path) -> None:
    log = tmp_path / "dmesg.txt"
    log.write_text(HEALTHY + REFUSED)
    found = document(log)
    (refusal,) = found["refusals"]
    assert (refusal["module"], refusal["errno"], refusal["checks"]) == ("m", -22, ["func.name"])
    assert refusal["lines"][-1] == {
        "file": str(log),
        "line": 8,
        "boot": 1,
        "text": "failed to validate module [m] BTF: -22",
    }
    assert found["conclusion"] == "explained"
    assert (found["causes"][0]["class"], found["causes"][0]["likelihood"]) == (1, "likely")
    assert found["kernels"] == ["6.12.1"]


def test_several_files_are_several_boots(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text(HEALTHY)
    second.write_text(REFUSED)
    found = document(first, second)
    assert found["boots"] == 2
    assert found["causes"][0]["boots"] == [2]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_packed_log_is_unpacked(tmp_path: Path, pack: Any) -> None:
    log = tmp_path / "dmesg.gz"
    log.write_bytes(pack(REFUSED.encode()))
    assert call(log).exit_code == 0


def test_bad_input_is_one_clear_line(tmp_path: Path) -> None:
    empty, binary, elf = tmp_path / "empty", tmp_path / "binary", tmp_path / "vmlinux"
    empty.write_bytes(b"\n \n")
    binary.write_bytes(bytes(range(256)) * 9)
    elf.write_bytes(b"\x7fELF" + b"\0" * 60)
    broken = tmp_path / "log.gz"
    broken.write_bytes(gzip.compress(REFUSED.encode())[:-20])
    for words, said in (
        (("no/such.log",), "no/such.log: cannot be read: No such file or directory"),
        ((tmp_path,), "it is a folder"),
        ((empty,), "it is empty"),
        ((binary,), "binary is no log"),
        ((elf,), "an ELF file is no log"),
        ((broken,), "cannot be unpacked as gzip"),
        (("--no-such-option",), "No such option"),
    ):
        done = call(*words)
        assert done.exit_code == 2, words
        assert said in done.stderr
    assert "give text: dmesg" in call(binary).stderr
    assert call(given="").exit_code == 2


def test_a_terminal_is_not_steered_by_a_log() -> None:
    done = call(given=REFUSED.replace("FUNC", "FUNC \x07\x9b2J"))
    assert "\x07" not in done.stdout
    assert "\x9b" not in done.stdout


class Bench:
    """A kernel, and a module of its own or of another."""

    def __init__(self, folder: Path) -> None:
        self.base = pair.vmlinux()
        self.vmlinux = folder / "vmlinux"
        self.vmlinux.write_bytes(images.vmlinux(self.base.bytes(), config=b"CONFIG_SMP=y\n"))
        self.module = folder / "m.ko"

    def put(self, btf: bytes) -> None:
        self.module.write_bytes(images.module(btf=btf, base=None, modinfo=MODINFO))

    def found(self, text: str) -> dict[str, Any]:
        return document("--vmlinux", self.vmlinux, "--modules", self.module, given=text)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_files_contradict_the_text(bench: Bench) -> None:
    bench.put(pair.split(bench.base).bytes())
    found = bench.found(REFUSED)
    (proof,) = found["proofs"]
    assert (proof["module"], proof["agrees"]) == ("m", False)
    assert "takes its BTF" in proof["text"]
    done = call("--vmlinux", bench.vmlinux, "--modules", bench.module, given=REFUSED)
    assert f"contradicts m ({bench.module})" in done.stdout


def test_the_files_confirm_the_text(bench: Bench) -> None:
    whole = pair.split(bench.base).bytes()
    bench.put(whole[:-1])
    text = REFUSED.replace("Invalid name", "Total section length too long")
    (proof,) = bench.found(text)["proofs"]
    assert proof["agrees"] is True
    assert "REJECTED EINVAL (-22) by sections.length" in proof["text"]


def test_the_files_show_what_the_text_does_not(bench: Bench) -> None:
    bench.put(pair.split(bench.base).bytes()[:-1])
    found = bench.found(HEALTHY)
    assert found["conclusion"] == "explained"
    assert found["proofs"][0]["agrees"] is None
    assert "the files do: m: truncated" in found["summary"]


def test_one_of_both_files_is_not_enough(bench: Bench) -> None:
    bench.put(b"")
    for words in (("--vmlinux", bench.vmlinux), ("--modules", bench.module)):
        done = call(*words, given=REFUSED)
        assert done.exit_code == 2
        assert "wants both a kernel and its modules" in done.stderr
