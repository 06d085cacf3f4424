# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A case made ready for a kernel and judged, with what a guest would say written by hand."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.btf.cases.case import Case, NotBuilt
from kbtf_ci.btf.cases.catalogue import CASES, named
from kbtf_ci.btf.cases.workshop import Output
from kbtf_ci.model.kernel import BuiltKernel, KernelFacts
from kbtf_ci.model.outcome import LoadMode, Observation, Outcome
from kbtf_ci.model.repro import CaseResult
from kbtf_ci.workflow.trial import Bench, Load, Seen, Trial, Unbuilt
from tests.support import images
from tests.support.healthy import module, split, vmlinux
from tests.support.workshop import Call, PlayedShop

REFUSED = (
    "BPF: [9] FUNC (anon) ", "BPF: type_id=7", "BPF:  ", "BPF: Invalid name", "BPF: ",
    "failed to validate module [function_without_name] BTF: -22",
)  # fmt: skip


def bench(folder: Path, config: dict[str, str] | None = None) -> Bench:
    (folder / "modules").mkdir()
    (folder / "modules/m.ko").write_bytes(module("m", split(vmlinux()).bytes()))
    (folder / "vmlinux").write_bytes(images.vmlinux(vmlinux().bytes()))
    facts = KernelFacts("6.12.107")
    return Bench.of(
        BuiltKernel(facts, folder / "vmlinux", folder / "modules", config=config or {"CONFIG_X": "y"})
    )


def ready(one: Bench, name: str, *, needs_modules: bool = False) -> Trial:
    (found,) = one.prepare(named([name]), PlayedShop(), needs_modules=needs_modules)
    assert isinstance(found, Trial)
    return found


def refused(one: Bench, name: str, *, needs_modules: bool = False) -> str:
    (found,) = one.prepare(named([name]), PlayedShop(), needs_modules=needs_modules)
    assert isinstance(found, CaseResult)
    assert not found.ok
    return found.inapplicable


def loaded(load: Load) -> Observation:
    btf = load.module
    return Observation(btf.name, LoadMode.CARRIER, 0, btf.btf_bytes, btf.btf_sha256, load_us=2500)


def said(*observations: Observation, **values: object) -> Seen:
    return replace(Seen({one.name: one for one in observations}), **values)  # type: ignore[arg-type]


def test_what_decides_is_read_off_image_and_configuration(tmp_path: Path) -> None:
    traits = bench(tmp_path, {"CONFIG_MODULE_ALLOW_BTF_MISMATCH": "y", "CONFIG_LIVEPATCH": "y"}).traits
    assert (traits.version, traits.allows_mismatch, traits.alterable, traits.livepatch) == (
        (6, 12),
        True,
        False,
        True,
    )


def test_every_case_is_made_or_says_why_it_does_not_apply(tmp_path: Path) -> None:
    one = bench(tmp_path)
    made = list(one.prepare(CASES, PlayedShop(), needs_modules=False))
    names = [found.name if isinstance(found, CaseResult) else found.case.name for found in made]
    assert names == [case.name for case in CASES]
    trials = [found for found in made if isinstance(found, Trial)]
    assert len(trials) > 50
    assert len({trial.load.module.name for trial in trials}) == len(trials)
    files = [trial.load.module.file for trial in trials]
    assert files == sorted(files)
    skipped = {found.name: found.inapplicable for found in made if isinstance(found, CaseResult)}
    assert skipped["vmlinux-kind-unknown"].startswith("its image unpacks itself")
    assert skipped["kfunc-id-unresolved"] == "this kernel has no module tcp_bbr"


def test_a_guest_that_needs_modules_cannot_come_up_with_a_vmlinux_that_refuses_them(tmp_path: Path) -> None:
    one = bench(tmp_path)
    one = replace(one, traits=replace(one.traits, alterable=True))
    assert ready(one, "vmlinux-kind-unknown").vmlinux is not None
    assert "has no network" in refused(one, "vmlinux-kind-unknown", needs_modules=True)
    allowing = replace(one, traits=replace(one.traits, allows_mismatch=True))
    assert ready(allowing, "vmlinux-kind-unknown", needs_modules=True).vmlinux is not None
    assert ready(one, "kind-0", needs_modules=True)


def test_the_offline_checks_word_stands_beside_the_kernels(tmp_path: Path) -> None:
    one = bench(tmp_path)
    trial = ready(one, "function-without-name")
    assert (trial.prediction.outcome, trial.prediction.errno) == (Outcome.REJECTED, 22)
    seen = said(
        loaded(trial.control), Observation("function_without_name", LoadMode.CARRIER, 22, log=REFUSED)
    )
    result = one.judged(trial, seen, seen)
    assert result.faults == ()
    assert result.ok
    assert result.control is Outcome.VERIFIED
    # The type ids above are none of this module's: our check has others in its lines.
    assert result.differs


