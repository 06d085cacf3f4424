# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules whose BTF is taken, and describes other functions than their code has.

Nothing in such a file is wrong by itself: it is held against the untouched module. The functions are
tcp_bbr's; its init function does not run, which registers what only one may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from kbtf_ci.btf.cases.case import Altered, AlteredFile, Case, Healthy, NotThereError, always
from kbtf_ci.btf.cases.edit import TAIL, THIRD, Draft, patched
from kbtf_ci.btf.cases.renamed import CONTROL, SUBJECT, inert, renamed, subject
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.model.case import Expectation, Expected, Need
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.objfile.elf import ElfImage

_FUNCTION: Final = "bbr_main"
_WITH_PROTOTYPE: Final = "bbr_set_pacing_rate"  # which has one that no other function has
_ENTRY_WORDS: Final = 2  # struct btf_param: name_off, type
_Change = Callable[[Draft, int], None]


def _with_function(name: str, function: str, change: _Change) -> Callable[[Healthy], Altered]:
    """Return what changes ``function``, whose record begins at a word, in a module that goes by ``name``."""

    def make(healthy: Healthy) -> Altered:
        data = subject(healthy)
        section = ElfImage(data, SUBJECT).find(".BTF")
        if section is None:
            raise NotThereError(f"{SUBJECT} has no BTF")
        btf = Btf.parse(data[section.offset : section.offset + section.size], healthy.vmlinux)
        draft = Draft(btf)
        change(draft, draft.find(Kind.FUNC, suits=lambda start: btf.text(draft.words[start]) == function))
        altered = draft.bytes()
        if len(altered) != section.size:
            raise NotThereError(f"{SUBJECT}'s BTF is laid out otherwise than pahole does")
        whole = inert(patched(data, section.offset, altered))
        return AlteredFile(renamed(whole, name), name, renamed(inert(data), CONTROL), CONTROL, original=data)

    return make


def _variadic(draft: Draft, func: int) -> None:
    """Point it to a prototype of vmlinux's that ends with "..."."""
    vmlinux = draft.btf.base
    if vmlinux is None:
        raise NotThereError("its BTF has no base")
    records = vmlinux.records
    for index in records.of(Kind.FUNC_PROTO).tolist():
        last = int(records.at[index]) + TAIL + _ENTRY_WORDS * (int(records.vlen[index]) - 1)
        if records.vlen[index] >= 2 and not records.words[last : last + _ENTRY_WORDS].any():
            draft.words[func + THIRD] = vmlinux.start_id + index
            return
    raise NotThereError("vmlinux describes no variadic function")


def _other_struct(draft: Draft, func: int) -> None:
    """Let its first argument point to another struct, in a prototype that is its own."""
    proto = draft.words[func + THIRD]
    records, first = draft.btf.records, draft.btf.start_id
    users = [int(records.at[index]) for index in records.of(Kind.FUNC).tolist()]
    if proto < first or sum(draft.words[start + THIRD] == proto for start in users) > 1:
        raise NotThereError(f"{_WITH_PROTOTYPE}'s prototype is not its own")
    argument = int(records.at[proto - first]) + TAIL + 1
    draft.words[argument] = next(_pointers(draft.btf, draft.words[argument]))


def _pointers(btf: Btf, unlike: int) -> Iterator[int]:
    """Yield the ids of vmlinux's pointers to structs, but for one."""
    vmlinux = btf.base
    if vmlinux is not None:
        structs = set(vmlinux.records.of(Kind.STRUCT).tolist())
        for index in vmlinux.records.of(Kind.PTR).tolist():
            type_id = vmlinux.start_id + index
            if int(vmlinux.records.value[index]) - vmlinux.start_id in structs and type_id != unlike:
                yield type_id
    raise NotThereError("vmlinux has no other pointer to a struct")


def _misdescribed(function: str, *uncallable: str) -> Expectation:
    return always(Expected(Outcome.VERIFIED, sysfs=True, misdescribed=(function,), uncallable=uncallable))


CASES: Final = (
    Case(
        name="func-of-another-prototype",
        failure_class=35,
        title="a function is described with another one's prototype",
        story="BTF of another build of the same source, or an editor's hand: every id leads somewhere, and "
        "the kernel takes it. A program on the function is refused for arguments that it does not have, or "
        "reads what is not there; as a kfunc none can call it.",
        source="kernel/bpf/btf.c: btf_func_check() takes any FUNC_PROTO, btf_distill_func_proto() "
        "refuses a variadic one (EINVAL)",
        expected=_misdescribed(_FUNCTION, _FUNCTION),
        make=_with_function("tcp_bb3", _FUNCTION, _variadic),
        needs=frozenset({Need.FENTRY}),
    ),
    Case(
        name="argument-of-another-struct",
        failure_class=35,
        title="a function's argument is described as another struct",
        story="The pointer's id has moved to another struct's. The BTF is taken, and so is every program: it "
        "reads members where they are not, and nothing says so.",
        source="kernel/bpf/btf.c, btf_ctx_access(): what an argument is, the BTF alone says",
        expected=_misdescribed(_WITH_PROTOTYPE),
        make=_with_function("tcp_bb4", _WITH_PROTOTYPE, _other_struct),
        needs=frozenset({Need.FENTRY}),
    ),
)
