# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Failures of a build, provoked with the real make and pahole on the build that the kernel came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kbtf_ci.btf.cases.case import (
    Altered,
    AlteredBtf,
    AlteredFile,
    AlteredVmlinux,
    Case,
    Healthy,
    NotBuilt,
    NotThereError,
    always,
    not_built,
    plain,
    refused,
    some_type,
    taken,
    with_vmlinux_altered,
)
from kbtf_ci.btf.cases.edit import enlarged
from kbtf_ci.btf.cases.other_base import first_own_name
from kbtf_ci.btf.cases.workshop import Output, Vmlinux, Workshop
from kbtf_ci.infra.runner import FILES
from kbtf_ci.model.case import Expected, Need
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.objfile.elf import ElfImage

_SOURCE: Final = Path(__file__).parent / "external" / "module.c"
_CONTROL: Final = "built_outside"
_TREE: Final = frozenset({Need.TREE})
_IN_TREE: Final = "drivers/net/dummy.c"  # of one file, of no other module, and there since long before BTF
_MODFINAL: Final = "scripts/Makefile.modfinal"


def _sources(name: str, text: bytes) -> dict[str, bytes]:
    return {f"{name}.c": text, "Kbuild": f"obj-m := {name}.o\n".encode()}


def _module(done: Output, name: str) -> bytes:
    """Return the module that make has made. Raises NotThereError where it has not."""
    data = done.files.get(f"{name}.ko")
    if done.status != 0 or data is None:
        raise NotThereError(f"make does not build it: {_error(done)}")
    return data


def _error(done: Output) -> str:
    errors = [line for line in done.lines if "error" in line.lower() or "***" in line]
    return errors[0] if errors else f"exit status {done.status}"


def _healthy_external(shop: Workshop) -> bytes:
    """Return the out-of-tree module that all others here are held against, built as it should be."""
    return _module(shop.external(_sources(_CONTROL, _SOURCE.read_bytes()), (f"{_CONTROL}.ko",)), _CONTROL)


def _outside(
    shop: Workshop, name: str, text: bytes, *variables: str, vmlinux: Vmlinux | bytes = Vmlinux.WHOLE
) -> Altered:
    done = shop.external(_sources(name, text), (f"{name}.ko",), variables, vmlinux)
    return AlteredFile(_module(done, name), name, _healthy_external(shop), _CONTROL, done.lines)


def _failed(
    shop: Workshop,
    files: Mapping[str, bytes],
    *variables: str,
    vmlinux: Vmlinux | bytes = Vmlinux.WHOLE,
) -> NotBuilt:
    """Return what a build said that was to fail. Raises NotThereError where it did not."""
    _healthy_external(shop)
    sources = _sources("m", _SOURCE.read_bytes())
    done = shop.external({**sources, **files}, ("m.ko",), variables, vmlinux)
    if "m.ko" in done.files:
        raise NotThereError("make builds the module all the same")
    return NotBuilt(done.lines)


def _without_vmlinux(_: Healthy, shop: Workshop) -> Altered:
    return _outside(shop, "vmlinux_not_at_hand", _SOURCE.read_bytes(), vmlinux=Vmlinux.ABSENT)


def _rebuilt(_: Healthy, shop: Workshop) -> Altered:
    return _outside(shop, "subdirectory_rebuilt", shop.source(_IN_TREE))


def _cut(_: Healthy, shop: Workshop) -> NotBuilt:
    return _failed(shop, {}, vmlinux=Vmlinux.CUT)


def _no_pahole(_: Healthy, shop: Workshop) -> NotBuilt:
    return _failed(shop, {"pahole.sh": b"#!/bin/sh\n"}, f"PAHOLE={FILES}/pahole.sh")


def _another_build(healthy: Healthy, shop: Workshop) -> Altered:
    """Build it against a larger vmlinux, with no base of its own, as before 6.11 every such module was."""
    vmlinux = enlarged(healthy.vmlinux)
    name = "headers_of_another_build"
    return _outside(shop, name, _SOURCE.read_bytes(), "MODULE_PAHOLE_FLAGS=", vmlinux=vmlinux)


def _relinked(healthy: Healthy, shop: Workshop) -> Altered:
    """Link vmlinux again with a function more, and the module against that; the kernel that boots is before.

    The function's name is as long as makes the module's first own name begin where it ended: it is empty.
    """
    room = len(healthy.own.names.at(first_own_name(healthy.own))) - 1
    function = "kbtf_ci_".ljust(room, "x")[:room]
    if len(function) < len("kbtf"):
        raise NotThereError("its first name of its own is too short")
    done = shop.relinked(healthy.name, f"\nint {function}(void);\nint {function}(void) {{ return 1; }}\n")
    return AlteredBtf(ElfImage(_module(done, healthy.name)).section(".BTF"), build=done.lines)


