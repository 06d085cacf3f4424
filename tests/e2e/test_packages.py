# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One kernel of Debian's as other distributions would package it, by their own tools: the same verdicts."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import docker
import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.kernel.prebuilt import find
from kbtf_ci.objfile.archive.reader import has_libarchive
from kbtf_ci.objfile.inventory import module_files
from tests.conftest import unavailable
from tests.e2e.conftest import Cli, results
from tests.support.packages import cpio, rpm
from tests.support.repackage import SCRIPT

FEDORA = ("kernel-core", "kernel-modules-core", "kernel-modules", "kernel-modules-extra")


@pytest.fixture(autouse=True)
def libarchive() -> None:
    has_libarchive() or unavailable("libarchive", "this machine has no libarchive")


@pytest.fixture(scope="module")
def repackaged(
    package: Path, engine: Engine, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the packages that rpmbuild, makepkg and the others made of ``package``."""
    folder = tmp_path_factory.mktemp("repackaged")
    client = docker.DockerClient(base_url=engine.address.url)
    client.containers.run(
        toolchain.image, ["bash", "-c", SCRIPT], user="0", remove=True, network_mode="host",
        volumes={
            str(folder): {"bind": "/out", "mode": "rw"},
            str(package): {"bind": "/in/kernel.deb", "mode": "ro"},
        },
    )  # fmt: skip
    return folder


def kernels(folder: Path, package: Path) -> dict[str, list[str | Path]]:
    """Return each way to name the kernel, as options of verify and check."""
    plain = [
        package,
        *(folder / f"kernel-default-{payload}.rpm" for payload in ("zstd", "xz", "gz")),
        *(folder / f"linux-image-{packer}.deb" for packer in ("gzip", "zstd", "none")),
        *(folder / name for name in ("linux.pkg.tar.zst", "linux-lts.apk", "linux.tar.zst")),
        package.parent / "tree",
    ]
    ways: dict[str, list[str | Path]] = {path.name: ["--kernel", path] for path in plain}
    ways["Fedora"] = [word for name in FEDORA for word in ("--kernel", folder / f"{name}.rpm")]
    ways["tuxmake"] = ["--kernel", folder / "bzImage", "--modules", folder / "modules.tar.xz"]
    ways["unified"] = ["--kernel", folder / "linux.efi", "--modules", package.parent / "tree"]
    ways["root"] = ["--root", package.parent / "tree"]
    ways["initramfs"] = ["--kernel", folder / "bzImage", "--initramfs", folder / "initrd.img"]
    return ways


def verdicts(document: dict[str, Any]) -> str:
    """Return a digest of everything that check says of each module but where its file lies."""
    modules = [{**one, "file": Path(one["file"]).name} for one in document["modules"]]
    return hashlib.sha256(json.dumps(sorted(modules, key=lambda one: one["name"])).encode()).hexdigest()


@pytest.mark.full
def test_whoever_packaged_a_kernel_its_modules_and_verdicts_are_the_same(
    cli: Cli, package: Path, repackaged: Path
) -> None:
    seen = {}
    for name, words in kernels(repackaged, package).items():
        done = cli("check", "--json", *words)
        assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        document = json.loads(done.stdout)
        assert document["modules"], name
        assert all(one["outcome"] == "VERIFIED" and not one["cause"] for one in document["modules"]), name
        seen[name] = (len(document["modules"]), document["kernel"], verdicts(document))
    assert len(set(map(str, seen.values()))) == 1, {name: value[0] for name, value in seen.items()}


@pytest.mark.full
def test_every_module_of_a_kernel_in_fedoras_packages_is_verified_in_a_guest(
    cli: Cli, package: Path, repackaged: Path
) -> None:
    words = kernels(repackaged, package)["Fedora"]
    done = cli("verify", *words, "--load", "carrier", "-o", "run")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    values = results(cli.folder / "run")
    assert values["totals"]["modules"] == values["totals"]["verified"] > 1000
    assert values["disagreements"] == []


@pytest.mark.full
def test_a_unified_kernel_image_boots_without_firmware(cli: Cli, package: Path, repackaged: Path) -> None:
    tree = package.parent / "tree"
    overlay = next(tree.rglob("overlay.ko*"))
    words = ("--modules", tree, "--extra", overlay, "--extra-only", "-o", "run")
    done = cli("verify", "--kernel", repackaged / "linux.efi", *words)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (found,) = (one for one in results(cli.folder / "run")["modules"] if one["name"] == "overlay")
    assert found["outcome"] == "VERIFIED"
    assert (cli.folder / "run/kernel/bzImage").read_bytes() == (repackaged / "bzImage").read_bytes()


@pytest.mark.full
def test_a_meta_package_and_half_a_kernel_say_which_package_is_missing(
    cli: Cli, package: Path, repackaged: Path
) -> None:
    cases = {
        repackaged / "kernel-core.rpm": "kernel-core needs kernel-modules-core",
        repackaged / "kernel-modules.rpm": "kernel-core-",
        next(package.parent.glob("meta/*.deb")): f"needs {package.name.split('_', maxsplit=1)[0]}",
    }
    for path, words in cases.items():
        done = cli("check", "--kernel", path)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
        assert len(done.stderr.strip().splitlines()) <= 4, done.stderr


def test_a_smoke_kernel_as_an_rpm_with_a_stale_initramfs_is_told(
    cli: Cli, smoke_run: Path, tmp_path: Path
) -> None:
    release = results(smoke_run)["kernel"]["release"]
    place = f"usr/lib/modules/{release}"
    tree = smoke_run / "kernel/modules"
    modules = {f"{place}/{path.relative_to(tree)}": path.read_bytes() for path in tree.rglob("*.ko")}
    image = (smoke_run / "kernel/bzImage").read_bytes()
    (tmp_path / "kernel.rpm").write_bytes(rpm({f"{place}/vmlinuz": image, **modules}))
    done = cli("check", "--kernel", tmp_path / "kernel.rpm")
    assert (done.returncode, f"{len(modules)} accepted" in done.stdout) == (0, True), (
        done.stdout + done.stderr
    )
    name, stale = next((name, data) for name, data in modules.items() if name.endswith("ext2.ko"))
    at = stale.index(b"\x9f\xeb\x01")
    modules[name] = stale[:at] + b"\x9e" + stale[at + 1 :]
    (tmp_path / "initrd.img").write_bytes(cpio(modules))
    done = cli("check", "--kernel", tmp_path / "kernel.rpm", "--initramfs", tmp_path / "initrd.img")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "stale: 1 of its modules have other BTF" in done.stderr
    assert ": ext2; make it again" in done.stderr


def test_folder_and_package_hold_the_same_modules(package: Path, tmp_path: Path) -> None:
    """Whatever the archive is read with, byte for byte what dpkg-deb unpacks."""
    found = find([str(package)], None, tmp_path / "scratch", None)
    tree = package.parent / "tree"
    ours = {str(path.relative_to(found.modules)): path.read_bytes() for path in module_files(found.modules)}
    folder = tree / "usr/lib/modules" / found.release
    theirs = {str(path.relative_to(folder)): path.read_bytes() for path in module_files(folder)}
    assert ours == theirs
    assert found.image.read_bytes() == (tree / f"boot/vmlinuz-{found.release}").read_bytes()
    shutil.rmtree(tmp_path / "scratch")


@pytest.mark.full
def test_a_kernel_that_takes_signed_modules_alone_gets_them_as_they_are(cli: Cli, package: Path) -> None:
    """Debian signs its modules: none is refused for its signature, and none is loaded in another way."""
    words = ("verify", "--kernel", package, "--append", "module.sig_enforce=1")
    done = cli(*words, "-o", "run")
    assert "module.sig_enforce=1: modules are loaded for real alone" in done.stderr
    values = results(cli.folder / "run")
    assert set(values["modes"]) == {"real"}
    refused = {
        one["name"] for one in values["modules"] if one["errno"] in {-errno.EKEYREJECTED, -errno.ENOKEY}
    }
    assert refused == set()
    assert values["totals"]["verified"] > 500
    done = cli("verify", "--kernel", package, "--append", "module.sig_enforce=1", "--load", "carrier")
    assert (done.returncode, "this kernel loads signed modules alone" in done.stderr) == (2, True), (
        done.stderr
    )
