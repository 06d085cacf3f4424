# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Compilers and paholes that are known to write BTF which a kernel refuses, or lacks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kbtf_ci.model.version import Version, parse_version

_PAHOLE: Final = "CONFIG_PAHOLE_VERSION"
_GCC: Final = "CONFIG_GCC_VERSION"
_CLANG: Final = "CONFIG_CLANG_VERSION"
_GENDWARFKSYMS: Final = "CONFIG_GENDWARFKSYMS"

# LLVM's GlobalMerge pass is on there since 20; of a merged variable DWARF says an offset that pahole does not
# add up to 1.31, and two variables of a DATASEC lie at one place.
_MERGES_GLOBALS: Final = frozenset({"ppc64le", "ppc64", "riscv64"})
_MERGES_SINCE: Final = 20
_ADDS_OFFSETS_SINCE: Final = 132
# Kernel commit 9520a2b3f0b5: from pahole 47dcb534e253 to 9810758003ce.
_WITH_SYMBOL_POINTERS: Final = (128, 129)
# It leaves a function out where an argument is not in the register that the ABI has for it.
_DROPS_OF_CLANG: Final = 132
# libbpf commit 37027144, in 1.7.0, to 5b0f3729.
_REPEATS_TYPEDEFS: Final = (1, 7)
# libbpf commits c8a28812 and 5ee9fbf7. Since kernel commit ac053946f5c4 a per-CPU pointer is one to a named
# address space where gcc has typeof_unqual, and DWARF describes it twice.
_KEEPS_STRUCTS_SINCE: Final = (1, 6)
_SEGMENT_POINTERS: Final = "CONFIG_USE_X86_SEG_SUPPORT"
_UNQUALIFIED_SINCE: Final = (6, 15)
_UNQUALIFIED_OF_GCC: Final = 140_000


def known_pairs(
    config: Mapping[str, str], architecture: str, libbpf: str = "", kernel: Version | None = None
) -> tuple[str, ...]:
    """Return a line for each thing that is known to go wrong with a configuration's compiler and pahole.

    ``config`` maps ``CONFIG_X`` to its value; ``architecture`` is its name as --arch has it, ``libbpf`` the
    version of pahole's, "" for not known, ``kernel`` the kernel's.
    """
    pahole, clang = _number(config, _PAHOLE), _number(config, _CLANG) // 10_000
    who = f"pahole {pahole // 100}.{pahole % 100}"
    found = []
    if clang >= _MERGES_SINCE and architecture in _MERGES_GLOBALS and 0 < pahole < _ADDS_OFFSETS_SINCE:
        found.append(
            f"clang {clang} with {who} on {architecture}: two variables of one section get one offset, and "
            "the kernel refuses vmlinux's BTF and with it every module's (BPF: Invalid offset); pahole 1.32 "
            "is the first that does not, or clang 19"
        )
    if config.get(_GENDWARFKSYMS) == "y" and architecture == "x86_64" and pahole in _WITH_SYMBOL_POINTERS:
        found.append(
            f"{_GENDWARFKSYMS} with {who}: its pointers to symbols become variables at one offset, and the "
            "kernel refuses vmlinux's BTF (BPF: Invalid offset); pahole 1.27 and 1.30 do not do that"
        )
    if clang and pahole == _DROPS_OF_CLANG:
        found.append(
            f"clang {clang} with {who}: a function that gets an argument in another register than the ABI's "
            "is left out, be it a kfunc (resolve_btfids: unresolved symbol); older paholes keep it, and so "
            "does gcc"
        )
    return (*found, *_repeats(config, f"{who} with libbpf {libbpf}", parse_version(libbpf), kernel))


def _repeats(
    config: Mapping[str, str], who: str, libbpf: Version | None, kernel: Version | None
) -> Iterator[str]:
    if libbpf == _REPEATS_TYPEDEFS:
        yield (
            f"{who}: modules' BTF has vmlinux's typedefs once more, and may be twice as large and more; "
            "libbpf 1.6 does not do that, nor any with its commit 5b0f3729"
        )
    described_twice = (
        config.get(_SEGMENT_POINTERS) == "y"
        and _number(config, _GCC) >= _UNQUALIFIED_OF_GCC
        and kernel is not None
        and kernel >= _UNQUALIFIED_SINCE
    )
    if described_twice and libbpf is not None and libbpf < _KEEPS_STRUCTS_SINCE:
        yield (
            f"{who}, gcc and Linux 6.15 or later: modules' BTF has vmlinux's structs with per-CPU pointers "
            "once more, and may be nine times as large; libbpf 1.6 is the first that does not do that"
        )


def _number(config: Mapping[str, str], symbol: str) -> int:
    value = config.get(symbol, "")
    return int(value) if value.isdecimal() else 0
