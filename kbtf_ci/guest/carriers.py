# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Carriers as guests get them: some in an archive, and so many archives to a guest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.cpio import CpioWriter
from kbtf_ci.guest.modprobe import MODULES, carrier_file
from kbtf_ci.model.module import Module

# Each module costs its load besides its bytes: about as much as 10 KB of BTF.
_LOAD_BYTES = 10_000


@dataclass(frozen=True)
class CarrierArchive:
    """An archive that the kernel unpacks among others: the stored paths of the modules in it.

    ``weight`` is what their loads cost, in bytes of BTF.
    """

    path: Path
    stored: tuple[str, ...]
    weight: int


def weight(module: Module) -> int:
    """Return what a module's load costs, in bytes of BTF."""
    return module.btf_bytes + _LOAD_BYTES


def write_archive(path: Path, carriers: Iterable[tuple[Module, bytes]]) -> CarrierArchive:
    """Write modules' carriers to a cpio archive. Raises InfrastructureError on a full disk."""
    written = []
    try:
        with path.open("wb") as stream:
            archive = CpioWriter(stream)
            for module, carrier in carriers:
                file = MODULES / carrier_file(module)
                archive.folder(file.parent)
                archive.data(file, carrier, 0o644)
                written.append(module)
            archive.close()
    except OSError as error:
        raise InfrastructureError(f"{path}: cannot be written: {error.strerror}") from error
    return CarrierArchive(path, tuple(one.stored for one in written), sum(map(weight, written)))


def deal(archives: Iterable[CarrierArchive], guests: int) -> tuple[tuple[CarrierArchive, ...], ...]:
    """Divide archives among at most so many guests, each of about the same weight; none goes without."""
    hands: list[list[CarrierArchive]] = [[] for _ in range(guests)]
    for one in sorted(archives, key=lambda archive: archive.weight, reverse=True):
        if one.stored:
            min(hands, key=_held).append(one)
    return tuple(tuple(hand) for hand in hands if hand)


def _held(hand: Sequence[CarrierArchive]) -> int:
    return sum(one.weight for one in hand)
