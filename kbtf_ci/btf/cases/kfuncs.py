# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules whose BTF is taken and whose kfuncs are not: refused by their own init function, without a word.

tcp_bbr registers kfuncs and needs no other module; its code runs here, with its ``.BTF_ids`` altered. It
bears another name of the same length, so that each case has one of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

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
from kbtf_ci.btf.cases.renamed import CONTROL, SUBJECT, renamed, subject
from kbtf_ci.model.case import Expected
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.objfile.elf import ElfImage

# struct btf_id_set8: cnt, flags, then an id and its flags each (include/linux/btf_ids.h).
_SET_FLAGS, _FIRST_ID = 4, 8


def _with_ids(name: str, at: int) -> Callable[[Healthy], Altered]:
    """Return what sets a word of the first kfunc set to 0, in a module that goes by ``name``."""

    def make(healthy: Healthy) -> Altered:
        data = subject(healthy)
        ids = ElfImage(data, SUBJECT).find(".BTF_ids")
        if ids is None:
            raise NotThereError(f"{SUBJECT} registers no kfuncs")
        altered = patched(data, ids.offset + at, bytes(4))
        return AlteredFile(renamed(altered, name), name, renamed(data, CONTROL), CONTROL)

    return make


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
        make=_with_ids("tcp_bb1", _SET_FLAGS),
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
        make=_with_ids("tcp_bb2", _FIRST_ID),
        since=(6, 9),
    ),
)
