# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the differential fuzzing itself rests on."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest

from kbtf_ci.btf.rules.check import Verdict
from kbtf_ci.model.outcome import Death, LoadMode, Observation
from tests.support import fuzz
from tests.support import sketch as sk
from tests.support.mutate import Mutant, mutants
from tests.support.sketch import Sketch, read
from tests.support.vmlinux import Vmlinux

BTF = b"the BTF"
FINE = Verdict(0, 0, "", (), BTF)
SEEN = Observation("m", LoadMode.CARRIER, 0, len(BTF), hashlib.sha256(BTF).hexdigest())
LINES = ("BPF: Invalid magic", "failed to validate module [m] BTF: -22")
REFUSED = Verdict(22, 22, "header.magic", LINES, None)
REFUSAL = Observation("m", LoadMode.CARRIER, 22, log=LINES)


def base() -> Sketch:
    sketch = Sketch(strings=bytearray(b"\0"))
    for kind in (sk.FLOAT, sk.ENUM, sk.ENUM64, sk.FWD, sk.STRUCT, sk.UNION):
        name = sketch.string(f"kind{kind}")
        sketch.add(kind, name, 0 if kind == sk.FWD else 8)
    sketch.add(sk.INT, sketch.string("int"), 4, 32)
    for text in ("twin", "twin"):
        sketch.add(sk.STRUCT, sketch.string(text), 8)
    sketch.add(sk.CONST, 0, 1)
    return sketch


def module(vmlinux: Vmlinux) -> bytes:
    sketch = Sketch(vmlinux.types, len(vmlinux.strings))
    members = (sketch.string("a"), 1, 0, sketch.string("b"), 2, 32)
    sketch.add(sk.STRUCT, sketch.string("own"), 8, *members, vlen=2)
    sketch.add(sk.PTR, 0, sketch.first_id)
    proto = sketch.add(sk.FUNC_PROTO, 0, 0, sketch.string("p"), sketch.first_id + 1, vlen=1)
    sketch.add(sk.FUNC, sketch.string("function"), proto)
    sketch.add(sk.ARRAY, 0, 0, 1, 1, 3)
    return sketch.bytes()


@pytest.fixture(scope="module")
def vmlinux() -> Vmlinux:
    return Vmlinux(base().bytes())


def made(vmlinux: Vmlinux, seed: int, count: int) -> list[Mutant]:
    return list(mutants(seed, count, {"m": module(vmlinux), "other": module(vmlinux)}, vmlinux))


def test_a_seed_and_a_number_make_the_same_mutant_every_time(vmlinux: Vmlinux) -> None:
    assert made(vmlinux, 7, 50) == made(vmlinux, 7, 80)[:50]
    assert made(vmlinux, 7, 50) != made(vmlinux, 8, 50)


def test_mutants_are_not_what_they_came_from_and_say_why(vmlinux: Vmlinux) -> None:
    many = made(vmlinux, 1, 3000)
    changed = [mutant for mutant in many if mutant.base is None]
    assert all(mutant.text for mutant in many)
    assert sum(mutant.btf == module(vmlinux) for mutant in changed) < len(changed) // 20
    assert len({mutant.btf for mutant in changed}) > len(changed) // 2


def test_a_sketch_is_written_as_it_was_read(vmlinux: Vmlinux) -> None:
    own = module(vmlinux)
    assert read(own, vmlinux.types, len(vmlinux.strings)).bytes() == own
    magic, version, flags, header, *_ = struct.unpack_from("<HBBI", own)
    assert (magic, version, flags, header) == (0xEB9F, 1, 0, 24)


def test_agreement_is_told() -> None:
    assert not fuzz.differs(FINE, SEEN)
    assert not fuzz.differs(REFUSED, REFUSAL)


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        (FINE, Observation("m", LoadMode.CARRIER, 22, log=LINES)),
        (FINE, Observation("m", LoadMode.CARRIER, 0, len(BTF), "another digest")),
        (FINE, Observation("m", LoadMode.CARRIER)),
        (FINE, Observation("m", LoadMode.CARRIER, death=Death.OOPS)),
        (FINE, Observation("m", LoadMode.CARRIER, 0, SEEN.sysfs_bytes, SEEN.sysfs_sha256, ("BPF: a word",))),
        (REFUSED, Observation("m", LoadMode.CARRIER, 7, log=LINES)),
        (REFUSED, Observation("m", LoadMode.CARRIER, 22, log=LINES[:1])),
        (REFUSED, Observation("m", LoadMode.CARRIER, 22, log=LINES[::-1])),
        (REFUSED, Observation("m", LoadMode.CARRIER, 22, log=(LINES[0] + " ", LINES[1]))),
        (REFUSED, Observation("m", LoadMode.CARRIER, 22, log=(*LINES, "one more"))),
    ],
)
def test_every_difference_is_told(said: Verdict, seen: Observation) -> None:
    assert fuzz.differs(said, seen)


def test_a_line_that_dev_kmsg_cuts_is_held_to_what_it_gives() -> None:
    name = "\N{REPLACEMENT CHARACTER}" * 900

    def differs(seen: str) -> bool:
        said = Verdict(22, 22, "struct.name", (f"BPF: [1] STRUCT {name}",), None)
        return fuzz.differs(said, Observation("m", LoadMode.CARRIER, 22, log=(seen,)))

    assert not differs(f"BPF: [1] STRUCT {name[:500]}\\x")
    assert differs(f"BPF: [2] STRUCT {name[:500]}\\x")
    assert differs(f"BPF: [1] STRUCT {name[:100]}")


def test_disagreements_are_kept_for_another_run(tmp_path: Path) -> None:
    kept = [Mutant("ext2", "one", b"\x9f\xeb\0", None), Mutant("", "two", None, b"")]
    fuzz.save(
        tmp_path / "kept", [fuzz.Disagreement(f"m{n}", one, FINE, REFUSAL) for n, one in enumerate(kept)]
    )
    assert list(fuzz.load(tmp_path / "kept")) == [("m0", kept[0]), ("m1", kept[1])]
