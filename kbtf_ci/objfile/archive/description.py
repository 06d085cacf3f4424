# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a package says of itself: its name, and which others it needs."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Final

from kbtf_ci.errors import KbtfError
from kbtf_ci.objfile.archive.kinds import Kind, kind_of
from kbtf_ci.objfile.archive.reader import members

_MOST: Final = 1 << 20


class Maker(Enum):
    """Whose package it is, as far as names of packages go."""

    DEBIAN = "Debian"
    RPM = "rpm"
    ARCH = "Arch"
    ALPINE = "Alpine"


@dataclass(frozen=True)
class Package:
    """A package; of what it ``needs`` versions are left out, but for rpm's ``kernel-core-uname-r``.

    ``kernel-core-uname-r = 6.11`` is there as kernel-core-6.11: so the package's file is named.
    """

    name: str
    maker: Maker
    needs: tuple[str, ...]


def describe(path: Path) -> Package | None:
    """Return what the package says of itself, None for what is none, is damaged, or says nothing."""
    try:
        kind = kind_of(path)
        if kind is Kind.RPM:
            return _rpm(path)
        if kind is Kind.DEB:
            return _debian(_text(path, Kind.DEB, "control", control=True))
        return _pkginfo(_text(path, Kind.TAR, r"\.PKGINFO")) if kind is Kind.TAR else None
    except (KbtfError, OSError, ValueError, struct.error):
        return None


def _text(path: Path, kind: Kind, name: str, *, control: bool = False) -> str:
    """Return the first member of that name, empty where there is none."""
    with members(path, kind, name, control=control) as told:
        for _, pieces in told:
            return _bounded(pieces).decode(errors="replace")
    return ""


def _bounded(pieces: Iterable[bytes]) -> bytes:
    text = io.BytesIO()
    for piece in pieces:
        if text.write(piece) and text.tell() > _MOST:
            raise ValueError("too long")
    return text.getvalue()


def _debian(control: str) -> Package | None:
    """deb-control(5): fields, and lines that go on with one."""
    joined = re.sub(r"\n[ \t]+", " ", control)
    fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", joined, re.MULTILINE))
    words = re.split(r"[,|]", f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}")
    needs = (found[0] for word in words if (found := re.match(r"[\w.+-]+", word.strip())))
    return Package(fields["Package"], Maker.DEBIAN, tuple(needs)) if "Package" in fields else None


def _pkginfo(text: str) -> Package | None:
    """Of Arch (makepkg) and Alpine (abuild), which have the same form; Alpine's has a hash of the data."""
    values = re.findall(r"^(\w+) = (.*)$", text, re.MULTILINE)
    names = [value for key, value in values if key == "pkgname"]
    maker = Maker.ALPINE if any(key == "datahash" for key, _ in values) else Maker.ARCH
    needs = tuple(re.split(r"[<>=~]", value)[0] for key, value in values if key == "depend")
    return Package(names[0], maker, needs) if names else None


# RPM's file format: a lead, a header of signatures padded to eight bytes, the header itself.
_LEAD: Final = 96
_MAGIC: Final = b"\x8e\xad\xe8\x01"
_ENTRY: Final = struct.Struct(">IIII")
_NAME, _REQUIRE_NAME, _REQUIRE_VERSION = 1000, 1049, 1050
_MOST_ENTRIES: Final = 1 << 16
_MOST_DATA: Final = 1 << 26
_UNAME: Final = "-uname-r"


def _rpm(path: Path) -> Package | None:
    with path.open("rb") as file:
        file.seek(_LEAD)
        _header(file)
        file.seek(-(file.tell() - _LEAD) % 8, io.SEEK_CUR)
        values = _header(file)
    names = values.get(_REQUIRE_NAME, [])
    versions = values.get(_REQUIRE_VERSION, [])
    versions += [""] * (len(names) - len(versions))
    own = values.get(_NAME)
    return Package(own[0], Maker.RPM, tuple(_needs(names, versions))) if own else None


def _needs(names: list[str], versions: list[str]) -> Iterator[str]:
    for name, version in zip(names, versions, strict=False):
        yield f"{name.removesuffix(_UNAME)}-{version}" if name.endswith(_UNAME) else name


def _header(file: BinaryIO) -> dict[int, list[str]]:
    """Return the strings of one header by their tags. Raises ValueError where it is none."""
    magic, _, entries, size = struct.unpack(">4sIII", file.read(16))
    if magic != _MAGIC or entries > _MOST_ENTRIES or size > _MOST_DATA:
        raise ValueError("no header of an rpm")
    index = file.read(entries * _ENTRY.size)
    data = file.read(size)
    return {
        tag: [word.decode(errors="replace") for word in data[at:].split(b"\0", count)[:count]]
        for tag, _, at, count in _ENTRY.iter_unpack(index)
        if tag in {_NAME, _REQUIRE_NAME, _REQUIRE_VERSION}
    }
