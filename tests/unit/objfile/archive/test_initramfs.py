# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""An initramfs as distributions make it, and as nobody should."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import lz4.block
import lz4.frame
import pytest
import zstandard

from kbtf_ci.errors import UsageError
from kbtf_ci.objfile.archive import initramfs
from kbtf_ci.objfile.archive.initramfs import initramfs_members
from kbtf_ci.objfile.archive.kernel_files import KernelFiles
from kbtf_ci.objfile.archive.reader import MemberType
from tests.support.packages import RELEASE, cpio, link, special

PLACE = f"usr/lib/modules/{RELEASE}/kernel"
EARLY = cpio({"kernel": special(tarfile.DIRTYPE), "kernel/x86/microcode/GenuineIntel.bin": b"x" * 999})
MAIN = cpio({"lib": link("usr/lib"), "dev/console": special(tarfile.CHRTYPE), f"{PLACE}/a.ko": b"a" * 5000})


def lz4_legacy(data: bytes) -> bytes:
    """Pack as ``lz4 -l`` does, which is what initramfs-tools calls."""
    block: bytes = lz4.block.compress(data, store_size=False)
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block


PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "lz4": lz4.frame.compress,
    "lz4 -l": lz4_legacy,
}


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "initrd.img"
    path.write_bytes(data)
    return path


def modules(tmp_path: Path, data: bytes) -> dict[str, bytes]:
    folder = tmp_path / "tree"
    folder.mkdir()
    files = KernelFiles(folder)
    files.add_initramfs(written(tmp_path, data))
    files.finish()
    return {path.name: path.read_bytes() for path in folder.rglob("*.ko")}


@pytest.mark.parametrize("packer", PACKERS)
def test_the_modules_behind_microcode_and_padding_are_found(tmp_path: Path, packer: str) -> None:
    data = EARLY + bytes(512) + EARLY + bytes(-len(EARLY) % 4) + PACKERS[packer](MAIN)
    assert modules(tmp_path, data) == {"a.ko": b"a" * 5000}


@pytest.mark.parametrize("packer", [name for name in PACKERS if name != "lz4 -l"])
def test_archives_stand_behind_each_other_in_any_packing(tmp_path: Path, packer: str) -> None:
    later = cpio({f"{PLACE}/b.ko": b"b", f"{PLACE}/a.ko": b"newer"})
    pack = PACKERS[packer]
    data = pack(MAIN) + bytes(4096) + pack(EARLY) + pack(later) + later
    assert modules(tmp_path, data) == {"a.ko": b"newer", "b.ko": b"b"}


def test_two_archives_in_one_stream_are_two(tmp_path: Path) -> None:
    data = gzip.compress(MAIN + bytes(512) + cpio({f"{PLACE}/b.ko": b"b"}) + bytes(100))
    assert set(modules(tmp_path, data)) == {"a.ko", "b.ko"}


def test_names_of_one_file_are_hard_links(tmp_path: Path) -> None:
    data = bytearray(cpio({"a": b"", "b": b"", "c": b"content", "d": b"other"}))
    at = -1
    for _ in range(3):
        at = data.index(b"070701", at + 1)
        data[at + 6 : at + 14], data[at + 38 : at + 46] = b"0000002A", b"00000003"
    found = [(one.name, one.type, one.target) for one, _ in initramfs_members(written(tmp_path, bytes(data)))]
    hard = MemberType.HARDLINK
    assert found == [
        ("a", MemberType.FILE, ""),
        ("b", hard, "a"),
        ("c", hard, "a"),
        ("d", MemberType.FILE, ""),
    ]


def test_a_name_with_a_slash_in_front_is_below_the_root(tmp_path: Path) -> None:
    assert set(modules(tmp_path, cpio({f"/{PLACE}/a.ko": b"a", f"./{PLACE}/b.ko": b"b"}))) == {"a.ko", "b.ko"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no archive", "no initramfs: at byte 0"),
        (EARLY + b"no archive", "no initramfs: at byte"),
        (EARLY[:-200], "cut short or damaged"),
        (MAIN[:3000], "cut short or damaged"),
        (gzip.compress(MAIN)[:-20], "cannot be unpacked as gzip: it ends in the middle"),
        (gzip.compress(MAIN) + b"x", "no initramfs: at byte"),
        (gzip.compress(gzip.compress(MAIN)), "no initramfs"),
        (b"\x28\xb5\x2f\xfd" + bytes(50), "cannot be unpacked as zstd"),
        (b"\x89LZO\0\r\n\x1a\n" + bytes(50), "LZO is not supported"),
        (cpio({f"{PLACE}/../../../../../../x.ko": b"x"}), "leads out of it"),
        (cpio({f"{PLACE}/x.ko": link("../../../../../../etc/passwd")}), "a link that leads out"),
    ],
)
def test_what_is_none_or_damaged_or_means_harm_is_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        modules(tmp_path, data)
    assert str(tmp_path / "initrd.img") in caught.value.message
    assert caught.value.message.isprintable()


def test_no_cut_or_flipped_initramfs_ends_otherwise(tmp_path: Path) -> None:
    for number, whole in enumerate((EARLY + MAIN, gzip.compress(MAIN), lzma.compress(MAIN))):
        cuts = [whole[:size] for size in range(1, len(whole), len(whole) // 40 + 1)]
        flips = [whole[:at] + b"\xff" + whole[at + 1 :] for at in range(0, len(whole), len(whole) // 90 + 1)]
        for which, data in enumerate([*cuts, *flips]):
            place = tmp_path / f"{number}-{which}"
            place.mkdir()
            try:
                modules(place, data)
            except UsageError as error:
                assert error.message.isprintable()  # noqa: PT017 - it need not be raised


def test_one_that_unpacks_to_more_than_any_machine_takes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initramfs, "_LIMIT", 1 << 20)
    big = cpio({"big": bytes(3 << 20)})
    with pytest.raises(UsageError, match="unpacks to more than 1 MiB"):
        modules(tmp_path, gzip.compress(big))
    (tmp_path / "tree").rmdir()
    # Each is small, all are not.
    with pytest.raises(UsageError, match="unpacks to more than 1 MiB"):
        modules(tmp_path, gzip.compress(cpio({"big": bytes(700 << 10)})) * 2)