def test_of_another_vmlinux_the_prediction_is_another(tmp_path: Path) -> None:
    one = bench(tmp_path)
    one = replace(one, traits=replace(one.traits, alterable=True))
    trial = ready(one, "vmlinux-kind-unknown")
    assert trial.prediction.cause == "vmlinux refused"
    name = trial.load.module.name
    last = f"failed to validate module [{name}] BTF: -22"
    healthy = said(loaded(trial.control))
    seen = said(
        Observation(name, LoadMode.CARRIER, 22, log=(last,)), difference="byte 7",
        log=("BPF: [3] Invalid kind:31", "noise", last), seconds=7.06,
    )  # fmt: skip
    result = one.judged(trial, seen, healthy)
    assert result.faults == ()
    assert result.seconds == 7.1
    assert not result.differs
    assert one.judged(trial, replace(seen, log=(last,)), healthy).faults == (
        "other lines in the kernel's log",
    )
    assert one.judged(trial, replace(seen, difference=""), healthy).faults == (
        "vmlinux's BTF in memory: as in the image",
    )


def test_a_module_that_is_moved_must_be_what_it_would_be_over_vmlinux(tmp_path: Path) -> None:
    one = bench(tmp_path)
    trial = ready(one, "base-fits")
    size = trial.load.module.btf_bytes
    assert trial.load.moved not in ("", trial.load.module.btf_sha256)
    moved = Observation("base_fits", LoadMode.CARRIER, 0, size, trial.load.moved)
    control = loaded(trial.control)
    assert one.judged(trial, said(control, moved), said(control)).ok
    other = replace(moved, sysfs_sha256=hashlib.sha256(b"other").hexdigest())
    (fault,) = one.judged(trial, said(control, other), said(control)).faults
    assert fault.startswith("MISMATCH where VERIFIED was expected")


@pytest.mark.parametrize(
    ("error", "fault"), [("", "the guest ended before it"), ("it did not come up", "it did not come up")]
)
def test_a_case_that_no_guest_came_to_is_not_ok(tmp_path: Path, error: str, fault: str) -> None:
    one = bench(tmp_path)
    trial = ready(one, "kind-0")
    assert one.judged(trial, said(error=error), said()).faults == (
        "the untouched module is NOT_REACHED",
        fault,
    )


def test_a_build_that_fails_is_judged_by_what_it_said_beside_the_untouched_module(tmp_path: Path) -> None:
    one = bench(tmp_path)
    (case,) = named(["pahole-overridden"])
    said_by_make = ("/bin/sh: 1: /files/pahole.sh: Permission denied", "make[3]: *** [m.ko] Error 126")
    made = replace(case, build=lambda *_: NotBuilt(said_by_make))
    (unbuilt,) = one.prepare([made], PlayedShop(), needs_modules=False)
    assert isinstance(unbuilt, Unbuilt)
    result = one.unbuilt(unbuilt, said(loaded(one.control)))
    assert (result.ok, result.control, result.prediction) == (True, Outcome.VERIFIED, None)
    assert not one.unbuilt(unbuilt, said()).ok
    silent = one.unbuilt(replace(unbuilt, build=said_by_make[1:]), said(loaded(one.control)))
    assert "Permission denied" in silent.faults[0]


def test_a_whole_module_has_a_control_of_its_own_and_says_what_its_build_said(tmp_path: Path) -> None:
    def make(call: Call) -> Output:
        name = call.files["Kbuild"].decode().split()[-1].removesuffix(".o")
        return Output(0, ("no vmlinux",), {f"{name}.ko": module(name, b"")})

    one = bench(tmp_path)
    (case,) = named(["vmlinux-not-at-hand"])
    (trial,) = one.prepare([case], PlayedShop(make=make), needs_modules=False)
    assert isinstance(trial, Trial)
    assert (trial.load.module.name, trial.control.module.name) == ("vmlinux_not_at_hand", "built_outside")
    assert trial.build == ("no vmlinux",)
    seen = said(loaded(trial.control), replace(loaded(trial.load), sysfs_bytes=None, sysfs_sha256=None))
    assert one.judged(trial, seen, seen).faults[-1].startswith("its build did not say: Skipping BTF")


def test_a_case_of_which_nothing_is_known_but_its_name_does_not_apply(tmp_path: Path) -> None:
    one = bench(tmp_path)
    case: Case = replace(named(["kind-0"])[0], make=None)
    (found,) = one.prepare([case], PlayedShop(), needs_modules=False)
    assert isinstance(found, CaseResult)
    assert found.inapplicable == "nothing is known of how to provoke it"


def test_without_a_configuration_what_is_taken_for_granted_is_said(tmp_path: Path) -> None:
    one = bench(tmp_path)
    assert list(one.doubts()) == []
    bare = replace(one, kernel=replace(one.kernel, config={}))
    assert any("CONFIG_MODULE_ALLOW_BTF_MISMATCH" in text for text in bare.doubts())
    assert any("9.9" in text for text in replace(one, traits=replace(one.traits, version=(9, 9))).doubts())
