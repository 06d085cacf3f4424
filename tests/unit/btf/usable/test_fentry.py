# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is predicted of fentry programs: each rule of btf_distill_func_proto(), and what comes behind it."""

from __future__ import annotations

import pytest

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.usable.fentry import functions
from kbtf_ci.model.proof import Function, StructArgument, Traceable
from kbtf_ci.objfile.tracing import Place, Places
from tests.support import sketch as sk

INT_32 = 32
EVERYWHERE = Places({"f": Place(1, 16, 8)}, frozenset({"begin"}), {1: [20]})


class Module:
    """Split BTF over a vmlinux of a few types, whose ids are attributes."""

    def __init__(self) -> None:
        base = sk.Sketch(strings=bytearray(b"\0"))
        self.int = base.add(sk.INT, base.string("int"), 4, INT_32)
        self.wide = base.add(sk.INT, base.string("__int128"), 16, 128)
        self.large = base.add(sk.STRUCT, base.string("large"), 24)
        self.pair = base.add(sk.STRUCT, base.string("pair"), 16)
        self.choice = base.add(sk.UNION, base.string("choice"), 8)
        self.fwd = base.add(sk.FWD, base.string("opaque"))
        self.float = base.add(sk.FLOAT, base.string("double"), 8)
        self.to_large = base.add(sk.PTR, 0, self.large)
        self.base = Btf.parse(base.bytes())
        self.own = sk.Sketch(base.end_id, len(base.strings))

    def function(self, *arguments: int, returns: int = 0, name: str = "f") -> int:
        parameters = [word for argument in arguments for word in (0, argument)]
        proto = self.own.add(sk.FUNC_PROTO, 0, returns, *parameters, vlen=len(arguments))
        return self.own.add(sk.FUNC, self.own.string(name), proto)

    def predicted(self, places: Places = EVERYWHERE) -> list[Function]:
        return list(functions(Btf.parse(self.own.bytes(), self.base), places))


@pytest.fixture
def module() -> Module:
    return Module()


@pytest.mark.parametrize(
    ("name", "places", "traceable"),
    [
        ("f", EVERYWHERE, Traceable.ATTACHABLE),
        ("f", Places({"f": Place(1, 16, 4)}, frozenset(), {1: [20]}), Traceable.NO_LOCATION),
        ("f", Places({"f": Place(2, 16, 8)}, frozenset(), {1: [20]}), Traceable.NO_LOCATION),
        ("begin", EVERYWHERE, Traceable.INIT),
        ("f", Places({"f.isra.0": Place(1, 16, 8)}, frozenset(), {1: [20]}), Traceable.SUFFIX),
        ("gone", EVERYWHERE, Traceable.SUFFIX),
    ],
)
def test_symbols_say_whether_there_is_something_to_attach_to(
    module: Module, name: str, places: Places, traceable: Traceable
) -> None:
    type_id = module.function(name=name)
    assert module.predicted(places) == [Function(type_id, name, traceable)]


def test_arguments_that_point_to_structs_are_read_in_the_slots_where_they_are(module: Module) -> None:
    const = module.own.add(sk.CONST, 0, module.choice)
    to_const = module.own.add(sk.PTR, 0, const)
    to_int, to_void = module.own.add(sk.PTR, 0, module.int), module.own.add(sk.PTR, 0, 0)
    to_fwd, to_pointer = module.own.add(sk.PTR, 0, module.fwd), module.own.add(sk.PTR, 0, module.to_large)
    alias = module.own.add(sk.TYPEDEF, module.own.string("alias"), module.to_large)
    module.function(
        module.int, module.to_large, module.pair, to_const, to_int, to_void, to_fwd, to_pointer, alias
    )
    (one,) = module.predicted()
    # The struct by value, the third, takes two slots.
    assert one.arguments == (
        StructArgument(1, 1, module.large),
        StructArgument(3, 4, module.choice),
        StructArgument(8, 9, module.large),
    )


@pytest.mark.parametrize(
    ("argument", "refused"),
    [
        ("int", False), ("pair", False), ("wide", False), ("large", True), ("choice", True), ("fwd", True),
        ("float", True),
    ],
)  # fmt: skip
def test_an_argument_has_a_size_that_the_kernel_takes(module: Module, argument: str, refused: bool) -> None:
    module.function(getattr(module, argument))
    assert (module.predicted()[0].traceable is Traceable.SIGNATURE) == refused


@pytest.mark.parametrize(
    ("returned", "refused"),
    [("int", False), ("to_large", False), ("large", True), ("choice", True), ("fwd", True), ("float", True)],
)
def test_no_struct_is_returned_by_value(module: Module, returned: str, refused: bool) -> None:
    module.function(returns=getattr(module, returned))
    assert (module.predicted()[0].traceable is Traceable.SIGNATURE) == refused


def test_variadic_functions_and_those_of_more_than_twelve_arguments_are_refused(module: Module) -> None:
    module.function(module.int, 0)
    module.function(*[module.int] * 12)
    module.function(*[module.int] * 13)
    found = [one.traceable for one in module.predicted()]
    assert found == [Traceable.SIGNATURE, Traceable.ATTACHABLE, Traceable.SIGNATURE]


def test_what_leads_nowhere_or_in_a_circle_is_refused_and_ends(module: Module) -> None:
    circle = module.own.end_id
    module.own.add(sk.CONST, 0, circle)
    module.function(circle)
    module.own.add(sk.FUNC, module.own.string("g"), 0xFFFFF)
    module.own.add(sk.FUNC, module.own.string("h"), module.int)
    assert {one.traceable for one in module.predicted()} == {Traceable.SIGNATURE}
