# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Boot images, Debian packages and tarballs of kernels, made byte by byte."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Iterable, Mapping

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


def deb(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """Return a Debian package: deb(5)."""
    control = b"Package: linux-image-test\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: x\n"
    return ar(
        [
            ("debian-binary", b"2.0\n"),
            ("control.tar", tarball({"./control": control})),
            ("data.tar.xz", lzma.compress(tarball(members))),
        ]
    )


def ar(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Return an archive of ar(1)."""
    parts = [b"!<arch>\n"]
    for name, data in members:
        parts.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode())
        parts += [data, b"\n" * (len(data) % 2)]
    return b"".join(parts)
