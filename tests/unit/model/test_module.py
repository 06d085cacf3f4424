# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.model.module import Module, closure, dependency_order


def module(name: str, *depends: str) -> Module:
    return Module(name, f"kernel/{name}.ko", 1, "aa", depends=depends)


MODULES = [module("a", "z"), module("b"), module("z", "y", "builtin"), module("y")]


def test_dependencies_come_first() -> None:
    assert [m.name for m in dependency_order(MODULES)] == ["y", "z", "a", "b"]


def test_a_circle_is_refused() -> None:
    with pytest.raises(UsageError, match="a -> b -> a"):
        dependency_order([module("a", "b"), module("b", "a")])


def test_closure_holds_what_a_module_needs() -> None:
    assert closure(["a"], MODULES) == {"a", "z", "y"}
