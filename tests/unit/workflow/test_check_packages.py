# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci check`` over kernels that others built: packages, an initramfs, a root, and no engine for any."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kbtf_ci.commands.main import main
from kbtf_ci.objfile.archive.reader import has_libarchive
from tests.conftest import unavailable
from tests.support import images, pair
from tests.support.packages import cpio, deb, pacman, rpm
from tests.support.schemas import valid

RELEASE = "6.12.107+deb13-amd64"
PLACE = f"usr/lib/modules/{RELEASE}"
INTREE = f"vermagic={RELEASE} SMP \0intree=Y\0name={{}}\0"


def image() -> bytes:
    """Return what a boot loader takes: a header that names the release, and vmlinux packed behind it."""
    data = bytearray(images.bzimage(gzip.compress(images.vmlinux(pair.vmlinux().bytes())), setup_sects=31))
    data[0x20E:0x210] = (0x2E00).to_bytes(2, "little")
    data[0x236] = 1
    text = f"{RELEASE} (builder@host) #1 SMP\0".encode()
    data[0x3000 : 0x3000 + len(text)] = text
    return bytes(data)


def module(name: str, *, stale: bool = False) -> bytes:
    base = pair.vmlinux()
    if stale:
        base.string("of a kernel before")
    return images.module(btf=pair.split(base).bytes(), base=None, modinfo=INTREE.format(name).encode())


FILES = {
    f"{PLACE}/vmlinuz": image(),
    f"{PLACE}/config": b"CONFIG_X=y\n",
    f"{PLACE}/kernel/a.ko": module("a"),
    f"{PLACE}/kernel/b.ko.xz": lzma.compress(module("b")),
}


MADE = {"kernel.rpm": rpm(FILES), "linux.deb": deb(FILES), "linux.pkg.tar.zst": pacman(FILES)}


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    has_libarchive() or unavailable("libarchive", "this machine has no libarchive")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / "cache"))


def check(*words: Path | str) -> Result:
    done = CliRunner().invoke(main, ["check", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done


def found(*words: Path | str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(check("--json", *words).stdout)
    valid("check", document)
    return document


@pytest.mark.parametrize("name", MADE)
def test_a_package_is_checked_with_its_own_modules(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(MADE[name])
    done = check("--kernel", path)
    assert (done.exit_code, "2 accepted, 0 flagged" in done.stdout) == (0, True), done.output
    # Of a module that is named it alone is judged.
    one = tmp_path / "c.ko"
    one.write_bytes(module("c", stale=True))
    assert "0 accepted, 0 flagged, 1 rejected" in check("--kernel", path, one).stdout


def test_stale_modules_in_an_initramfs_are_named(tmp_path: Path) -> None:
    package, path = tmp_path / "kernel.rpm", tmp_path / "initramfs.img"
    package.write_bytes(rpm(FILES))
    inside = {
        f"{PLACE}/kernel/a.ko": module("a", stale=True),
        f"{PLACE}/kernel/b.ko": module("b"),
        f"{PLACE}/kernel/old.ko": module("old"),
    }
    path.write_bytes(cpio({"kernel/x86/microcode/x.bin": b""}) + gzip.compress(cpio(inside)))
    document = found("--kernel", package, "--initramfs", path)
    outcomes = {one["name"]: one["outcome"] for one in document["modules"]}
    assert outcomes == {"a": "REJECTED", "b": "VERIFIED", "old": "VERIFIED"}
    stale, gone = (line for line in document["warnings"] if "stale" in line)
    assert stale.startswith(f"{path}: stale: 1 of its modules have other BTF than those in ")
    assert ": a; make it again (update-initramfs -u" in stale
    assert ": stale: 1 of its modules are not in " in gone
    assert ": old; make it again" in gone


def test_an_initramfs_that_was_made_after_its_modules_is_fine(tmp_path: Path) -> None:
    root, path = tmp_path / "root", tmp_path / "initramfs.img"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    path.write_bytes(cpio({f"{PLACE}/kernel/b.ko": module("b")}))
    document = found("--root", root, "--initramfs", path)
    assert [one["name"] for one in document["modules"]] == ["b"]
    assert document["warnings"] == []
    assert "2 accepted, 0 flagged" in check("--root", root).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kernel", "x", "--root", "."], "--kernel and --root each name a kernel"),
        (["--initramfs", __file__], "--initramfs wants the kernel"),
        (["--modules", "."], "--modules wants the kernel"),
        (["--kernel", "x", "--vmlinux", __file__], "--vmlinux and --kernel each name a kernel"),
        (["--kernel", "nowhere"], "--kernel nowhere: no such file"),
        (["--kernel", __file__], "not a kernel"),
        (["--root", "/nowhere"], "does not exist"),
    ],
)
def test_what_does_not_fit_together_is_one_line(words: list[str], message: str) -> None:
    done = check(*words)
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
