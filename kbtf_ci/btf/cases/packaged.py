# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules as packaging leaves them, by the toolchain image's own binutils: what takes .BTF away, what not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kbtf_ci.btf.cases.case import (
    ENOEXEC,
    Altered,
    AlteredBtf,
    AlteredFile,
    Case,
    Healthy,
    NotThereError,
    always,
    taken,
)
from kbtf_ci.btf.cases.workshop import Workshop
from kbtf_ci.model.case import Expected
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.objfile.carrier import make_carrier
from kbtf_ci.objfile.elf import ElfImage

_STRIPPED: Final = "strip_everything"
_CONTROL: Final = "strip_nothing"


def _through(data: bytes, shop: Workshop, *argv: str) -> bytes:
    """Return a file as a tool that changes it in place leaves it. Raises NotThereError."""
    done = shop.tool((*argv, "m.ko"), {"m.ko": data}, ("m.ko",))
    if done.status != 0:
        raise NotThereError(f"{argv[0]} does not take its module: {' '.join(done.lines[-1:])}")
    return done.files["m.ko"]


def _btf_after(*argv: str) -> Callable[[Healthy, Workshop], Altered]:
    """Return what puts the BTF before a kernel that a whole module has after a tool went over it."""

    def build(healthy: Healthy, shop: Workshop) -> Altered:
        return AlteredBtf(ElfImage(_through(healthy.file, shop, *argv)).section(".BTF"))

    return build


def _without_symbols(healthy: Healthy, shop: Workshop) -> Altered:
    data = make_carrier(healthy.file, name=_STRIPPED)
    control = make_carrier(healthy.file, name=_CONTROL)
    return AlteredFile(_through(data, shop, "strip"), _STRIPPED, control, _CONTROL)


CASES: Final = (
    Case(
        name="strip-debug",
        failure_class=16,
        title="strip --strip-debug went over the module",
        story="What packagers do, and make INSTALL_MOD_STRIP=1: of the debug information nothing stays, of "
        ".BTF every byte.",
        source="binutils, strip(1); scripts/Makefile.modinst",
        expected=taken(),
        build=_btf_after("strip", "--strip-debug"),
    ),
    Case(
        name="strip-unneeded",
        failure_class=16,
        title="strip --strip-unneeded went over the module",
        story="As above, with all symbols that no relocation needs.",
        source="binutils, strip(1)",
        expected=taken(),
        build=_btf_after("strip", "--strip-unneeded"),
    ),
    Case(
        name="strip-everything",
        failure_class=16,
        title="strip without options went over the module",
        story="The symbol table is gone with the rest. Its .BTF is there and does not count: the kernel "
        "refuses the module before.",
        source="kernel/module/main.c, setup_load_info(), by 6.13 elf_validity_cache_index_sym()",
        expected=always(
            Expected(Outcome.LOAD_FAILED, ENOEXEC, ("<module>: module has no symbols (stripped?)",))
        ),
        build=_without_symbols,
    ),
    Case(
        name="objcopy-removes-btf",
        failure_class=16,
        title="objcopy --remove-section .BTF went over the module",
        story="A work-around that is handed on wherever 'failed to validate module' comes up: the module "
        "loads, and neither fentry nor kfuncs of it work.",
        source="kernel/bpf/btf.c, btf_module_notify(): btf_data_size is 0",
        expected=always(Expected(Outcome.NO_BTF)),
        build=_btf_after("objcopy", "--remove-section", ".BTF", "--remove-section", ".BTF.base"),
    ),
)
