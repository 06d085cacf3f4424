# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""From which programs kfuncs are called, and what becomes of the verifier's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pytest

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.prove_kfunc import KfuncProver
from kbtf_ci.guest.ssh import SilenceError
from kbtf_ci.model.kfunc_proof import KfuncState, LiveCall, ProgramKind, RegisteredKfunc

XDP, SYSCALL, LSM = (
    ProgramKind("xdp", 6),
    ProgramKind("syscall", 31, flags=16),
    ProgramKind("lsm", 29, 27, 0, 9),
)
A = RegisteredKfunc("vmlinux", 1, "a")
B = RegisteredKfunc("vmlinux", 2, "b", "kfunc.implicit")
LOOKUP = RegisteredKfunc("nf_conntrack", 3, "bpf_xdp_ct_lookup")
RELEASE = RegisteredKfunc("nf_conntrack", 4, "bpf_ct_release")
KFUNCS = {"vmlinux": [A, B], "nf_conntrack": [LOOKUP, RELEASE], "empty": []}
NOT_ALLOWED = "13 - calling kernel function a is not allowed"
NO_ARGUMENT = "13 - R1 !read_ok"
NO_TWIN = "22 - cannot find function b_impl in BTF"


class Shell:
    """Answers each line by the type of program that it belongs to, and its first two words."""

    def __init__(self, says: Mapping[str, str] | Callable[[str], str]) -> None:
        self.asked: list[str] = []
        self._says = says if callable(says) else lambda key: says.get(key, "0")

    def run(
        self, argv: Sequence[str], lines: Iterable[str] = (), silence: float | None = None
    ) -> Iterator[str]:
        kind = ""
        for line in lines:
            self.asked.append(line)
            head = line.split()[:2]
            kind = head[1] if head[0] == "program" else kind
            key = " ".join(head) if head[0] in {"program", "btf"} else f"{kind} {' '.join(head)}"
            yield f"{' '.join(head)} {self._says(key)}"

    def ping(self, timeout: float) -> bool:
        raise NotImplementedError

    def interact(self) -> int:
        raise NotImplementedError


FOUND = {
    "xdp call 1": NOT_ALLOWED,
    "xdp call 2": NOT_ALLOWED,
    "xdp call 3": NO_ARGUMENT,
    "syscall call 1": "0",
    "syscall call 2": NO_TWIN,
    "syscall dead 2": NO_TWIN,
    "xdp live conntrack": "0 0:2",
}


def prove(
    says: Mapping[str, str] | Callable[[str], str],
    kinds: Sequence[ProgramKind] = (XDP, SYSCALL),
    config: Mapping[str, str] | None = None,
) -> tuple[KfuncProver, Shell]:
    shell = Shell(says)
    prover = KfuncProver(KFUNCS, kinds, config or {})
    prover.prove(shell, ["nf_conntrack", "empty", "unknown"], 7.0)
    return prover, shell


def test_each_kfunc_is_called_from_every_type_until_one_takes_it() -> None:
    prover, shell = prove(FOUND)
    assert [(one.kfunc, one.seen, one.program) for one in prover.found] == [
        (A, KfuncState.CALLABLE, "syscall"),
        (B, KfuncState.REFUSED, "syscall"),
        (LOOKUP, KfuncState.CALLABLE, "xdp"),
        (RELEASE, KfuncState.CALLABLE, "xdp"),
    ]
    assert prover.found[1].why == "EINVAL: cannot find function b_impl in BTF"
    xdp, syscall = "program xdp 6 0 0 0", "program syscall 31 0 16 0"
    assert shell.asked == [
        xdp, syscall,
        xdp, "btf vmlinux", "call 1", "dead 1", "call 2", "dead 2",
        "btf nf_conntrack", "call 3", "dead 3", "call 4", "dead 4",
        syscall, "btf vmlinux", "call 1", "dead 1", "call 2", "dead 2",
        "btf nf_conntrack", xdp, "live conntrack 3 4",
    ]  # fmt: skip
    assert prover.live == [LiveCall("conntrack", ("bpf_xdp_ct_lookup", "bpf_ct_release"))]
    assert (prover.programs, prover.cannot, prover.ended) == (("xdp", "syscall"), "", "")


