# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules whose BTF is taken and whose kfuncs are not: by their own init function, or by programs.

tcp_bbr and tcp_dctcp register kfuncs and need no other module; their code runs here, with ``.BTF_ids``
altered. They bear other names of the same length, so that each case has one of its own. One alone may
register what it has (from 7.2 on no other module may even describe a function of a kfunc's name), so that the
untouched one is loaded without its init function, and of tcp_dctcp there is one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import numpy as np

from kbtf_ci.btf.cases.case import (
    EINVAL,
    Altered,
    AlteredFile,
    Case,
    Healthy,
    NotThereError,
    always,
)
from kbtf_ci.btf.cases.edit import patched
from kbtf_ci.btf.cases.renamed import CONTROL, OTHER_SUBJECT, SUBJECT, inert, renamed, subject
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.model.case import Expected, Need
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.objfile.elf import ElfImage

# struct btf_id_set8: cnt, flags, then an id and its flags each (include/linux/btf_ids.h).
_SET_FLAGS, _FIRST_ID = 4, 8


_FUNCTION: Final = "dctcp_ssthresh"
_IMPLICIT_ARGS: Final = 1 << 16  # KF_IMPLICIT_ARGS, include/linux/btf.h, since 7.0


def _with_ids(
    name: str, find: Callable[[bytes, Btf], tuple[int, int]], of: str = SUBJECT
) -> Callable[[Healthy], Altered]:
    """Return what sets a word of ``.BTF_ids``, in a module that goes by ``name``.

    ``find`` is given the section and its module's BTF, and returns offset and value.
    """

    def make(healthy: Healthy) -> Altered:
        data = subject(healthy, of)
        image = ElfImage(data, of)
        section, ids = image.find(".BTF_ids"), image.section(".BTF_ids")
        if section is None or ids is None:
            raise NotThereError(f"{of} registers no kfuncs")
        at, value = find(ids, Btf.parse(image.section(".BTF") or b"", healthy.vmlinux))
        altered = patched(data, section.offset + at, struct.pack(f"{image.byte_order}I", value))
        untouched = renamed(inert(subject(healthy)), CONTROL)
        return AlteredFile(renamed(altered, name, of), name, untouched, CONTROL, original=data)

    return make


def _implicit(ids: bytes, btf: Btf) -> tuple[int, int]:
    """Return where the flags of the function stand, and those with KF_IMPLICIT_ARGS."""
    words = np.frombuffer(ids[: len(ids) // 4 * 4], f"{btf.order}u4").tolist()
    for type_id in btf.find(_FUNCTION, Kind.FUNC):
        if type_id in words[2::2]:
            place = 2 + 2 * words[2::2].index(type_id) + 1
            return 4 * place, words[place] | _IMPLICIT_ARGS
    raise NotThereError(f"{OTHER_SUBJECT} does not register {_FUNCTION}")


_REFUSED: Final = always(Expected(Outcome.LOAD_FAILED, EINVAL))

CASES: Final = (
    Case(
        name="kfunc-set-without-flag",
        failure_class=17,
        title="a set of kfuncs was not begun with BTF_KFUNCS_START",
        story="A module from before 6.9 uses BTF_SET8_START for its kfuncs. Its BTF is taken, its init "
        "function is told -22, and insmod says 'Invalid parameters' without a line in the log.",
        source="kernel/bpf/btf.c, register_btf_kfunc_id_set(), since 6.9 (BTF_SET8_KFUNCS)",
        expected=_REFUSED,
        make=_with_ids("tcp_bb1", lambda *_: (_SET_FLAGS, 0)),
        since=(6, 9),
    ),
    Case(
        name="kfunc-id-unresolved",
        failure_class=32,
        title="a kfunc's id is 0",
        story="resolve_btfids found no function of that name in the BTF: the compiler made a clone of it "
        "and pahole dropped both, or its warning was passed over.",
        source="kernel/bpf/btf.c, btf_check_kfunc_protos(): id 0 is no function",
        expected=_REFUSED,
        make=_with_ids("tcp_bb2", lambda *_: (_FIRST_ID, 0)),
        since=(6, 9),
    ),
    Case(
        name="kfunc-without-twin",
        failure_class=35,
        title="a kfunc with an implicit argument, and no function for the verifier to call in its place",
        story="pahole gave the kfunc no tag, so that resolve_btfids made no _impl of it and took no argument "
        "off its prototype. The module loads, the kfunc is registered, and no program that calls it loads, "
        "nor does one that traces it.",
        source="kernel/bpf/verifier.c, fetch_kfunc_meta() and find_kfunc_impl_proto(), since 7.0, and for "
        "programs that trace it since 7.2",
        expected=always(
            Expected(Outcome.VERIFIED, sysfs=True, misdescribed=(_FUNCTION,), uncallable=(_FUNCTION,))
        ),
        make=_with_ids("tcp_dctc1", _implicit, OTHER_SUBJECT),
        since=(7, 2),
        needs=frozenset({Need.FENTRY}),
    ),
)
