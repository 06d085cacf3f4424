# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from kbtf_ci.errors import ExitCode, GuestError, InfrastructureError
from kbtf_ci.kernel.accounts import Call
from kbtf_ci.kernel.measure import parse
from kbtf_ci.kernel.modfinal import rule_of
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.regeneration import (
    Boot,
    Finding,
    ModuleState,
    Ran,
    Rule,
    Scenario,
    Served,
    TreeState,
    Usage,
    judge,
)
from kbtf_ci.report.regen import Setting, document, text

FIRST = TreeState("base", {name: ModuleState(f"{name}-dwarf", f"{name}-btf") for name in ("a.ko", "b.ko")})
COST = Usage(10.0, 8.0, 2.0, 2048, 1.0, 4.0, base_link_cpu_s=0.5, modules_link_cpu_s=0.25)
ALL = frozenset(FIRST.modules)
NONE: frozenset[str] = frozenset()


def ran(linked: Iterable[str] = NONE, written: Iterable[str] = NONE, vmlinux: bool = False) -> Ran:
    return Ran(frozenset(linked), frozenset(written), vmlinux, COST)


def with_module(state: TreeState, name: str, **values: str) -> TreeState:
    return replace(state, modules={**state.modules, name: replace(state.modules[name], **values)})


def found(
    scenario: Scenario,
    did: Ran,
    before: TreeState = FIRST,
    after: TreeState = FIRST,
    rule: Rule = Rule.KEPT,
    check: dict[str, str] | None = None,
) -> Finding:
    return judge(scenario, rule, (FIRST, before, after), did, check or {})


def test_nothing_changed_and_nothing_done_is_as_expected() -> None:
    finding = found(Scenario.NOTHING, ran())
    assert (finding.due, finding.missed, finding.stale, finding.unnecessary) == ((), (), (), ())
    assert finding.as_expected


def test_a_touched_vmlinux_makes_all_work_needless() -> None:
    finding = found(Scenario.TOUCHED, ran(written=ALL))
    assert (finding.due, finding.unnecessary) == ((), ("a.ko", "b.ko"))
    assert finding.as_expected


def test_another_base_is_due_everywhere_and_what_kept_its_btf_is_stale() -> None:
    after = replace(FIRST, base="other")
    finding = found(Scenario.BTF_CHANGED, ran(written=["a.ko"], vmlinux=True), after=after)
    assert finding.due == ("a.ko", "b.ko")
    assert finding.missed == finding.stale == ("b.ko",)
    assert not finding.as_expected


def test_a_second_resolve_btfids_on_the_same_btf_is_told() -> None:
    after = with_module(FIRST, "b.ko", ids="others")
    finding = found(Scenario.TOUCHED, ran(written=ALL), after=after)
    assert (finding.btf_ids_reordered, finding.stale) == (("b.ko",), ())
    told = "\n".join(text(SETTING, [finding]))
    assert "kfunc flags are no longer where they were in .BTF_ids of b.ko" in told
    new = with_module(after, "b.ko", btf="new")
    assert found(Scenario.TOUCHED, ran(written=ALL), after=new).btf_ids_reordered == ()


def test_a_module_of_other_debug_information_is_the_only_one_due() -> None:
    after = with_module(FIRST, "b.ko", inputs="new", btf="new")
    finding = found(Scenario.SOURCE_CHANGED, ran(["b.ko"], ["b.ko"]), after=after)
    assert (finding.due, finding.missed, finding.unnecessary) == (("b.ko",), (), ())
    assert finding.as_expected


def test_a_linked_module_that_kept_nothing_is_bare_and_not_stale() -> None:
    after = with_module(FIRST, "b.ko", inputs="new", btf="")
    finding = found(Scenario.SOURCE_CHANGED, ran(["b.ko"], []), after=after)
    assert (finding.missed, finding.stale, finding.lost_btf) == (("b.ko",), (), ("b.ko",))


def test_a_module_that_was_deleted_or_stripped_before_is_due() -> None:
    gone = replace(FIRST, modules={"a.ko": FIRST.modules["a.ko"]})
    assert found(Scenario.DELETED, ran(["b.ko"], ["b.ko"]), before=gone).due == ("b.ko",)
    bare = with_module(FIRST, "b.ko", btf="")
    finding = found(Scenario.STRIPPED, ran(), before=bare, after=bare)
    assert (finding.due, finding.missed, finding.stale, finding.lost_btf) == (
        ("b.ko",),
        ("b.ko",),
        (),
        ("b.ko",),
    )


def test_another_pahole_is_missed_but_its_btf_still_belongs_to_this_vmlinux() -> None:
    finding = found(Scenario.PAHOLE_CHANGED, ran())
    assert (finding.missed, finding.stale) == (("a.ko", "b.ko"), ())


def test_what_the_offline_check_complains_of_is_stale_though_make_wrote_it() -> None:
    finding = found(Scenario.TOUCHED, ran(written=ALL), check={"a.ko": "of another vmlinux"})
    assert finding.stale == ("a.ko",)


