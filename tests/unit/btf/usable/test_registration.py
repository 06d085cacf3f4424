# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What kernels do with a set of kfuncs, from modules' bytes; kernel/bpf/btf.c of 6.1, 6.12, 7.2 and 7.3."""

from __future__ import annotations

import pytest

from kbtf_ci.btf.usable.kfuncs import unusable_in
from kbtf_ci.model.usable import Unusable
from kbtf_ci.model.version import Version
from tests.support import sketch as sk
from tests.support.kfunc_sets import ACQUIRE, FLAGGED, Kernel, Symbol, make_image, symbols_of

REGISTER, FMODRET = "register_btf_kfunc_id_set", "register_btf_fmodret_id_set"
VERSIONS: list[Version] = [(6, 1), (6, 12), (7, 2), (7, 3)]


@pytest.fixture
def module() -> Kernel:
    vmlinux = Kernel()
    vmlinux.function("of_vmlinux")
    return Kernel(vmlinux.btf)


def judged(
    kernel: Kernel,
    words: list[int],
    symbols: list[Symbol],
    version: Version = (6, 12),
    calls: tuple[str, ...] = (REGISTER,),
) -> list[Unusable]:
    return list(unusable_in(make_image(words, symbols, calls=calls), kernel.btf, version))


def told(found: list[Unusable]) -> list[tuple[str, str]]:
    return [(one.rule, one.kfunc) for one in found]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_sound_set_has_no_finding(module: Kernel, version: Version) -> None:
    one, two = module.function("one", module.int), module.function("two")
    for names in (["one", "two"], ["two", "one"]):
        assert judged(module, [2, FLAGGED, one, 0, two, 0], symbols_of("s", names), version) == []
    assert judged(module, [0, FLAGGED], symbols_of("empty", []), version) == []
    assert judged(module, [], [], version) == []


@pytest.mark.parametrize(
    ("version", "flags", "since", "effect"),
    [
        ((6, 12), 1, "6.4", "refuses the whole set (EINVAL"),
        ((6, 4), 0, "6.4", "refuses the whole set (EINVAL"),
        ((6, 1), 0, "6.1", "no program can call it"),
        ((5, 14), 1, "6.4", "refuses the whole set (EINVAL"),  # a distribution's, with the newer rules
    ],
)
def test_an_id_of_0_is_of_the_function_that_is_missing(
    module: Kernel, version: Version, flags: int, since: str, effect: str
) -> None:
    kept = module.function("kept")
    words = [2, flags, 0, 0, kept, 0]
    (one,) = judged(module, words, symbols_of("s", ["kept", "lost_one"]), version)
    assert (one.kfunc, one.set_name, one.rule, one.since) == ("lost_one", "s", "kfunc.id", since)
    assert effect in one.line


def test_without_symbols_an_id_of_0_has_no_name(module: Kernel) -> None:
    (bare,) = judged(module, [2, FLAGGED, 0, 0, module.function("kept"), 0], [])
    assert bare.line.startswith("a kfunc: its id is 0")


def test_a_set_without_one_known_id_is_told_by_its_symbol(module: Kernel) -> None:
    words = [2, FLAGGED, 0, 0, 0, 0]
    assert told(judged(module, words, symbols_of("s", ["a", "b"]))) == [("kfunc.id", "a"), ("kfunc.id", "b")]
    assert judged(module, words, []) == []  # any other words may be so


def test_each_id_is_that_of_a_function_with_a_prototype_and_a_name(module: Kernel) -> None:
    struct, kept = module.struct("some"), module.function("kept")
    symbols = symbols_of("s", ["kept", "other"])
    (one,) = judged(module, [2, FLAGGED, struct, 0, kept, 0], symbols)
    assert (one.rule, one.kfunc) == ("kfunc.func", "other")
    assert f"its id {struct} is of kind STRUCT" in one.line
    (behind,) = judged(module, [2, FLAGGED, kept, 0, 1 << 30, 0], symbols)
    assert "of no type" in behind.line
    bare = module.sketch.add(sk.FUNC, module.sketch.string("other"), module.int)
    (without,) = judged(module, [2, FLAGGED, kept, 0, bare, 0], symbols)
    assert (without.kfunc, without.rule) == ("other", "kfunc.func")
    assert "no prototype" in without.line
    (nameless,) = judged(module, [2, FLAGGED, kept, 0, module.function(""), 0], symbols)
    assert "has no name" in nameless.line


def test_without_symbols_one_of_many_that_is_no_function_is_found(module: Kernel) -> None:
    ids = [module.function("a"), module.function("b"), module.struct("s"), module.function("c")]
    words = [4, FLAGGED, *(word for type_id in ids for word in (type_id, 0))]
    assert told(judged(module, words, [])) == [("kfunc.func", "")]
    assert judged(module, [3, *words[1:4], *words[6:]], []) == []  # so few may be anything: b is gone
    assert judged(module, [3, FLAGGED, *words[4:]], []) == []


def test_a_set_has_the_functions_that_it_declares(module: Kernel) -> None:
    """As when its BTF was made again behind resolve_btfids: the ids are of functions, and of others."""
    one, other = module.function("one"), module.function("other")
    (found,) = judged(module, [2, FLAGGED, one, 0, other, 0], symbols_of("s", ["one", "mine"]))
    assert (found.rule, found.kfunc) == ("kfunc.stale", "mine")
    assert "has the id of other in its place" in found.line


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("count", "names"), [(0, "one, two"), (1, "two"), (3, "")])
def test_a_set_counts_what_it_declares(module: Kernel, version: Version, count: int, names: str) -> None:
    one, two = module.function("one"), module.function("two")
    words = [count, FLAGGED, one, 0, two, 0, 0, 0]
    for declared in (["one", "two"], ["two", "one"]):
        assert told(judged(module, words, symbols_of("s", declared), version)) == [("kfunc.count", names)]


