# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Packages of headers: which kernel they are of, what is missing, and how make is called with them."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.kernel.headers import Headers, HeadersMake, unpack_headers
from kbtf_ci.kernel.packages import unpack
from tests.conftest import unavailable
from tests.support.local import LocalRunner
from tests.support.packages import deb, link

Members = Mapping[str, bytes | tarfile.TarInfo]
RELEASE = "6.12.1+deb13-amd64"
FLAVOUR: Members = {
    f"./usr/src/linux-headers-{RELEASE}/.config": b"CONFIG_X=y\n",
    f"./usr/src/linux-headers-{RELEASE}/Makefile": b"modules:\n\t@echo M=$(M) $(MODULE_PAHOLE_FLAGS)\n",
    f"./usr/src/linux-headers-{RELEASE}/scripts": link("../../lib/linux-kbuild-6.12.1/scripts"),
}  # fmt: skip
COMMON: Members = {"./usr/src/linux-headers-6.12.1+deb13-common/Makefile": b""}
KBUILD: Members = {"./usr/lib/linux-kbuild-6.12.1/scripts/Makefile.modfinal": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.which("dpkg-deb") or unavailable("dpkg-deb", "no package is unpacked: there is no dpkg-deb")
    return tmp_path


def unpacked(folder: Path, *packages: Members) -> Headers:
    paths = [folder / f"{number}.deb" for number, _ in enumerate(packages)]
    for path, members in zip(paths, packages, strict=True):
        path.write_bytes(deb(members))
    return unpack_headers(paths, folder / "cache", LocalRunner())


def test_they_say_which_kernel_they_are_of_and_lie_where_they_would_on_a_machine(folder: Path) -> None:
    headers = unpacked(folder, FLAVOUR, COMMON, KBUILD)
    assert headers.release == RELEASE
    assert [mount.target for mount in headers.mounts] == ["/usr/src", "/usr/lib/linux-kbuild-6.12.1"]
    assert not any(mount.writable for mount in headers.mounts)
    scripts = headers.tree / f"usr/src/linux-headers-{RELEASE}/scripts"
    assert scripts.is_symlink()
    assert (headers.tree / headers.vmlinux.lstrip("/")).read_bytes() == b""


def test_they_are_unpacked_once_and_apart_from_what_a_kernels_packages_are_unpacked_to(folder: Path) -> None:
    first = unpacked(folder, FLAVOUR, COMMON, KBUILD)
    assert unpacked(folder, FLAVOUR, COMMON, KBUILD).tree == first.tree
    plain = unpack([folder / f"{number}.deb" for number in range(3)], folder / "cache", LocalRunner())
    assert plain != first.tree
    assert not (plain / "usr/src").exists()


@pytest.mark.parametrize(
    ("packages", "why"),
    [
        ((COMMON, KBUILD), "headers of 0 kernels in it, not of one"),
        ((FLAVOUR, COMMON), "alone does not build a module"),
        ((FLAVOUR, KBUILD), "alone does not build a module"),
        (
            (FLAVOUR, COMMON, KBUILD, {"./usr/src/linux-headers-6.12.1-rt/.config": b""}),
            "headers of 2 kernels in it, not of one",
        ),
        (
            (FLAVOUR, COMMON, {"./usr/lib/linux-kbuild-6.12.1": link("/etc")}),
            "its folders are links that lead elsewhere",
        ),
        (({"./usr/src": link("/etc")},), "its folders are links that lead elsewhere"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    folder: Path, packages: tuple[Members, ...], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        unpacked(folder, *packages)


def test_what_is_no_package_is_named(folder: Path) -> None:
    (folder / "x.deb").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"--headers .*x\.deb: not a Debian package"):
        unpack_headers([folder / "x.deb"], folder / "cache", LocalRunner())


def test_make_is_called_where_the_headers_are_with_a_vmlinux_in_its_place(folder: Path) -> None:
    headers = unpacked(folder, FLAVOUR, COMMON, KBUILD)
    work, vmlinux = folder / "work", folder / "btf"
    work.mkdir()
    vmlinux.write_bytes(b"BTF")
    runner = LocalRunner()
    done = HeadersMake(headers, runner).module(work, vmlinux, ("MODULE_PAHOLE_FLAGS=x",))
    assert (done.status, f"M={work} x" in done.text) == (0, True)
    (command,) = runner.started
    assert command.mounts[-1].target == f"/usr/src/linux-headers-{RELEASE}/vmlinux"
    assert command.mounts[-1].source == vmlinux
    HeadersMake(headers, runner, folder / "btf").module(work, vmlinux, ())
    assert "PAHOLE=/opt/kbtf-ci/pahole" in runner.started[-1].argv
