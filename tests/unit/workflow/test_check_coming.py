# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is coming is named by ``kbtf-ci check``: kinds above 19, ``.BTF.extra``, CONFIG_DEBUG_INFO_BTF=m.

Kinds and section names as proposed on bpf@vger.kernel.org: locations of inlined functions (8 October 2025),
vmlinux BTF as a module (23 September 2026).
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kbtf_ci.commands.main import main
from kbtf_ci.errors import UsageError
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadMode, ModuleResult, Observation, Outcome
from kbtf_ci.model.prediction import Prediction, disagreements
from kbtf_ci.objfile.files import KernelFile
from kbtf_ci.workflow.subject import _healthy
from tests.support import images, pair
from tests.support import sketch as sk
from tests.support.images import Part
from tests.support.sketch import Sketch

RELEASE = "6.12.107+deb13-amd64"
LOC_PARAM, LOC_PROTO, LOCSEC = 20, 21, 22
# struct btf_layout of kinds 0 to 22: 8 bytes follow LOC_PARAM, an entry of LOC_PROTO has 4, of LOCSEC 16.
LAYOUT = b"".join(
    struct.pack("<BBH", *{LOC_PARAM: (8, 0), LOC_PROTO: (0, 4), LOCSEC: (0, 16)}.get(kind, (0, 0)), 0)
    for kind in range(23)
)