def test_what_one_type_refuses_another_may_take() -> None:
    found = {"xdp call 2": NO_TWIN, "xdp dead 2": NO_TWIN, "syscall call 2": NO_ARGUMENT}
    prover, _ = prove(found)
    assert {one.kfunc.name: (one.seen, one.program) for one in prover.found}["b"] == (
        KfuncState.CALLABLE,
        "syscall",
    )


@pytest.mark.parametrize(
    "words",
    [
        NOT_ALLOWED,
        "22 - metadata kfuncs require device-bound program",
        "22 - R3 arena pointer requires a program with an associated arena",
    ],
)
def test_what_no_type_may_call_is_not_proven_though_its_name_is_found(words: str) -> None:
    prover, _ = prove({**FOUND, "xdp call 1": words, "syscall call 1": words})
    assert prover.found[0].seen is KfuncState.NOT_PROVEN


def test_of_a_module_that_is_gone_nothing_is_proven_and_nothing_refused() -> None:
    gone = dict.fromkeys(("xdp call 3", "xdp dead 3", "syscall call 3", "syscall dead 3"), "9")
    prover, _ = prove({**FOUND, **gone, "btf nf_conntrack": "2"})
    assert [one.seen for one in prover.found[2:]] == [KfuncState.NOT_PROVEN] * 2


def test_a_type_that_this_kernel_has_not_is_left_out() -> None:
    prover, shell = prove({**FOUND, "program lsm": "22 - no"}, (XDP, LSM))
    assert prover.programs == ("xdp",)
    assert sum(line.startswith("program lsm") for line in shell.asked) == 1


def test_a_kernel_that_loads_no_program_at_all_is_asked_no_more() -> None:
    prover, shell = prove({"program xdp": "38", "program syscall": "38"})
    assert prover.cannot == "this kernel loads no BPF program (ENOSYS)"
    assert (prover.found, len(shell.asked)) == ([], 2)


@pytest.mark.parametrize(
    ("answer", "difference"),
    [("0 0:3", "returned 3, not 2"), ("0", "returned None, not 2"), ("22 - a word", "EINVAL: a word")],
)
def test_a_program_that_runs_otherwise_is_told(answer: str, difference: str) -> None:
    prover, _ = prove({**FOUND, "xdp live conntrack": answer})
    assert prover.live[0].difference == difference


def test_a_program_is_not_run_where_one_of_its_kfuncs_cannot_be_called() -> None:
    prover, shell = prove({**FOUND, "xdp call 4": NOT_ALLOWED, "syscall call 4": NOT_ALLOWED})
    assert prover.live == []
    assert not any(line.startswith("live") for line in shell.asked)


@pytest.mark.parametrize(("jit", "told"), [("n", True), ("y", False)])
def test_without_a_jit_it_is_said_once_and_nothing_is_called_refused(jit: str, told: bool) -> None:
    words = "524 - JIT is required for calling kernel function"
    prover, _ = prove(dict.fromkeys(("xdp call 1", "xdp dead 1"), words), config={"CONFIG_BPF_JIT": jit})
    assert "takes no program that calls a kfunc (ENOTSUPP: JIT is required" in prover.cannot
    assert ("CONFIG_BPF_JIT not set" in prover.cannot) is told
    assert prover.found == []


def test_of_several_guests_one_tries_those_of_vmlinux() -> None:
    prover, _ = prove(FOUND)
    second = Shell(FOUND)
    prover.prove(second, ["nf_conntrack"], 7.0)
    assert not any(line.startswith("btf") for line in second.asked)


def test_a_guest_that_falls_silent_is_told() -> None:
    def says(key: str) -> str:
        if key == "syscall call 1":
            raise SilenceError("the guest said nothing for 7 s")
        return FOUND.get(key, "0")

    prover, _ = prove(says)
    assert (prover.ended, prover.found) == ("the guest said nothing for 7 s", [])


def test_an_answer_that_is_none_is_an_error_of_ours() -> None:
    with pytest.raises(InfrastructureError, match="the guest answered"):
        prove({"xdp call 1": "what"})
