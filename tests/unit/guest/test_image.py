# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The initramfs, read back by an independent reader of the newc format."""

from __future__ import annotations

import stat
from dataclasses import replace
from io import BytesIO
from pathlib import Path, PurePosixPath

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.guest.cpio import CpioWriter
from kbtf_ci.guest.image import ROOT_ARCHIVE, EarlyModule, check_memory, guest_path, make_image, root_archive
from kbtf_ci.guest.keys import GuestKeys
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadMode
from tests.support import images
from tests.support.cpio import read_archives
from tests.support.local import LocalRunner


def root() -> bytes:
    stream = BytesIO()
    archive = CpioWriter(stream)
    archive.folder(PurePosixPath("etc"))
    archive.data(PurePosixPath("etc/passwd"), b"root:x:0", 0o644)
    archive.close()
    return stream.getvalue() + bytes(3)  # an archive whose end is not at a multiple of four


ROOT = root()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "root.cpio").write_bytes(ROOT)
    for number, name in enumerate(("kernel/fs/a.ko", "kernel/fs/sub/b.ko")):
        (tmp_path / "modules" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "modules" / name).write_bytes(b"x" * (number + 5))
    return tmp_path


MODULES = (Module("a", "kernel/fs/a.ko", 1, ""), Module("b", "kernel/fs/sub/b.ko", 1, ""))


def test_the_initramfs_holds_root_modules_and_keys(tree: Path) -> None:
    image = make_image(ROOT, tree / "guest", tree / "modules", MODULES)
    files = read_archives(image.initramfs.read_bytes())
    assert files["etc/passwd"][1] == b"root:x:0"
    assert files["lib/modules/kernel/fs/a.ko"] == (stat.S_IFREG | 0o644, b"xxxxx")
    assert files["lib/modules/kernel/fs/sub/b.ko"][1] == b"xxxxxx"
    assert files["etc/dropbear/host_key"] == (stat.S_IFREG | 0o600, image.keys.host)
    assert files["root/.ssh"][0] == stat.S_IFDIR | 0o700
    assert files["root/.ssh/authorized_keys"][1].decode().strip() == image.keys.client_public


def test_with_a_release_the_modules_lie_where_modprobe_looks(tree: Path) -> None:
    modules = (
        replace(MODULES[0], file="kernel/fs/odd name.ko", depends=("b",)),
        MODULES[1],
    )
    tree_file = tree / "modules" / modules[0].file
    tree_file.write_bytes(images.build([images.Part(".modinfo", b"name=a\0alias=fs-a\0alias=fs-z\0")]))
    (tree / "modules" / modules[1].file).write_bytes(images.build([images.Part(".text", b"x")]))
    image = make_image(ROOT, tree / "guest", tree / "modules", modules, release="6.12.3")
    files = read_archives(image.initramfs.read_bytes())
    below = "lib/modules/6.12.3"
    assert files[f"{below}/kernel/fs/odd%20name.ko"][1] == tree_file.read_bytes()
    assert files[f"{below}/modules.dep"][1] == (
        b"kernel/fs/sub/b.ko:\nkernel/fs/odd%20name.ko: kernel/fs/sub/b.ko\n"
    )
    assert files[f"{below}/modules.alias"][1] == b"alias fs-a a\nalias fs-z a\n"


def test_the_probe_is_asked_for_the_very_path_that_the_image_has(tree: Path) -> None:
    odd = replace(MODULES[0], file="kernel/a \n\udcff.ko")
    (tree / "modules" / odd.file).write_bytes(b"odd")
    image = make_image(ROOT, tree / "guest", tree / "modules", [odd])
    path = guest_path(LoadMode.REAL, odd)
    assert str(path).split() == [str(path)]
    assert read_archives(image.initramfs.read_bytes())[str(path).lstrip("/")][1] == b"odd"


def test_what_the_guest_needs_is_numbered_in_the_order_to_load_it_in(tree: Path) -> None:
    needed = [EarlyModule(f"m{number}", bytes([number])) for number in range(11, 0, -1)]
    image = make_image(ROOT, tree / "guest", tree / "modules", MODULES, needed)
    files = read_archives(image.initramfs.read_bytes())
    found = sorted(name for name in files if name.startswith("lib/needed/"))
    assert [files[name][1] for name in found] == [one.content for one in needed]
    assert found[0] == "lib/needed/000-m11.ko"
    assert image.present == {one.name for one in needed}


def test_the_client_key_is_the_users_alone_and_an_ssh_key(tree: Path) -> None:
    (tree / "guest").mkdir()
    (tree / "guest/ssh-key").write_bytes(b"an old one, longer than what comes now" * 50)
    (tree / "guest/ssh-key").chmod(0o644)
    image = make_image(ROOT, tree / "guest", tree / "modules", MODULES)
    path = tree / "guest/ssh-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == image.keys.client
    load_ssh_private_key(path.read_bytes(), None)


def test_every_run_has_keys_of_its_own() -> None:
    one, two = GuestKeys.generate(), GuestKeys.generate()
    assert len({one.client_public, two.client_public, one.host_public, two.host_public}) == 4


def test_a_keys_secrets_are_not_in_its_text() -> None:
    keys = GuestKeys.generate()
    assert "PRIVATE" not in repr(keys)
    assert repr(keys.host) not in repr(keys)


def test_a_module_that_is_not_there_is_named_and_leaves_nothing_behind(tree: Path) -> None:
    (tree / "modules/kernel/fs/a.ko").unlink()
    with pytest.raises(UsageError, match=r"module a is not there: .*kernel/fs/a\.ko"):
        make_image(ROOT, tree / "guest", tree / "modules", MODULES)
    assert list((tree / "guest").iterdir()) == []


def test_the_root_archive_is_the_images_and_one_without_is_an_infrastructure_error(tree: Path) -> None:
    assert root_archive(LocalRunner(paths={ROOT_ARCHIVE: tree / "root.cpio"})) == ROOT
    with pytest.raises(InfrastructureError, match=r"guest-root\.cpio"):
        root_archive(LocalRunner())


def test_a_folder_that_cannot_be_written_is_named(tree: Path) -> None:
    (tree / "file").write_bytes(b"")
    with pytest.raises(InfrastructureError, match=r"file/initramfs\.cpio"):
        make_image(ROOT, tree / "file", tree / "modules", MODULES)


def test_a_guest_too_small_for_its_initramfs_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "initramfs.cpio"
    with path.open("wb") as file:
        file.truncate(500 << 20)
    check_memory(path, 1160)
    with pytest.raises(UsageError, match=r"of 1159 MiB .* of 500 MiB") as caught:
        check_memory(path, 1159)
    assert "-m 1160" in caught.value.hint
