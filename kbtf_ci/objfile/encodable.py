# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether a module's file can be given BTF: is it packed or signed, and has it what pahole reads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.objfile.compression import format_of, load
from kbtf_ci.objfile.elf import MODULE_LIMIT, ElfImage, modinfo
from kbtf_ci.objfile.files import SIGNATURE

_DWARF = ".debug_info"
_HEAD_BYTES = 16


@dataclass(frozen=True)
class Encodable:
    """What a file says: the release it was built for, "" where it says none, and how it is to be treated.

    ``fault`` says why it can have no BTF, ``only_detached`` why none can be written into it; "" where it can.
    ``btf_ids`` is whether it has ids of BTF in it, which are not pahole's to write.
    """

    release: str = ""
    fault: str = ""
    only_detached: str = ""
    btf_ids: bool = False


def examine(path: Path) -> Encodable:
    """Return what the module at ``path`` says; what cannot be read has that as its fault."""
    try:
        with path.open("rb") as file:
            packed = format_of(file.read(_HEAD_BYTES))
            status = os.fstat(file.fileno())
    except OSError as error:
        return Encodable(fault=_without_name(file_error(error, path, "cannot be read").message, path))
    if packed is not None:
        return Encodable(fault=f"compressed ({packed.name}): unpack it first")
    try:
        return _examined(ElfImage(load(path, MODULE_LIMIT), str(path)), status)
    except UsageError as error:
        return Encodable(fault=_without_name(error.message, path))


def _examined(image: ElfImage, status: os.stat_result) -> Encodable:
    if image.type != "ET_REL":
        return Encodable(fault=f"not a kernel module: its ELF type is {image.type}, not ET_REL")
    words = modinfo(image.section(".modinfo") or b"").get("vermagic", "").split()
    ids = image.find(".BTF_ids")
    return Encodable(
        release=words[0] if words else "",
        fault="" if image.section(_DWARF) else f"no debug information ({_DWARF}) in it",
        only_detached=_only_detached(image, status),
        btf_ids=ids is not None and ids.size > 0,
    )


def _only_detached(image: ElfImage, status: os.stat_result) -> str:
    if image.data[-len(SIGNATURE) :] == SIGNATURE:
        return "signed, and the signature holds for no other content"
    if status.st_nlink > 1:
        return f"one of {status.st_nlink} names of a file (hard links), and the others would be left without"
    return ""


def section_bytes(path: Path) -> tuple[int, int]:
    """Return the sizes of ``.BTF`` and ``.BTF.base`` of a module, 0 for none. Raises UsageError."""
    image = ElfImage(load(path, MODULE_LIMIT), str(path))
    btf, base = (image.find(name) for name in (".BTF", ".BTF.base"))
    return btf.size if btf else 0, base.size if base else 0


def _without_name(message: str, path: Path) -> str:
    return message.removeprefix(f"{path}: ")
