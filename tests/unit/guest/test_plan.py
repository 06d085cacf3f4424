# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is loaded next."""

from __future__ import annotations

import pytest

from kbtf_ci.guest.plan import Batch, Plan
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import Death, LoadMode, LoadPolicy, Observation

REAL, INERT, CARRIER = LoadMode.REAL, LoadMode.INERT, LoadMode.CARRIER
A, B, C, D = (
    Module("a", "a.ko", 1, "", depends=("b",)),
    Module("b", "b.ko", 1, ""),
    Module("c", "c.ko", 1, "", depends=("a",)),
    Module("d", "d.ko", 1, ""),
)


def names(batch: Batch) -> list[str]:
    return [module.name for module in batch.modules]


def due(plan: Plan) -> Batch:
    """The next batch, where there is one."""
    batch = plan.next_batch()
    assert batch is not None
    return batch


def answer(plan: Plan, mode: LoadMode, **errnos: int) -> None:
    for name, errno in errnos.items():
        plan.record(Observation(name, mode, errno))


def test_auto_loads_all_for_real_behind_their_dependencies_then_inert_what_failed() -> None:
    plan = Plan([A, B, C, D], LoadPolicy.AUTO)
    batch = due(plan)
    assert (batch.mode, names(batch)) == (REAL, ["b", "a", "c", "d"])
    answer(plan, REAL, a=19, b=0, c=2, d=0)
    batch = due(plan)
    assert (batch.mode, names(batch)) == (INERT, ["a", "c"])
    answer(plan, INERT, a=0, c=0)
    assert plan.next_batch() is None


def test_a_module_whose_btf_was_refused_is_not_tried_inert() -> None:
    plan = Plan([B], LoadPolicy.AUTO)
    plan.record(Observation("b", REAL, 22, log=("failed to validate module [b] BTF: -22",)))
    assert plan.next_batch() is None


@pytest.mark.parametrize(
    ("policy", "mode"),
    [(LoadPolicy.REAL, REAL), (LoadPolicy.INERT, INERT), (LoadPolicy.CARRIER, CARRIER)],
)
def test_one_policy_is_one_mode(policy: LoadPolicy, mode: LoadMode) -> None:
    plan = Plan([B], policy)
    assert due(plan).mode is mode
    answer(plan, mode, b=19)
    assert plan.next_batch() is None


def test_a_new_guest_loads_the_dependencies_again_and_a_living_one_does_not() -> None:
    plan = Plan([A, B, C, D], LoadPolicy.AUTO)
    answer(plan, REAL, b=0, a=0, d=0)
    assert names(due(plan)) == ["c"]
    plan.new_guest()
    assert names(due(plan)) == ["b", "a", "c"]


def test_an_inert_module_finds_its_dependencies_that_only_an_earlier_guest_had_loaded() -> None:
    plan = Plan([A, B, D], LoadPolicy.AUTO)
    answer(plan, REAL, b=0, a=95)
    plan.record(Observation("d", REAL, death=Death.PANIC))
    plan.new_guest()
    batch = due(plan)
    assert (batch.mode, names(batch)) == (INERT, ["b", "a", "d"])


def test_what_only_helped_another_keeps_its_own_observation() -> None:
    plan = Plan([A, B], LoadPolicy.AUTO)
    answer(plan, REAL, b=0, a=95)
    plan.new_guest()
    assert not plan.record(Observation("b", INERT))
    assert plan.record(Observation("a", INERT))
    assert plan.next_batch() is None


def test_a_fresh_guest_leaves_out_the_dependency_that_killed_the_last_one() -> None:
    plan = Plan([A, B, C], LoadPolicy.AUTO)
    answer(plan, REAL, b=0)
    plan.record(Observation("a", REAL, death=Death.PANIC))
    plan.new_guest()
    assert names(due(plan)) == ["b", "c"]
    answer(plan, REAL, b=0, c=2)
    batch = due(plan)
    assert (batch.mode, names(batch)) == (INERT, ["a", "c"])


def test_a_module_that_kills_inert_too_is_not_tried_again() -> None:
    plan = Plan([B], LoadPolicy.AUTO)
    plan.record(Observation("b", REAL, death=Death.HANG))
    plan.record(Observation("b", INERT, death=Death.HANG))
    assert plan.next_batch() is None


def test_a_repeated_answer_is_no_news_but_a_later_death_is() -> None:
    plan = Plan([B], LoadPolicy.AUTO)
    assert plan.record(Observation("b", REAL))
    assert not plan.record(Observation("b", REAL, 17))
    assert plan.record(Observation("b", REAL, death=Death.OOPS))
    assert not plan.record(Observation("b", REAL, death=Death.OOPS))
    assert due(plan).mode is INERT


@pytest.mark.parametrize("policy", [LoadPolicy.AUTO, LoadPolicy.REAL, LoadPolicy.INERT, LoadPolicy.CARRIER])
def test_what_every_guest_has_loaded_by_itself_is_observed_once_as_real_and_in_no_other_mode(
    policy: LoadPolicy,
) -> None:
    plan = Plan([A, B], policy, present=frozenset({"a", "b"}))
    batch = due(plan)
    assert (batch.mode, names(batch)) == (REAL, ["a", "b"] if policy is LoadPolicy.CARRIER else ["b", "a"])
    answer(plan, REAL, a=0)
    plan.record(Observation("b", REAL, death=Death.PANIC))
    plan.new_guest()
    assert plan.next_batch() is None


def test_what_every_guest_has_loaded_helps_others_without_being_loaded_again() -> None:
    plan = Plan([A, B, C], LoadPolicy.INERT, present=frozenset({"b"}))
    answer(plan, REAL, b=0)
    assert names(due(plan)) == ["a", "c"]
    plan.new_guest()
    assert names(due(plan)) == ["a", "c"]


def test_carriers_need_no_order_and_no_dependencies() -> None:
    circle = Module("b", "b.ko", 1, "", depends=("a",))
    plan = Plan([D, circle, A, C], LoadPolicy.CARRIER)
    batch = due(plan)
    assert (batch.mode, names(batch)) == (CARRIER, ["d", "b", "a", "c"])
    answer(plan, CARRIER, d=22, b=0)
    plan.record(Observation("a", CARRIER, death=Death.OOPS))
    plan.new_guest()
    assert names(due(plan)) == ["c"]
