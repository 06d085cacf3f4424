# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is asked of the guest's program, and what becomes of its answers and of its silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.prove import COMMAND, FentryProver, Provers
from kbtf_ci.guest.ssh import SilenceError
from kbtf_ci.model.proof import Difference, Function, StructArgument, Traceable

PROBE = Function(100, "vfs_open", Traceable.ATTACHABLE)
INIT = Function(500, "start", Traceable.INIT)
READ = Function(501, "read", Traceable.ATTACHABLE, (StructArgument(0, 0, 90), StructArgument(1, 2, 91)))
FUNCTIONS = {"m": (INIT, READ), "n": (Function(502, "n", Traceable.NO_LOCATION),), "empty": ()}
GOOD = {"load 500": "2 - gone", "load 501": "0 0:90 1:91"}


class Shell:
    """Answers each line as ``says`` does of its first two words, or with no error."""

    def __init__(self, says: Callable[[str], str | None]) -> None:
        self.asked: list[str] = []
        self._says = says

    def run(
        self, argv: Sequence[str], lines: Iterable[str] = (), silence: float | None = None
    ) -> Iterator[str]:
        assert (tuple(argv), silence) == (COMMAND, 7.0)
        for line in lines:
            self.asked.append(line)
            head = " ".join(line.split()[:2])
            yield f"{head} {self._says(head) or '0'}"

    def ping(self, timeout: float) -> bool:
        raise NotImplementedError

    def interact(self) -> int:
        raise NotImplementedError


def prove(says: Callable[[str], str | None], *modules: str) -> tuple[FentryProver, Shell]:
    shell = Shell(says)
    prover = FentryProver(FUNCTIONS, PROBE, {"CONFIG_BPF_JIT": "n"})
    prover.prove(shell, modules, 7.0)
    return prover, shell


def test_every_function_is_loaded_with_what_it_reads_and_one_a_module_attached() -> None:
    prover, shell = prove(GOOD.get, "m", "n", "empty", "unknown")
    assert shell.asked == [
        "btf vmlinux", "load 100", "attach 100", "detach 100",
        "btf m", "load 500", "load 501 0 2", "attach 501", "btf n", "load 502",
    ]  # fmt: skip
    assert [(one.module, one.attached, one.differences) for one in prover.found] == [
        ("m", 1, ()),
        ("n", None, ()),
    ]
    assert (prover.cannot, prover.ended) == ("", "")


@pytest.mark.parametrize(
    ("head", "answer", "difference"),
    [
        ("load 500", "0", Difference("m", "start", "init (ENOENT)", "loads")),
        ("load 501", "0 0:90", Difference("m", "read", "arg0 is [90], arg1 is [91]", "arg0 is [90]")),
        ("load 501", "22 - a - b", Difference("m", "read", "attachable (loads)", "EINVAL: a - b")),
        ("attach 501", "16", Difference("m", "read", "attached", "EBUSY, attaching")),
        ("btf m", "2", Difference("m", "", "its BTF", "the kernel has none of that name")),
    ],
)  # fmt: skip
def test_what_is_otherwise_is_named(head: str, answer: str, difference: Difference) -> None:
    prover, _ = prove({**GOOD, head: answer}.get, "m")
    assert prover.found[0].differences == (difference,)


MANY = [Function(1000 + number, f"f{number}", Traceable.ATTACHABLE) for number in range(600)]


def test_a_kernel_that_attaches_to_many_at_once_is_asked_for_all_of_them() -> None:
    shell = Shell({"multi 59": "0 1003:16"}.get)
    prover = FentryProver({"m": [INIT, *MANY], "n": [INIT]}, PROBE, {}, multi=59)
    prover.prove(shell, ["m", "n"], 7.0)
    multi = [line.split()[2:] for line in shell.asked if line.startswith("multi 59 ")]
    assert [len(ids) for ids in multi] == [512, 88]
    assert [type_id for ids in multi for type_id in ids] == [str(one.type_id) for one in MANY]
    assert not any(line.startswith("attach 10") and line != "attach 100" for line in shell.asked)
    m, n = prover.found
    assert (m.attached, n.attached) == (599, None)
    assert Difference("m", "f3", "attached", "EBUSY, attaching") in m.differences


def test_where_no_program_for_many_is_taken_none_of_them_is_attached() -> None:
    prover = FentryProver({"m": MANY}, PROBE, {}, multi=59)
    prover.prove(Shell({"multi 59": "22"}.get), ["m"], 7.0)
    assert prover.found[0].attached == 0
    assert len(prover.found[0].differences) == len(MANY)


@pytest.mark.parametrize("head", ["btf vmlinux", "load 100", "attach 100"])
def test_a_kernel_that_takes_none_on_vmlinux_is_asked_no_more(head: str) -> None:
    prover, shell = prove({head: "12"}.get, "m")
    assert "takes no fentry program on vmlinux either (ENOMEM): CONFIG_BPF_JIT" in prover.cannot
    assert not any(line.startswith("btf m") for line in shell.asked)
    assert prover.found == []


def test_several_provers_come_one_after_the_other() -> None:
    first, second = (FentryProver(FUNCTIONS, PROBE, {}) for _ in range(2))
    Provers([first, second]).prove(Shell(GOOD.get), ["m"], 7.0)
    assert [one.module for prover in (first, second) for one in prover.found] == ["m", "m"]


def test_a_guest_that_falls_silent_keeps_what_was_proven_before() -> None:
    def says(head: str) -> str | None:
        if head == "btf n":
            raise SilenceError("the guest said nothing for 7 s")
        return GOOD.get(head)

    prover, _ = prove(says, "m", "n")
    assert [one.module for one in prover.found] == ["m"]
    assert prover.ended == "the guest said nothing for 7 s"


@pytest.mark.parametrize("answer", ["x", "", "0 a:b", "0 1"])
def test_an_answer_that_is_none_is_an_error_of_ours(answer: str) -> None:
    def says(head: str) -> str | None:
        return answer or " " if head == "load 500" else GOOD.get(head)

    with pytest.raises(InfrastructureError, match="the guest answered"):
        prove(says, "m")
