# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Boot images, distributions' packages and tarballs of kernels, made byte by byte."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tarfile
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import zstandard

RELEASE = "6.12.1-test"


def boot_image(
    release: str = RELEASE,
    *,
    protocol: int = 0x20F,
    xloadflags: int = 1,
    text: bytes | None = None,
    version_at: int = 0x3000,
) -> bytes:
    """Return the setup part of a bzImage, which says it is ``release``, or has ``text`` in its place."""
    image = bytearray(0x4000)
    image[0x1F1] = 31
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x202:0x206] = b"HdrS"
    image[0x206:0x208] = protocol.to_bytes(2, "little")
    image[0x20E:0x210] = (version_at - 0x200 if version_at else 0).to_bytes(2, "little")
    image[0x236:0x238] = xloadflags.to_bytes(2, "little")
    said = f"{release} (builder@host) #1 SMP\0".encode() if text is None else text
    image[version_at : version_at + len(said)] = said
    return bytes(image)


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """Return a link, symbolic or hard, for ``tarball``."""
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def special(kind: bytes) -> tarfile.TarInfo:
    """Return a FIFO or a device for ``tarball``."""
    info = tarfile.TarInfo()
    info.type = kind
    return info


def tarball(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """Return an uncompressed tar archive of files by name, and of what ``link`` and ``special`` return."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo()
            info.name = name
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def deb(
    members: Mapping[str, bytes | tarfile.TarInfo],
    packer: str = "xz",
    name: str = "linux-image-test",
    needs: str = "",
) -> bytes:
    """Return a Debian package, its members packed by a compression: deb(5)."""
    control = (
        f"Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDepends: {needs or 'libc6'}\n"
        "Description: x\n"
    ).encode()
    return ar(
        [
            ("debian-binary", b"2.0\n"),
            (f"control.tar{SUFFIXES[packer]}", PACKERS[packer](tarball({"./control": control}))),
            (f"data.tar{SUFFIXES[packer]}", PACKERS[packer](tarball(members))),
        ]
    )


PACKERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "": bytes,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
}
SUFFIXES: Final = {name: f".{name}" if name else "" for name in PACKERS}


def rpm(
    members: Mapping[str, bytes | tarfile.TarInfo],
    packer: str = "zst",
    name: str = "kernel-core",
    needs: Mapping[str, str] | None = None,
) -> bytes:
    """Return a package as rpm lays it out: lead, signatures, header, a packed cpio archive."""
    needs = needs or {}
    strings = {1000: [name], 1049: list(needs), 1050: list(needs.values())}
    lead = b"\xed\xab\xee\xdb\x03\0" + bytes(90)
    signature = _rpm_header({1000: ["odd"]})
    payload = PACKERS[packer](cpio(members))
    return lead + signature + bytes(-len(signature) % 8) + _rpm_header(strings) + payload


def _rpm_header(strings: Mapping[int, list[str]]) -> bytes:
    index, data = b"", b""
    for tag, words in strings.items():
        index += struct.pack(">IIII", tag, 8, len(data), len(words))
        data += b"".join(word.encode() + b"\0" for word in words)
    return b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">II", len(strings), len(data)) + index + data


def cpio(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """Return an archive of the newc format, of what ``tarball`` takes, hard links among files by inode."""
    modes = {tarfile.REGTYPE: 0o100644, tarfile.SYMTYPE: 0o120777, tarfile.DIRTYPE: 0o40755}
    data, inodes = b"", dict[str, int]()
    for name, content in {**members, "TRAILER!!!": b""}.items():
        info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo()
        body = content if isinstance(content, bytes) else info.linkname.encode()
        inode = inodes.setdefault(name, len(inodes) + 1)
        mode = modes.get(info.type, 0o20644) if name != "TRAILER!!!" else 0
        fields = (inode, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name.encode()) + 1, 0)
        data += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        data += bytes(-len(data) % 4) + body
        data += bytes(-len(data) % 4)
    return data


def pacman(
    members: Mapping[str, bytes | tarfile.TarInfo], name: str = "linux", needs: Iterable[str] = ()
) -> bytes:
    """Return a package as makepkg lays it out."""
    lines = [f"pkgname = {name}", "pkgver = 6.12.arch1-1", *(f"depend = {need}" for need in needs)]
    info = "\n".join([*lines, ""]).encode()
    return PACKERS["zst"](tarball({".BUILDINFO": b"", ".MTREE": b"x", ".PKGINFO": info, **members}))


def apk(
    members: Mapping[str, bytes | tarfile.TarInfo], name: str = "linux-lts", needs: Iterable[str] = ()
) -> bytes:
    """Return a package as abuild lays it out: three gzip streams, the first two without an archive's end."""
    lines = [f"pkgname = {name}", *(f"depend = {need}" for need in needs), "datahash = 0"]
    info = "\n".join([*lines, ""]).encode()
    parts = [{".SIGN.RSA.x.rsa.pub": b"signature"}, {".PKGINFO": info}]
    heads = [gzip.compress(tarball(part).rstrip(b"\0") + _until_block(tarball(part))) for part in parts]
    return b"".join(heads) + gzip.compress(tarball(members))


def _until_block(archive: bytes) -> bytes:
    return bytes(-len(archive.rstrip(b"\0")) % 512)


def ar(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Return an archive of ar(1)."""
    parts = [b"!<arch>\n"]
    for name, data in members:
        parts.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode())
        parts += [data, b"\n" * (len(data) % 2)]
    return b"".join(parts)