def check(*words: Path | str) -> Result:
    done = CliRunner().invoke(main, ["check", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done


def modules(*words: Path | str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(check("--json", *words).stdout)["modules"]}


def kernel_that_knows(last: int) -> Sketch:
    """A vmlinux whose BTF says how far its kinds go."""
    base = pair.vmlinux()
    base.add(sk.ENUM, 0, 4, base.string("BTF_KIND_MAX"), last, vlen=1)
    return base


def locations(sketch: Sketch) -> Sketch:
    """Add a LOC_PARAM, a LOC_PROTO that names it, and a LOCSEC of one location."""
    param = sketch.raw(0, sk.info(LOC_PARAM), 8, 5, 0)
    proto = sketch.raw(0, sk.info(LOC_PROTO, 1), 0, param)
    sketch.raw(sketch.string("inlined"), sk.info(LOCSEC, 1), 0, 0, 0, proto, 0x10)
    return sketch


def with_layout(sketch: Sketch) -> bytes:
    """Put the sketch together with a layout section behind its strings, from a multiple of 4 on (7.1)."""
    sketch.strings += bytes(-len(sketch.strings) % 4)
    offset = len(sketch.types()) + len(sketch.strings)
    sketch.more_header, sketch.behind = struct.pack("<II", offset, len(LAYOUT)), LAYOUT
    return sketch.bytes()


class Place:
    """A folder with a kernel and modules."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vmlinux = folder / "vmlinux"
        self.tree = folder / "modules"
        self.tree.mkdir()

    def kernel(self, btf: bytes) -> Path:
        self.vmlinux.write_bytes(images.vmlinux(btf, config=b"CONFIG_SMP=y\n"))
        return self.vmlinux

    def module(self, name: str, btf: bytes, *more: Part) -> Path:
        info = f"vermagic={RELEASE} SMP \0intree=Y\0name={name}\0".encode()
        path = self.tree / f"{name}.ko"
        path.write_bytes(images.module(btf=btf, base=None, modinfo=info))
        if more:
            this = (
                Part(".gnu.linkonce.this_module", bytes(0x500)),
                Part(".symtab", bytes(24), images.SYMTAB),
            )
            path.write_bytes(images.build([Part(".modinfo", info), *more, *this, Part(".BTF", btf)]))
        return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_kernel_that_does_not_know_a_kind_refuses_it_and_the_others_go_on(place: Place) -> None:
    base = kernel_that_knows(19)
    place.kernel(base.bytes())
    split = pair.split(base)
    first = split.end_id
    place.module("newer", locations(split).bytes())
    place.module("healthy", pair.split(base).bytes())
    found = modules("--vmlinux", place.vmlinux, place.tree)
    assert {name: one["outcome"] for name, one in found.items()} == {
        "newer": "REJECTED",
        "healthy": "VERIFIED",
    }
    one = found["newer"]
    assert (one["errno"], one["rule"], one["cause"]) == (-22, "type.kind", "newer pahole")
    assert one["kernel_log"][0] == f"BPF: [{first}] Invalid kind:20"
    assert f"type [{first}] of kind 20 (LOC_PARAM, as proposed upstream)" in one["advice"]
    assert "up to 19 (ENUM64)" in one["advice"]


def test_a_kind_of_a_later_kernel_is_named_with_its_own_name(place: Place) -> None:
    place.kernel(pair.vmlinux().bytes())
    split = pair.split(pair.vmlinux())
    split.add(sk.ENUM64, 0, 8)
    place.module("m", split.bytes())
    done = check("--vmlinux", place.vmlinux, "--kernel-version", "5.15", place.tree)
    assert "kind 19 (ENUM64), and this kernel knows kinds up to 16 (FLOAT)" in done.stdout
    assert "newer pahole: Its BTF has type" in done.stdout


def test_a_kind_that_nobody_proposed_may_be_damage(place: Place) -> None:
    place.kernel(kernel_that_knows(19).bytes())
    split = pair.split(kernel_that_knows(19))
    split.raw(0, sk.info(27), 0)
    place.module("m", split.bytes())
    assert modules("--vmlinux", place.vmlinux, place.tree)["m"]["cause"] == "newer pahole or damaged"


def test_what_a_newer_kernel_may_take_is_not_judged(place: Place) -> None:
    base = kernel_that_knows(22)
    place.kernel(base.bytes())
    place.module("newer", locations(pair.split(base)).bytes())
    place.module("healthy", pair.split(base).bytes())
    broken = pair.split(base)
    broken.add(sk.FUNC, 0, 0)  # without a name, before the kind that is not known
    place.module("broken", locations(broken).bytes())
    beyond = pair.split(base)
    beyond.raw(0, sk.info(23), 0)
    place.module("beyond", beyond.bytes())
    found = modules("--vmlinux", place.vmlinux, place.tree)
    assert {name: (one["outcome"], one["rule"]) for name, one in found.items()} == {
        "newer": ("UNREADABLE", "kind.newer"),
        "healthy": ("VERIFIED", ""),
        "broken": ("REJECTED", "func.name"),
        "beyond": ("REJECTED", "type.kind"),
    }
    assert found["newer"]["cause"] == "newer than kbtf-ci"
    assert "was not judged" in found["newer"]["advice"]
    forced = modules("--vmlinux", place.vmlinux, "--kernel-version", "6.12", place.tree)
    assert forced["newer"]["outcome"] == "REJECTED"


def test_a_kernel_that_ends_for_us_at_a_newer_kind_is_one_clear_line(place: Place) -> None:
    base = kernel_that_knows(22)
    first = base.end_id
    place.kernel(locations(base).bytes())
    for words in ((), (place.module("m", pair.split(base).bytes()),)):
        done = check("--vmlinux", place.vmlinux, *words)
        assert done.exit_code == 2
        assert (
            f"{place.vmlinux}: BTF type [{first}]: its kind is not known: kind 20 (LOC_PARAM" in done.stderr
        )
        assert "take a newer kbtf-ci" in done.stderr
        assert "Traceback" not in done.output


def test_vmlinux_of_newer_kinds_that_its_kernel_does_not_know_is_refused(place: Place) -> None:
    base = locations(pair.vmlinux())
    place.kernel(base.bytes())
    place.module("m", pair.split(base).bytes())
    done = check("--vmlinux", place.vmlinux, place.tree)
    assert done.exit_code == 1
    assert "(type.kind: [204] Invalid kind:20)" in done.stdout
    assert f"{place.vmlinux}: BTF type [204]: its kind is not known: kind 20 (LOC_PARAM" in done.stderr


def test_with_a_layout_section_newer_kinds_of_vmlinux_are_stepped_over(place: Place) -> None:
    base = kernel_that_knows(22)
    place.kernel(with_layout(locations(base)))
    split = pair.split(base)
    place.module("healthy", split.bytes())
    place.module("newer", locations(pair.split(base)).bytes())
    # The header with a layout section is judged by the version: 7.1 reads it.
    for path in (place.vmlinux, *place.tree.iterdir()):
        data = path.read_bytes().replace(b"Linux version 6.12.", b"Linux version 7.30.")
        path.write_bytes(data.replace(b"vermagic=6.12.", b"vermagic=7.30."))
    done = check("--vmlinux", place.vmlinux, place.tree)
    assert "and 2 more of such kinds, not known to kbtf-ci: stepped over, not judged" in done.stderr
    found = modules("--vmlinux", place.vmlinux, place.tree)
    assert {name: one["outcome"] for name, one in found.items()} == {
        "healthy": "VERIFIED",
        "newer": "UNREADABLE",
    }


def test_no_prediction_is_no_disagreement() -> None:
    module = Module("m", "m.ko", 4, "00")
    seen = Observation("m", LoadMode.REAL, sysfs_bytes=4, sysfs_sha256="00")
    result = ModuleResult(module, Outcome.VERIFIED, seen)
    assert disagreements([Prediction("m", "m.ko", Outcome.UNREADABLE)], [result]) == ()
    assert len(disagreements([Prediction("m", "m.ko", Outcome.REJECTED)], [result])) == 1


def test_cases_of_a_kernel_that_cannot_be_read_name_its_file() -> None:
    file = KernelFile(
        Path("some/bzImage"), locations(pair.vmlinux()).bytes(), RELEASE, "", None, "bzImage", ""
    )
    with pytest.raises(UsageError, match=r"^some/bzImage: BTF type \[204\]: .*kind 20"):
        list(_healthy([], file))


def test_extra_btf_is_named_and_not_mistaken_for_btf(place: Place) -> None:
    base = kernel_that_knows(19)
    place.kernel(base.bytes())
    btf = pair.split(base).bytes()
    extra = Part(".BTF.extra", locations(pair.split(base)).bytes())
    place.module("m", btf, extra)
    done = check("--vmlinux", place.vmlinux, place.tree)
    assert (
        f"1 modules hold a .BTF.extra section ({len(extra.data)} bytes), which is not judged" in done.stdout
    )
    one = modules("--vmlinux", place.vmlinux, place.tree)["m"]
    assert (one["btf_bytes"], one["extra_bytes"], one["outcome"]) == (len(btf), len(extra.data), "VERIFIED")


def kernel_without_btf(place: Place, meta: bytes, sections: tuple[Part, ...] = ()) -> None:
    banner = f"Linux version {RELEASE} (b@h) #1 SMP\n\0".encode()
    parts = [Part(".rodata", banner), Part(".BTF.meta", meta), *sections]
    place.vmlinux.write_bytes(images.build(parts, kind=images.EXEC))


def meta_of(btf: bytes) -> bytes:
    return struct.pack("<I", len(btf)) + hashlib.sha256(btf).digest()


def test_btf_vmlinux_is_the_base_where_the_kernel_has_none(place: Place) -> None:
    base = pair.vmlinux()
    kernel_without_btf(place, meta_of(base.bytes()))
    place.module("m", pair.split(base).bytes())
    done = check("--vmlinux", place.vmlinux, place.tree)
    assert done.exit_code == 2
    assert "a kernel of CONFIG_DEBUG_INFO_BTF=m, whose BTF is in btf_vmlinux.ko" in done.stderr
    carrier = place.module("btf_vmlinux", base.bytes())
    done = check("--vmlinux", place.vmlinux, place.tree)
    assert done.exit_code == 0, done.output
    assert "1 accepted" in done.stdout
    assert f"{carrier}: its .BTF is taken for vmlinux's; it is not judged as a module's" in done.stderr
    done = check("--vmlinux", carrier, place.tree)
    assert (done.exit_code, "1 accepted" in done.stdout) == (0, True), done.output


@pytest.mark.parametrize("other", ["size", "content"])
def test_btf_vmlinux_of_another_kernel_is_refused(place: Place, other: str) -> None:
    base = pair.vmlinux()
    wanted = base.bytes() + b"\0" if other == "size" else base.bytes()[:-1] + b"x"
    kernel_without_btf(place, meta_of(wanted))
    place.module("m", pair.split(base).bytes())
    carrier = place.module("btf_vmlinux", base.bytes())
    done = check("--vmlinux", place.vmlinux, place.tree)
    assert done.exit_code == 2
    assert f"{carrier}: its .BTF ({len(base.bytes()):,} bytes) is not the one that .BTF.meta" in done.stderr


def test_btf_vmlinux_beside_a_kernel_with_btf_is_held_against_it(place: Place) -> None:
    """Of =m the vmlinux file keeps its .BTF, which is not loaded."""
    base = pair.vmlinux()
    place.kernel(base.bytes())
    place.module("m", pair.split(base).bytes())
    place.module("btf_vmlinux", base.bytes())
    assert "its .BTF is taken for vmlinux's" in check("--vmlinux", place.vmlinux, place.tree).stderr
    place.module("btf_vmlinux", kernel_that_knows(19).bytes())
    done = check("--vmlinux", place.vmlinux, place.tree)
    assert "is not vmlinux's, and the kernel would not take it" in done.stderr
    assert "1 accepted" in done.stdout


def test_any_other_module_is_no_kernel(place: Place) -> None:
    path = place.module("m", pair.vmlinux().bytes())
    done = check("--vmlinux", path, path)
    assert (done.exit_code, "not a kernel: its ELF type is ET_REL" in done.stderr) == (2, True)