@pytest.mark.parametrize("flags", [0, FLAGGED])
def test_a_set_that_resolve_btfids_never_saw_is_one_finding(module: Kernel, flags: int) -> None:
    assert told(judged(module, [0, flags, 0, 0], symbols_of("s", ["one"]), (6, 8))) == [
        ("kfunc.count", "one")
    ]


@pytest.mark.parametrize(
    ("functions", "version", "of_module", "rules"),
    [
        (257, (6, 12), True, ["kfunc.many"]),
        (256, (6, 12), True, []),
        (257, (6, 10), True, []),  # taken as it is, uncounted
        (257, (6, 10), False, ["kfunc.many"]),
    ],
)
@pytest.mark.parametrize("with_symbols", [False, True])
def test_a_set_has_no_more_functions_than_the_kernel_takes(
    module: Kernel, functions: int, version: Version, of_module: bool, rules: list[str], with_symbols: bool
) -> None:
    kernel = module if of_module else Kernel()
    names = [f"f{number}" for number in range(functions)]
    words = [functions, FLAGGED, *(word for name in names for word in (kernel.function(name), 0))]
    found = judged(kernel, words, symbols_of("s", names) if with_symbols else [], version)
    assert [one.rule for one in found] == rules
    assert all("has 257 functions, the kernel takes 256 (E2BIG" in one.why for one in found)


@pytest.mark.parametrize(
    ("version", "of_module", "names"),
    [
        ((6, 1), True, "three, one"),
        ((6, 10), True, "three, one"),
        ((6, 11), True, None),
        ((6, 1), False, None),
    ],
)
def test_before_6_11_a_module_s_set_is_searched_as_it_lies(
    module: Kernel, version: Version, of_module: bool, names: str | None
) -> None:
    """Halving looks at the middle one first, then before it for what is less: there lies what is more."""
    kernel = module if of_module else Kernel()
    one, two, three = (kernel.function(name) for name in ("one", "two", "three"))
    words = [3, FLAGGED, three, 0, two, 0, one, 0]
    found = judged(kernel, words, symbols_of("s", ["one", "two", "three"]), version)
    assert [one.kfunc for one in found if one.rule == "kfunc.order"] == ([names] if names else [])
    assert len(found) == bool(names)


@pytest.mark.parametrize(("version", "rules"), [((7, 2), ["kfunc.name"]), ((7, 1), [])])
def test_since_7_2_a_module_s_kfunc_has_no_name_of_a_function_of_vmlinux(
    module: Kernel, version: Version, rules: list[str]
) -> None:
    mine = module.function("of_vmlinux")
    assert [one.rule for one in judged(module, [1, FLAGGED, mine, 0], [], version)] == rules
    vmlinux = Kernel()
    itself = vmlinux.function("of_vmlinux")
    assert judged(vmlinux, [1, FLAGGED, itself, 0], [], version) == []


def test_a_type_of_vmlinux_may_have_a_kfunc_s_name() -> None:
    vmlinux = Kernel()
    vmlinux.struct("mine")
    module = Kernel(vmlinux.btf)
    assert judged(module, [1, FLAGGED, module.function("mine"), 0], [], (7, 3)) == []


@pytest.mark.parametrize(
    ("version", "flags", "calls", "rules"),
    [
        ((6, 12), 0, [REGISTER], ["kfunc.flag"]),
        ((6, 8), 0, [REGISTER], []),
        ((6, 12), 1, [REGISTER], []),
        ((6, 12), 0, ["printk"], []),
        ((6, 12), 0, [REGISTER, FMODRET], []),
    ],
)
@pytest.mark.parametrize("with_symbols", [False, True])
def test_a_module_that_registers_kfuncs_has_the_flag_in_its_sets(
    module: Kernel, version: Version, flags: int, calls: list[str], rules: list[str], with_symbols: bool
) -> None:
    words = [1, flags, module.function("mine"), 0]
    symbols = symbols_of("s", ["mine"]) if with_symbols else []
    assert told(judged(module, words, symbols, version, tuple(calls))) == [(rule, "mine") for rule in rules]


def test_symbols_tell_the_one_set_that_lacks_the_flag(module: Kernel) -> None:
    one, two = module.function("one"), module.function("two")
    words = [1, FLAGGED, one, 0, 1, 0, two, 0]
    symbols = [*symbols_of("s", ["one"]), *symbols_of("t", ["two"], at=16)]
    (found,) = judged(module, words, symbols)
    assert (found.rule, found.kfunc, found.set_name) == ("kfunc.flag", "two", "t")
    assert judged(module, words, []) == []  # another list may look so


@pytest.mark.parametrize("version", VERSIONS)
def test_where_symbols_name_no_set_there_is_none(module: Kernel, version: Version) -> None:
    """A list whose ids happen to look like a set."""
    words = [1, FLAGGED, module.function("of_vmlinux"), ACQUIRE]
    assert judged(module, words, [("__BTF_ID__struct__some__1", 0, 4)], version) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_flag_that_the_kernel_does_not_know_is_no_finding(module: Kernel, version: Version) -> None:
    assert judged(module, [1, FLAGGED, module.function("mine"), 1 << 19], [], version) == []
