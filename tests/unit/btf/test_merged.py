# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules looked at together: the same said of each as when it is alone, whoever its neighbours are."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.predict import merged
from kbtf_ci.btf.predict.assess import Assessment, Assessor
from kbtf_ci.btf.rules.versions import Rules
from kbtf_ci.objfile.files import KernelFile, ModuleFile
from tests.support import sketch as sk
from tests.support.edges import edges
from tests.support.mutate import mutants
from tests.support.sketch import Sketch
from tests.support.smallbase import small_base, small_module
from tests.support.vmlinux import Vmlinux

MUTANTS = [100, pytest.param(1000, marks=pytest.mark.full)]


def base() -> bytes:
    return small_base().bytes()


def module(btf: bytes | None, distilled: bytes | None = None) -> ModuleFile:
    return ModuleFile(
        path=Path("m.ko"), name="m", btf=btf, base=distilled, vermagic="", modinfo={}, depends=(),
        this_module_bytes=1, init_offset=None, exit_offset=None, btf_ids_bytes=0, signed=False,
        has_symbols=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def vmlinux() -> Vmlinux:
    return Vmlinux(base())


def assessor_of(btf: bytes, version: tuple[int, int] = (6, 12)) -> Assessor:
    file = KernelFile(
        path=Path("vmlinux"), btf=btf, release="", banner="", config=None, kind="raw", build_id=""
    )
    return Assessor.of(file, Rules.for_version(version), {})


@pytest.fixture(scope="module")
def assessor() -> Assessor:
    return assessor_of(base())


def told(one: Assessment) -> tuple[object, ...]:
    """Everything that an assessment says."""
    verdict = replace(one.verdict, btf=None)
    return (
        one.outcome,
        one.loader_check,
        verdict,
        one.base_mismatch,
        one.verdict.btf and one.verdict.btf.kinds,
    )


def whole(btf: bytes, assessor: Assessor) -> Btf:
    part = merged.whole_btf(module(btf), assessor.kernel)
    assert part is not None
    return part


def fine_together(assessor: Assessor, *several: bytes) -> bool:
    parts = [whole(btf, assessor) for btf in several]
    assert assessor.targets
    return merged.are_fine(parts, assessor.kernel, assessor.targets)


def test_healthy_modules_are_fine_together(assessor: Assessor, vmlinux: Vmlinux) -> None:
    several = [small_module(vmlinux, f"own{number}").bytes() for number in range(5)]
    assert all(assessor.assess(module(btf)).is_fine for btf in several)
    assert fine_together(assessor, *several)


@pytest.mark.parametrize("number", MUTANTS)
def test_each_is_said_of_together_what_is_said_alone(
    assessor: Assessor, vmlinux: Vmlinux, number: int
) -> None:
    """Between two that are fine, so that whatever leads out of a module would find something there."""
    good = small_module(vmlinux).bytes()
    made = [edge.mutant for edge in edges(vmlinux)]
    made += mutants(3, number, {"m": good, "other": small_module(vmlinux, "other").bytes()}, vmlinux)
    alone = refused = 0
    for mutant in made:
        one = module(mutant.btf, mutant.base)
        expected = assessor.assess(one)
        found = list(assessor.assess_all([module(good), one, module(good)]))
        assert told(found[1]) == told(expected), mutant.text
        assert found[0].is_fine
        assert found[2].is_fine
        refused += not expected.is_fine
        alone += merged.whole_btf(one, assessor.kernel) is None
    assert refused - alone > 200, "hardly any was left to the checks of the whole"


def test_many_at_once_are_told_apart(assessor: Assessor, vmlinux: Vmlinux) -> None:
    good = small_module(vmlinux).bytes()
    made = list(mutants(4, 40, {"m": good, "other": good}, vmlinux))
    several = [module(one.btf, one.base) for one in made] + [module(good)] * 40
    random.Random(1).shuffle(several)
    together = [told(one) for one in assessor.assess_all(several)]
    assert together == [told(assessor.assess(one)) for one in several]
    assert 1 < sum(not one.is_fine for one in assessor.assess_all(several)) < 79


@pytest.mark.parametrize("order", [1, -1])
def test_an_id_behind_a_modules_types_finds_no_neighbours(
    assessor: Assessor, vmlinux: Vmlinux, order: int
) -> None:
    sketch = small_module(vmlinux)
    sketch.add(sk.PTR, 0, sketch.end_id + 1)
    several = [sketch.bytes(), small_module(vmlinux).bytes()][::order]
    assert not fine_together(assessor, *several)


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_behind_a_modules_strings_finds_no_neighbours(
    assessor: Assessor, vmlinux: Vmlinux, order: int
) -> None:
    sketch = small_module(vmlinux)
    sketch.add(sk.STRUCT, sketch.end_name, 4)
    several = [sketch.bytes(), small_module(vmlinux).bytes()][::order]
    assert not fine_together(assessor, *several)


def test_the_whole_has_each_parts_types_and_names(assessor: Assessor, vmlinux: Vmlinux) -> None:
    several = [small_module(vmlinux, name) for name in ("one", "two")]
    parts = [whole(one.bytes(), assessor) for one in several]
    together = merged.merge(parts)
    count = len(parts[0].records)
    assert len(together.records) == 2 * count
    for number, part in enumerate(parts):
        first = together.start_id + number * count
        names = [part.name(type_id) for type_id in range(part.start_id, part.nr_types)]
        assert [together.name(type_id) for type_id in range(first, first + count)] == names
    # CONST, the second: of the struct before it, in its own part.
    assert together.records.value[[1, count + 1]].tolist() == [together.start_id, together.start_id + count]
    assert [one.bytes() for one in several] == [
        part_bytes(part, one) for part, one in zip(parts, several, strict=True)
    ]


def part_bytes(part: Btf, sketch: Sketch) -> bytes:
    """The part's words as they are now, in the sketch's header and strings: merging must not touch them."""
    data = sketch.bytes()
    words = part.records.words.astype("<u4").tobytes()
    return data[:24] + words + data[24 + len(words) :]


def test_more_than_a_btf_can_hold_is_left_to_each(
    assessor: Assessor, vmlinux: Vmlinux, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = [small_module(vmlinux).bytes()] * 2
    monkeypatch.setattr(merged, "MAX_TYPE", vmlinux.types + 10)
    assert not fine_together(assessor, *several)
    monkeypatch.undo()
    monkeypatch.setattr(merged, "MAX_NAME_OFFSET", len(vmlinux.strings) + 10)
    assert not fine_together(assessor, *several)


def test_btf_with_a_base_of_its_own_is_looked_at_alone(assessor: Assessor, vmlinux: Vmlinux) -> None:
    one = module(small_module(vmlinux).bytes(), distilled=b"x")
    assert merged.whole_btf(one, assessor.kernel) is None
    assert merged.whole_btf(one, assessor_of(base(), (6, 10)).kernel) is not None


def test_a_kernel_whose_btf_is_refused_refuses_all(vmlinux: Vmlinux) -> None:
    assessor = assessor_of(base()[:-1])
    found = list(assessor.assess_all([module(small_module(vmlinux).bytes())] * 2))
    assert [one.verdict.rule for one in found] == ["vmlinux.missing"] * 2


def test_no_modules_are_no_assessments(assessor: Assessor) -> None:
    assert list(assessor.assess_all([])) == []