def _in_another_order(_: Healthy, shop: Workshop) -> Altered:
    reproducible, parallel = shop.encoded(), shop.encoded("--btf_features=-reproducible_build", "-j8")
    if reproducible == parallel:
        raise NotThereError("this pahole writes the same bytes with -j8 and without")
    if len(reproducible) != len(parallel):
        raise NotThereError("this pahole writes BTF of another length with -j8")
    return AlteredVmlinux(parallel)


CASES: Final = (
    Case(
        name="image-before-relink",
        failure_class=3,
        title="vmlinux was linked again after the image was made",
        story="make bzImage, a source file touched, make modules: the modules' vmlinux has a function that "
        "the image does not know. Here make links it, and pahole writes both.",
        source="kernel/bpf/btf.c, btf_check_all_metas(): the name's check of whichever type has the first",
        expected=refused(some_type("Invalid name")),
        build=_relinked,
        needs=_TREE,
    ),
    Case(
        name="headers-of-another-build",
        failure_class=4,
        title="the headers' vmlinux is another, larger build's",
        story="build/vmlinux was copied from another kernel. The module is written with no base of its own, "
        "as all were before 6.11 or with pahole before 1.28.",
        source="kernel/bpf/btf.c, btf_check_meta(), btf_name_offset_valid()",
        expected=refused(plain("[<number>] Invalid name_offset:<number>")),
        build=_another_build,
        needs=_TREE,
        until=(6, 19),
    ),
    Case(
        name="vmlinux-not-at-hand",
        failure_class=5,
        title="kbuild leaves a module's BTF out",
        story="'Skipping BTF generation': the headers have no vmlinux. The module loads; fentry and kfuncs "
        "of it are not to be had.",
        source=f"{_MODFINAL}, cmd_btf_ko",
        expected=always(
            Expected(
                Outcome.NO_BTF,
                build=("Skipping BTF generation for <text>.ko due to unavailability of vmlinux",),
            )
        ),
        build=_without_vmlinux,
        needs=_TREE,
    ),
    Case(
        name="subdirectory-rebuilt",
        failure_class=25,
        title="an in-tree module was built again with make M=",
        story="make takes it for an external one: it gets a distilled base since 6.11, and is not marked as "
        "of the tree. On the kernel of the same build the kernel moves it to vmlinux and takes it.",
        source="scripts/Makefile.btf, KBUILD_EXTMOD",
        expected=taken(),
        build=_rebuilt,
        needs=_TREE,
    ),
    Case(
        name="headers-vmlinux-cut",
        failure_class=29,
        title="the vmlinux of the headers package is cut short",
        story="Half a download, or a full disk: pahole cannot read the base, and make deletes the module.",
        source="pahole, pahole.c, btf__parse() of --btf_base; libbpf, LIBBPF_ERRNO__FORMAT",
        expected=not_built(
            "Failed to parse base BTF <text>: -<number>", "make<text> *** <text> Error <number>"
        ),
        build=_cut,
        needs=_TREE,
    ),
    Case(
        name="pahole-overridden",
        failure_class=30,
        title="a module's Makefile sets PAHOLE to what cannot be run",
        story="A script that lost its mode bits in a tarball, say: the shell refuses it at the BTF step.",
        source=f"{_MODFINAL}, cmd_btf_ko; POSIX.1, exit status 126",
        expected=not_built(f"<text>{FILES}/pahole.sh: Permission denied", "make<text> *** <text> Error 126"),
        build=_no_pahole,
        needs=_TREE,
    ),
    Case(
        name="encoded-in-parallel",
        failure_class=34,
        title="the BTF of two builds differs in its order alone",
        story="pahole -j without reproducible_build may give types and strings another order in every "
        "build. A module of the one loads on the other without a word, and leads to types that mean nothing.",
        source="kernel/bpf/btf.c, btf_parse_module() resolves no type: it has no btf_check_all_types()",
        expected=with_vmlinux_altered(taken()),
        build=_in_another_order,
        needs=frozenset({Need.TREE, Need.ALTERABLE}),
        until=(6, 19),
    ),
    Case(
        name="kfunc-prototype-as-it-was",
        failure_class=35,
        title="a kfunc's prototype still has its implicit argument",
        story="pahole gave no bpf_kfunc tag, so resolve_btfids left the prototype: programs fail to load.",
        source="tools/bpf/resolve_btfids/main.c, since 7.0",
        expected=taken(),
        since=(7, 0),
        needs=_TREE,
        why_not="of vmlinux, which kbtf-ci check --vmlinux names; a module's is kfunc-without-twin",
    ),
)