@pytest.mark.parametrize(
    ("rule", "scenario", "expected"),
    [
        (Rule.KEPT, Scenario.TOUCHED, (0, 2)),
        (Rule.RELINKED, Scenario.TOUCHED, (2, 2)),
        (Rule.FORGOTTEN, Scenario.TOUCHED, (0, 0)),
        (Rule.RELINKED, Scenario.BTF_CHANGED, (2, 2)),
        (Rule.RELINKED, Scenario.NOTHING, (0, 0)),
        (Rule.KEPT, Scenario.SOURCE_CHANGED, (1, 1)),
        (Rule.KEPT, Scenario.DELETED, (1, 1)),
        (Rule.KEPT, Scenario.STRIPPED, (0, 0)),
        (Rule.KEPT, Scenario.PAHOLE_CHANGED, (0, 0)),
    ],
)
def test_each_kernels_own_rule_says_what_to_expect(
    rule: Rule, scenario: Scenario, expected: tuple[int, int]
) -> None:
    assert found(scenario, ran(), rule=rule).expected == expected


_WITH = "$(and $(CONFIG_DEBUG_INFO_BTF_MODULES),$(KBUILD_BUILTIN),{}) FORCE"


@pytest.mark.parametrize(
    ("prerequisite", "recipe", "rule"),
    [
        ("vmlinux", "+$(call if_changed_except,ld_ko_o,vmlinux)", Rule.KEPT),
        ("$(objtree)/vmlinux", "+$(call if_changed_except,ld_ko_o,vmlinux)", Rule.KEPT),
        (
            "$(objtree)/vmlinux",
            "+$(call if_changed_except,ld_ko_o,$(objtree)/vmlinux)",
            Rule.RELINKED,
        ),  # 6.13
        ("$(objtree)/vmlinux", "+$(call if_changed_except,ld_ko_o,$(objtree)/vmlinux vmlinux)", Rule.KEPT),
        ("$(objtree)/vmlinux", "+$(call if_changed,ld_ko_o)", Rule.RELINKED),
        ("", "+$(call if_changed,ld_ko_o)", Rule.FORGOTTEN),
        ("scripts/vmlinux.lds", "+$(call if_changed,ld_ko_o)", Rule.FORGOTTEN),
    ],
)
def test_the_rule_is_read_off_the_makefile(prerequisite: str, recipe: str, rule: Rule) -> None:
    assert rule_of(f"# x\n%.ko: %.o %.mod.o {_WITH.format(prerequisite)}\n\t{recipe}\n") is rule


@pytest.mark.parametrize(
    ("line", "linked"),
    [("  LD      vmlinux", True), ("  LD      vmlinux.unstripped", True), ("  LD      vmlinux.o", False)],
)
def test_the_link_of_vmlinux_is_known_by_its_line(line: str, linked: bool) -> None:
    calls = [Call("make", "make", 7.0, 2.0, 6.0, 900)]
    assert parse(f"  CC      init/version.o\n{line}\n", calls).vmlinux is linked


def test_makes_output_and_the_accounts_are_taken_apart() -> None:
    output = (
        "make: Entering directory '/src'\n  LD      vmlinux\n  LD [M]  fs/a.ko\n  BTF [M] fs/a.ko\n"
        "  BTF [M] b.ko\n  BTF     .tmp_vmlinux1.btf.o\n  CC [M]  fs/a.o\n"
    )
    calls = [
        Call("base", ".tmp_vmlinux1", 3.0, 1.0, 2.0, 500),
        Call("miss", "fs/a.ko", 0.5, 0.25, 1.0, 50),
        Call("hit", "b.ko", 0.125, 0.0, 0.1, 5),
        Call("ids", "fs/a.ko", 0.0625, 0.0, 0.1, 5),
        Call("ids", "vmlinux", 0.5, 0.5, 0.1, 5),
        Call("link", "fs/a.ko", 0.03125, 0.0, 0.1, 5),
        Call("link", ".tmp_vmlinux1", 0.25, 0.25, 0.1, 5),
        Call("link", "vmlinux", 0.25, 0.25, 0.1, 5),
        Call("make", "make", 7.0, 2.0, 6.0, 900),
    ]
    got = parse(output, calls)
    assert got.linked == {"fs/a.ko"}
    assert got.written == {"fs/a.ko", "b.ko"}
    assert got.vmlinux is True
    assert got.usage == Usage(
        6.0, 7.0, 2.0, 900, 5.0, 0.9375, 1.0, 0.03125, hits=1, misses=1, modules_ids_cpu_s=0.0625
    )
    assert got.usage.rest_cpu_s == pytest.approx(9.0 - 5.0 - 0.9375 - 1.0 - 0.03125)


def test_a_make_that_left_no_account_is_an_error() -> None:
    with pytest.raises(InfrastructureError, match="cost was not told: make: done"):
        parse("make: done", [])


SETTING = Setting("6.12.3", 2, 2, 2, Rule.KEPT, cache=False)


