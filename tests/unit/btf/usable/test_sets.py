# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Sets of kfuncs as they are read from .BTF_ids, with symbols and by their shape."""

from __future__ import annotations

import pytest

from kbtf_ci.btf.usable.sets import KfuncSet, Symbols, declared_sets, id_words, shaped_sets
from kbtf_ci.objfile.elf import PlacedSymbol
from tests.support.kfunc_sets import ACQUIRE, IMPLICIT, Kernel, Symbol, make_image, pack, symbols_of


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def declared(kernel: Kernel, words: list[int], symbols: list[Symbol]) -> list[KfuncSet]:
    read = Symbols.of(PlacedSymbol(*symbol) for symbol in symbols)
    return list(declared_sets(words, kernel.btf, read))


@pytest.mark.parametrize("order", ["<", ">"])
def test_without_symbols_a_set_is_told_by_its_flag_and_functions_that_ascend(
    kernel: Kernel, order: str
) -> None:
    one, two, three = (kernel.function(name) for name in ("one", "two", "three"))
    section = pack(7, one, 0, 2, 1, one, ACQUIRE, two, 0, 9, 1, 1, three, IMPLICIT, order=order)
    sets = list(shaped_sets(id_words(section, order), kernel.btf))
    assert [(found.offset, found.name) for found in sets] == [(12, ""), (40, "")]
    assert [[kfunc.name for kfunc in found.kfuncs] for found in sets] == [["one", "two"], ["three"]]
    assert [kfunc.flags for found in sets for kfunc in found.kfuncs] == [ACQUIRE, 0, IMPLICIT]


def test_what_only_looks_like_a_set_is_none(kernel: Kernel) -> None:
    one, two = kernel.function("one"), kernel.function("two")
    proto = two - 1
    for words in (
        [2, 0, one, 0, two, 0],  # another's flags
        [2, 1, two, 0, one, 0],  # descending
        [2, 1, one, 0, one, 0],  # twice the same
        [1, 1, proto, 0],  # no function
        [3, 1, one, 0, two, 0, two + 9, 0],  # one of few that is none
        [1, 1, 0, 0],  # nothing known
        [3, 1, one, 0, two, 0],  # behind the end
        [1, 1, one, 1 << 20],  # no kfunc's flags
        [1 << 31, 1, one, 0],
        [1, 1],
        [],
    ):
        assert list(shaped_sets(words, kernel.btf)) == [], words
    assert list(shaped_sets(id_words(pack(1, 1, one, 0) + b"\1\0", "<"), kernel.btf))


def test_one_of_many_ids_may_be_no_function_s_and_no_two(kernel: Kernel) -> None:
    first = [kernel.function(f"f{number}") for number in range(3)]
    struct = kernel.struct("s")
    last = [kernel.function(f"g{number}") for number in range(2)]

    def words(*ids: int) -> list[int]:
        return [len(ids), 1, *(word for type_id in ids for word in (type_id, 0))]

    (found,) = shaped_sets(words(*first, struct, *last), kernel.btf)
    assert [kfunc.name for kfunc in found.kfuncs] == ["f0", "f1", "f2", "", "g0", "g1"]
    assert list(shaped_sets(words(*first, last[0] - 1, struct + 9), kernel.btf)) == []


def test_a_symbol_tells_a_set_whatever_is_in_it(kernel: Kernel) -> None:
    one, two = kernel.function("one"), kernel.function("two")
    words = [5, 2, 0, two, 0, one, ACQUIRE]
    (found,) = declared(kernel, words, symbols_of("my_set", ["one", "two"], at=4))
    assert (found.offset, found.name, found.flags, found.count) == (4, "my_set", 0, 2)
    assert [(kfunc.type_id, kfunc.name) for kfunc in found.kfuncs] == [(two, "two"), (one, "one")]
    assert found.declared == ("one", "two")


def test_how_many_functions_a_set_declares_is_the_size_of_its_symbol(kernel: Kernel) -> None:
    one, two = kernel.function("one"), kernel.function("two")
    words = [0, 1, one, 0, two, 0]
    (found,) = declared(kernel, words, symbols_of("s", ["one", "two"]))
    assert (found.count, len(found.kfuncs)) == (0, 2)
    (bare,) = declared(kernel, [1, *words[1:]], [("__BTF_ID__set8__s", 0, 0)])
    assert (bare.count, [kfunc.name for kfunc in bare.kfuncs]) == (1, ["one"])


@pytest.mark.parametrize(("offset", "size"), [(2, 16), (-8, 16), (24, 16), (20, 16), (1 << 40, 16)])
def test_a_set_s_symbol_outside_the_section_is_passed_over(kernel: Kernel, offset: int, size: int) -> None:
    assert (
        declared(kernel, [1, 1, kernel.function("one"), 0, 0, 0], [("__BTF_ID__set8__s", offset, size)]) == []
    )


@pytest.mark.parametrize(("count", "size"), [(1, 1 << 40), (1 << 31, 0), (3, 0)])
def test_functions_behind_the_end_are_not_read(kernel: Kernel, count: int, size: int) -> None:
    (found,) = declared(kernel, [count, 1, kernel.function("one"), 0], [("__BTF_ID__set8__s", 0, size)])
    assert (found.count, found.kfuncs) == (count, ())


def test_what_has_no_name_of_its_own_gets_the_one_that_is_left(kernel: Kernel) -> None:
    """Sorted by their ids, entries do not lie at their symbols: an id of 0 comes first."""
    kept, other = kernel.function("kept"), kernel.function("other")
    words = [3, 1, 0, 0, kept, 0, other, 0]
    (found,) = declared(kernel, words, symbols_of("s", ["kept", "lost__one", "other"]))
    assert [kfunc.name for kfunc in found.kfuncs] == ["lost__one", "kept", "other"]
    (unsure,) = declared(kernel, words, symbols_of("s", ["kept", "lost", "lost2"]))
    assert unsure.kfuncs[0].name == ""


def test_functions_of_lists_are_those_in_no_set(kernel: Kernel) -> None:
    one = kernel.function("one")
    image = make_image(
        [1, 1, one, 0, one],
        [*symbols_of("s", ["one"]), ("list", 16, 0), ("__BTF_ID__func__a_dtor__7", 16, 4)],
    )
    symbols = Symbols.of(image.symbols_in(".BTF_ids"))
    sets = list(declared_sets(id_words(image.section(".BTF_ids") or b"", "<"), kernel.btf, symbols))
    assert list(symbols.outside(sets)) == [(16, "a_dtor")]
