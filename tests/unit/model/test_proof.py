# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What was predicted of fentry programs, held against what a verifier said."""

from __future__ import annotations

import errno

import pytest

from kbtf_ci.model.proof import (
    Answer,
    Difference,
    Function,
    ModuleProof,
    Proof,
    StructArgument,
    Traceable,
    cannot,
    differs,
    merged,
)

READS = Function(7, "f", Traceable.ATTACHABLE, (StructArgument(0, 0, 90), StructArgument(2, 3, 91)))


@pytest.mark.parametrize(
    ("traceable", "number"),
    [
        (Traceable.ATTACHABLE, 0),
        (Traceable.NO_LOCATION, 0),
        (Traceable.INIT, errno.ENOENT),
        (Traceable.SUFFIX, errno.ENOENT),
        (Traceable.SIGNATURE, errno.EINVAL),
    ],
)
def test_each_class_has_its_errno(traceable: Traceable, number: int) -> None:
    function = Function(7, "f", traceable)
    assert function.errno == number
    assert differs(function, Answer(number)) is None
    assert differs(function, Answer(errno.EPERM, words="no")) == (
        f"{traceable} ({errno.errorcode.get(number, 'loads')})",
        "EPERM: no",
    )


def test_arguments_must_be_what_the_file_says() -> None:
    assert differs(READS, Answer(0, {0: 90, 2: 91})) is None
    assert differs(READS, Answer(0, {0: 90, 2: 92})) == (
        "arg0 is [90], arg2 is [91]",
        "arg0 is [90], arg2 is [92]",
    )
    assert differs(READS, Answer(0)) == ("arg0 is [90], arg2 is [91]", "no struct")


def test_what_differs_is_not_counted_as_predicted() -> None:
    proof = Proof(
        (
            ModuleProof(
                "m",
                (READS, Function(8, "g", Traceable.INIT)),
                (Difference("m", "f", "a", "b"),),
                attached=True,
            ),
            ModuleProof("n", (Function(9, "f", Traceable.ATTACHABLE),), attached=False),
        )
    )
    assert proof.counts == {"attachable": 1, "no location": 0, "init": 1, "suffix": 0, "signature": 0}
    assert (proof.functions, proof.attached) == (3, 1)
    assert proof.headline == "fentry programs do otherwise than predicted on m:f"
    assert Proof().headline == ""
    assert Proof(ended="it hangs").headline == "a guest ended under fentry programs: it hangs"


def test_many_names_are_cut_in_the_headline() -> None:
    names = [Difference("m", f"f{number}", "a", "b") for number in range(7)]
    assert Proof((ModuleProof("m", (), tuple(names)),)).headline.endswith("m:f4 and 2 more")


def test_a_kernel_that_cannot_is_told_by_its_configuration() -> None:
    config = {"CONFIG_BPF_JIT": "y", "CONFIG_BPF_EVENTS": "y"}
    assert cannot(errno.ENOMEM, config) == (
        "this kernel takes no fentry program on vmlinux either (ENOMEM): CONFIG_FUNCTION_TRACER, "
        "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS not set"
    )
    assert cannot(errno.EPERM, {}).endswith("(EPERM): no reason in its configuration")


def test_a_module_of_two_guests_is_told_of_once_and_in_order() -> None:
    one, two = ModuleProof("a", ()), ModuleProof("b", ())
    assert list(merged([two, one, two], ["a", "b", "c"])) == [one, two]