def test_the_table_has_a_row_a_scenario_and_the_commits_own_beside_it() -> None:
    idle = found(Scenario.NOTHING, ran())
    touched = found(Scenario.TOUCHED, replace(ran(written=ALL), usage=replace(COST, user_s=9.0)))
    lines = list(text(SETTING, [idle, touched]))
    row = next(line for line in lines if line.startswith("vmlinux-touched"))
    assert row.split()[1:] == [
        "0",
        "2",
        "0",
        "0",
        "2",
        "10.0",
        "9.0",
        "2.0",
        "4.0",
        "1.0",
        "0.2",
        "0.5",
        "5.2",
        "2",
    ]
    commit, here = (
        next(line for line in lines if line.startswith(name)).split() for name in ("commit", "here")
    )
    # (123.69 + 27.85 - 27.65 - 10.96) s over 700 modules.
    assert commit[1:] == ["56", "60", "700", "4.933", "9.675", "38.61", "151.54", "161"]
    assert here[1:] == ["2", "2", "2", "10.000", "10.000", "10.00", "11.00", "500"]


def test_stale_btf_is_told_by_name_and_with_the_checks_word() -> None:
    after = replace(FIRST, base="other")
    finding = found(Scenario.BTF_CHANGED, ran(), after=after, check={"a.ko": "of another vmlinux"})
    told = "\n".join(text(SETTING, [finding]))
    assert "STALE vmlinux-btf-changed: a.ko, b.ko" in told
    assert "the offline check says so of 1 of 2: a.ko: of another vmlinux" in told
    assert "not what the rule predicts, 0 LD [M] and 2 BTF [M]" in told
    (entry,) = document(SETTING, [finding])["scenarios"]
    assert (entry["stale"], entry["expected"]) == (["a.ko", "b.ko"], {"linked": 0, "written": 2})


def test_a_boot_tells_of_the_stale_modules_what_became_of_them() -> None:
    after = replace(FIRST, base="other")
    finding = found(Scenario.BTF_CHANGED, ran(written=["b.ko"]), after=after)
    outcomes = {"a.ko": Outcome.REJECTED, "b.ko": Outcome.VERIFIED}
    booted = replace(finding, boot=Boot("tcg", 4.0, outcomes, disagreements=("b.ko",)))
    told = "\n".join(text(SETTING, [booted]))
    assert "    a boot (tcg) says of 1: 1 REJECTED; the check predicted otherwise of b.ko" in told
    loaded = replace(booted, boot=Boot("tcg", 4.0, {"a.ko": Outcome.VERIFIED}))
    told = "\n".join(text(SETTING, [loaded]))
    assert "    a boot (tcg) says of 1: 1 taken unnoticed; the check predicted each" in told
    (entry,) = document(SETTING, [booted])["scenarios"]
    assert entry["boot"]["outcomes"] == {"a.ko": "REJECTED", "b.ko": "VERIFIED"}
    assert booted.exit_code is ExitCode.NOT_VERIFIED


@pytest.mark.parametrize(
    ("boot", "code"),
    [
        (None, ExitCode.VERIFIED),
        (Boot("tcg", 4.0, {"a.ko": Outcome.VERIFIED, "b.ko": Outcome.NO_BTF}), ExitCode.VERIFIED),
        (Boot("tcg", 4.0, {"a.ko": Outcome.DROPPED}), ExitCode.NOT_VERIFIED),
        (Boot("", 0.0, {"a.ko": Outcome.NOT_REACHED}, error=GuestError("it hung")), ExitCode.GUEST_DIED),
    ],
)
def test_where_nothing_is_stale_the_boot_decides(boot: Boot | None, code: ExitCode) -> None:
    finding = replace(found(Scenario.TOUCHED, ran(written=ALL)), boot=boot)
    assert finding.exit_code is code
    told = "\n".join(text(SETTING, [finding]))
    assert ("a boot (tcg) says" in told) is (boot is not None and boot.error is None)
    assert ("a boot ended early (1 NOT_REACHED of 1): it hung" in told) is (code is ExitCode.GUEST_DIED)


def test_a_server_has_a_row_of_its_own_and_other_btf_from_it_is_a_failure() -> None:
    usage = replace(COST, modules_cpu_s=1.0, served=1, fallbacks=1)
    served = Served(replace(ran(written=ALL), usage=usage), ())
    finding = replace(found(Scenario.TOUCHED, ran(written=ALL)), server=served)
    assert finding.exit_code == ExitCode.VERIFIED
    told = "\n".join(text(SETTING, [finding]))
    row = next(line for line in told.splitlines() if line.startswith("  by a server"))
    assert row.split()[3:9] == ["0", "2", "10.0", "8.0", "2.0", "1.0"]
    assert "1 modules by the server, 1 by pahole itself in its place; 4.0 s -> 1.0 s" in told
    assert "0.25 of the CPU time" in told
    wrong = replace(finding, server=replace(served, differing=("a.ko",)))
    assert wrong.exit_code == ExitCode.NOT_VERIFIED
    assert "DIFFERENT vmlinux-touched: a.ko got other BTF" in "\n".join(text(SETTING, [wrong]))
    (entry,) = document(SETTING, [wrong])["scenarios"]
    assert entry["server"]["differing"] == ["a.ko"]
    assert entry["server"]["usage"]["served"] == 1
