# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""modules.dep and modules.alias, as modprobe reads them."""

from __future__ import annotations

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.guest.modprobe import guest_file, modules_alias, modules_dep, with_soft_dependencies
from kbtf_ci.model.module import Module


def module(name: str, *depends: str, file: str = "") -> Module:
    return Module(name, file or f"kernel/{name}.ko", 1, "", depends=depends)


def needed(text: str) -> dict[str, list[str]]:
    lines = (line.split(":") for line in text.splitlines())
    return {file: rest.split() for file, rest in lines}


def test_each_module_names_all_below_it_the_first_to_be_loaded_last() -> None:
    chain = [module("a", "b", "d"), module("b", "c"), module("c"), module("d", "c")]
    found = needed(modules_dep(chain))
    assert found["kernel/c.ko"] == []
    assert found["kernel/b.ko"] == ["kernel/c.ko"]
    assert found["kernel/a.ko"] == ["kernel/d.ko", "kernel/b.ko", "kernel/c.ko"]


def test_what_two_need_is_named_once_and_behind_both() -> None:
    # Whichever of the two is named first: what both stand on is loaded before either.
    for order in (("b", "d"), ("d", "b")):
        found = needed(modules_dep([module("a", *order), module("b", "c"), module("c"), module("d", "b")]))
        assert found["kernel/a.ko"] == ["kernel/d.ko", "kernel/b.ko", "kernel/c.ko"]


def test_a_dependency_that_is_built_in_is_passed_over() -> None:
    assert modules_dep([module("a", "builtin")]) == "kernel/a.ko:\n"


def test_what_a_softdep_wants_in_before_is_a_dependency_by_name_or_alias() -> None:
    both = [module(name, "crypto_hash") for name in ("libcrc32c", "crc32c_generic")]
    modules = [*both, module("crypto_hash")]
    aliases = {"crc32c_generic": ("crc32c", "crypto-crc32c")}
    for words in ("pre: crc32c", "post: nosuch pre: crypto-crc32c", "pre: crc32c-generic nosuch"):
        found = needed(modules_dep(with_soft_dependencies(modules, {"libcrc32c": (words,)}, aliases)))
        assert found["kernel/libcrc32c.ko"] == ["kernel/crc32c_generic.ko", "kernel/crypto_hash.ko"]
    for words in ("post: crc32c", "crc32c", ""):
        found = needed(modules_dep(with_soft_dependencies(modules, {"libcrc32c": (words,)}, aliases)))
        assert found["kernel/libcrc32c.ko"] == ["kernel/crypto_hash.ko"]


def test_a_softdep_makes_no_circle() -> None:
    modules = [module("a", "b"), module("b"), module("c")]
    soft = {"b": ("pre: a",), "c": ("pre: c a",), "a": ("pre: c",)}
    found = with_soft_dependencies(modules, soft, {})
    assert {one.name: one.depends for one in found} == {"a": ("b", "c"), "b": (), "c": ()}


def test_a_circle_is_refused() -> None:
    with pytest.raises(UsageError, match="circle"):
        modules_dep([module("a", "b"), module("b", "a")])


def test_a_path_is_one_word_of_one_line() -> None:
    odd = module("odd", file="kernel/a b:\n#c\\'\udcff%.ko")
    assert guest_file(odd) == "kernel/a%20b%3A%0A%23c%5C%27%FF%25.ko"
    assert modules_dep([module("x", "odd"), odd]) == f"{guest_file(odd)}:\nkernel/x.ko: {guest_file(odd)}\n"


def test_a_plain_path_stays_as_it_is() -> None:
    plain = module("a", file="kernel/drivers/net/8139too-x_y+z~1,2.ko")
    assert guest_file(plain) == plain.file


def test_aliases_are_written_one_a_line_and_those_of_several_words_left_out() -> None:
    found = modules_alias({"ext2": ("fs-ext2",), "a": ("pci:v*d1*", "two words", "line\nend", ""), "b": ()})
    assert found == "alias fs-ext2 ext2\nalias pci:v*d1* a\n"
