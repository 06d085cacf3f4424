# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.carriers import CarrierArchive, deal, write_archive
from kbtf_ci.guest.image import guest_path
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadMode
from tests.support.cpio import read_archives

XFS = Module("xfs", "kernel/fs/xfs.ko", 300, "")
PACKED = Module("xfs", "kernel/fs/xfs.ko", 200, "", packed=".xz")


def test_each_carrier_lies_where_the_probe_is_sent(tmp_path: Path) -> None:
    odd = Module("odd", "kernel/o d%d.ko", 1, "")
    archive = write_archive(tmp_path / "a.cpio", [(XFS, b"one"), (PACKED, b"two"), (odd, b"three")])
    files = read_archives(archive.path.read_bytes())
    for module, content in ((XFS, b"one"), (PACKED, b"two"), (odd, b"three")):
        assert files[str(guest_path(LoadMode.CARRIER, module)).lstrip("/")][1] == content
    assert archive.stored == ("kernel/fs/xfs.ko", "kernel/fs/xfs.ko.xz", "kernel/o d%d.ko")
    assert archive.weight == 300 + 200 + 1 + 30_000


def archive(name: str, weight: int) -> CarrierArchive:
    return CarrierArchive(Path(name), (name,), weight)


def test_archives_are_dealt_by_weight_and_nobody_goes_without() -> None:
    archives = [archive(name, weight) for name, weight in (("a", 5), ("b", 3), ("c", 3), ("d", 5), ("e", 2))]
    hands = deal(archives, 2)
    assert sorted(one.path.name for hand in hands for one in hand) == list("abcde")
    assert sorted(sum(one.weight for one in hand) for hand in hands) == [8, 10]
    assert deal(archives[:1], 3) == ((archives[0],),)
    assert deal([], 2) == ()


def test_an_archive_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"none/a\.cpio: cannot be written: No such file"):
        write_archive(tmp_path / "none/a.cpio", [(XFS, b"one")])
