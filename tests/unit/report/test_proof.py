# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What BPF programs came to: in results.json, and as lines for a person."""

from __future__ import annotations

from kbtf_ci.model.kfunc_proof import KfuncAnswer, KfuncProof, KfuncState, LiveCall, RegisteredKfunc
from kbtf_ci.model.proof import Difference, Function, ModuleProof, Proof, Traceable
from kbtf_ci.report.proof import fentry_entry, fentry_lines, kfunc_entry, kfunc_lines

PROOF = Proof(
    modules=(
        ModuleProof(
            "xfs",
            (Function(7, "xfs_a", Traceable.ATTACHABLE), Function(8, "xfs_b", Traceable.INIT)),
            (Difference("xfs", "xfs_b", "init (ENOENT)", "loads"),),
            attached=1,
        ),
    ),
    unreached=("ext2",),
    seconds=1.26,
)


def test_functions_stand_in_results_and_summary_with_what_differs() -> None:
    assert fentry_entry(PROOF) == {
        "kind": "fentry", "cannot": None, "ended": None, "modules": 1, "functions": 2,
        "as_predicted": {"attachable": 1, "no_location": 0, "init": 0, "suffix": 0, "signature": 0},
        "attached": 1, "attached_functions": 1, "unreached": ["ext2"], "seconds": 1.26,
        "differences": [
            {"module": "xfs", "function": "xfs_b", "expected": "init (ENOENT)", "seen": "loads"}
        ],
    }  # fmt: skip
    assert list(fentry_lines(PROOF)) == [
        "fentry programs do otherwise than predicted on xfs:xfs_b",
        "    xfs:xfs_b: init (ENOENT) predicted, loads",
        "fentry: of 2 functions of 1 modules as predicted: 1 attachable; attached to 1 in 1 modules; 1.3 s",
        "fentry: not proven, for want of their code in a guest: ext2",
    ]


def test_a_kernel_that_cannot_is_one_line() -> None:
    assert list(fentry_lines(Proof(cannot="takes none"))) == ["takes none"]
    assert list(kfunc_lines(KfuncProof(cannot="calls none"))) == ["calls none"]


FINE = RegisteredKfunc("vmlinux", 1, "bpf_fine")
BROKEN = RegisteredKfunc("vmlinux", 2, "bpf_broken", "kfunc.implicit")
WORSE = RegisteredKfunc("nf", 3, "bpf_worse")
SOUND = RegisteredKfunc("nf", 4, "bpf_sound", "kfunc.impl")
OTHER = RegisteredKfunc("nf", 5, "bpf_\x1bother")
KFUNCS = KfuncProof(
    (
        KfuncAnswer(FINE, KfuncState.CALLABLE, "xdp"),
        KfuncAnswer(BROKEN, KfuncState.REFUSED, "syscall", "EINVAL: cannot find function"),
        KfuncAnswer(WORSE, KfuncState.REFUSED, "xdp", "EINVAL: no address"),
        KfuncAnswer(SOUND, KfuncState.CALLABLE, "xdp"),
        KfuncAnswer(OTHER, KfuncState.NOT_PROVEN),
    ),
    (LiveCall("cpumask", ("a", "b")), LiveCall("conntrack", ("c", "d"), "returned 3, not 2")),
    ("syscall", "xdp"),
    ("gone",),
    seconds=2.345,
)


def test_kfuncs_stand_in_results_with_what_differs_from_the_prediction() -> None:
    found = kfunc_entry(KFUNCS)
    assert (found["kfuncs"], found["callable"], found["programs"]) == (5, 2, ["syscall", "xdp"])
    assert found["refused"] == [
        {
            "module": "vmlinux", "kfunc": "bpf_broken", "program": "syscall",
            "why": "EINVAL: cannot find function", "predicted": "kfunc.implicit",
        },
        {
            "module": "nf", "kfunc": "bpf_worse", "program": "xdp", "why": "EINVAL: no address",
            "predicted": None,
        },
    ]  # fmt: skip
    assert found["not_proven"] == [{"module": "nf", "kfunc": "bpf_\x1bother"}]
    assert [
        (one["module"], one["function"], one["expected"], one["seen"]) for one in found["differences"]
    ] == [
        ("nf", "bpf_worse", "callable", "EINVAL: no address (program: xdp)"),
        ("nf", "bpf_sound", "unusable (kfunc.impl)", "callable (program: xdp)"),
        ("conntrack", "c, d", "runs", "returned 3, not 2"),
    ]
    assert (found["unreached"], found["seconds"]) == (["gone"], 2.35)


def test_kfuncs_are_counted_and_those_refused_named_with_the_verifiers_words() -> None:
    lines = list(kfunc_lines(KFUNCS))
    assert lines[0].startswith("calls of kfuncs do otherwise than predicted: nf:bpf_worse, nf:bpf_sound")
    counts = "kfuncs: of 5 2 are callable, 2 refused, 1 not proven; 2 programs run; 2.3 s"
    assert counts in lines
    assert "    vmlinux:bpf_broken refused to programs of type syscall: EINVAL: cannot find function" in lines
    assert not any("\x1b" in line for line in lines)
    assert lines[-1] == "kfuncs: not proven, for want of their code in a guest: gone"


def test_all_as_predicted_is_no_headline() -> None:
    """One that is refused as predicted is confirmed, and one that nothing may call is not a difference."""
    answers = tuple(
        KfuncAnswer(one.kfunc, one.seen, one.program, one.why)
        for one in KFUNCS.answers
        if one.kfunc in {FINE, BROKEN, OTHER}
    )
    assert KfuncProof(answers).headline == ""
    assert "a panic" in KfuncProof(answers, ended="a panic").headline
