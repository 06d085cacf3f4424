# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A module of the kernel's own by other names, so that several of it can be loaded with their code."""

from __future__ import annotations

from typing import Final

from kbtf_ci.btf.cases.case import Healthy, NotThereError
from kbtf_ci.btf.cases.edit import patched
from kbtf_ci.objfile.elf import ElfImage

# They register kfuncs and need no other module.
SUBJECT: Final = "tcp_bbr"
OTHER_SUBJECT: Final = "tcp_dctcp"
CONTROL: Final = "tcp_bb0"
_SIGNATURE: Final = b"~Module signature appended~\n"  # MODULE_SIG_STRING, include/linux/module_signature.h


def subject(healthy: Healthy, name: str = SUBJECT) -> bytes:
    """Return the module as it is. Raises NotThereError."""
    data = healthy.find(name)
    if data is None:
        raise NotThereError(f"this kernel has no module {name}")
    return data


def renamed(data: bytes, name: str, old: str = SUBJECT) -> bytes:
    """Return the module by another name of the same length, and unsigned. Raises NotThereError."""
    image = ElfImage(data, old)
    for section, before in ((".modinfo", b"name="), (".gnu.linkonce.this_module", b"")):
        place = image.find(section)
        start, end = (place.offset, place.offset + place.size) if place else (0, 0)
        found = data.find(before + old.encode() + b"\0", start, end)
        if found < 0:
            raise NotThereError(f"{old} does not say its name in {section}")
        data = patched(data, found + len(before), name.encode())
    return _unsigned(data)


def _unsigned(data: bytes) -> bytes:
    """Return a module without its signature, which another content would make a wrong one.

    Before the mark lie struct module_signature, of 12 bytes with the length in its last four, and that many.
    """
    if not data.endswith(_SIGNATURE):
        return data
    end = len(data) - len(_SIGNATURE) - 12
    return data[: end - int.from_bytes(data[end + 8 : end + 12], "big")]


def inert(data: bytes) -> bytes:
    """Return a module without its init function: the pointers to it and to its exit are not filled in.

    A relocation of all zeroes is R_*_NONE. Raises NotThereError.
    """
    relocations = ElfImage(data, SUBJECT).find(".rela.gnu.linkonce.this_module")
    if relocations is None:
        raise NotThereError(f"{SUBJECT} has no init function")
    return patched(data, relocations.offset, bytes(relocations.size))
