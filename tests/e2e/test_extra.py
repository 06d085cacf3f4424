# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules from outside of a kernel's build: loaded besides its own, and built with others' headers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import docker
import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from tests.e2e.conftest import Cli, results
from tests.e2e.test_red import btf_offset

# A -dkms package of one C file, and the kernel and headers of the image's own suite. The cloud flavour is the
# smallest.
DOWNLOAD = """
set -e
apt-get update -q
image=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/ *Depends: //p')
headers=$(apt-cache depends linux-headers-cloud-amd64 | sed -n 's/ *Depends: //p' | grep cloud)
more=$(apt-cache depends "$headers" | sed -n 's/ *Depends: //p' | grep -E 'common|kbuild')
cd /out && apt-get download -q "$image" "$headers" $more acpi-call-dkms
dpkg-deb -x acpi-call-dkms*.deb dkms
chmod -R a+rX dkms
"""


def test_a_module_that_is_given_goes_before_the_kernels_own_of_its_name(
    cli: Cli, spare_run: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.ko"
    shutil.copy(next((spare_run / "kernel/modules").rglob("ext2.ko")), mine)
    with mine.open("r+b") as file:
        file.seek(btf_offset(mine))
        file.write(b"\x9e")
    done = cli("verify", spare_run, "--extra", mine, "--extra-only")
    assert done.returncode == 1, done.stderr
    values = results(spare_run)
    found = {one["name"]: one for one in values["modules"]}
    assert set(found) <= {"ext2", "mbcache"}
    assert (found["ext2"]["file"], found["ext2"]["extra"]) == ("kbtf-ci-extra/mine.ko", True)
    assert (found["ext2"]["outcome"], found["ext2"]["errno"]) == ("REJECTED", -22)
    again = cli("verify", spare_run)
    assert again.returncode == 0, again.stdout + again.stderr
    assert not any(one["extra"] for one in results(spare_run)["modules"])


def test_extra_only_wants_a_module(cli: Cli, smoke_run: Path) -> None:
    done = cli("verify", smoke_run, "--extra-only")
    assert (done.returncode, "--extra-only wants modules" in done.stderr) == (2, True)


@pytest.fixture(scope="module")
def packages(engine: Engine, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    docker.DockerClient(base_url=engine.address.url).containers.run(
        toolchain.image, ["sh", "-c", DOWNLOAD], user="0", remove=True,
        volumes={str(folder): {"bind": "/out", "mode": "rw"}},
    )  # fmt: skip
    return folder


@pytest.mark.full
def test_a_dkms_package_is_built_with_its_distributions_headers_in_four_ways(
    cli: Cli, packages: Path
) -> None:
    (source,) = (packages / "dkms/usr/src").iterdir()
    before = sorted(path.name for path in source.iterdir())
    (image,) = packages.glob("linux-image-*.deb")
    headers = [*packages.glob("linux-headers-*.deb"), *packages.glob("linux-kbuild-*.deb")]
    words = [word for path in headers for word in ("--headers", str(path))]
    done = cli("module", source, "--kernel", image, *words, "--json", "-o", "out")
    assert done.returncode == 0, done.stderr[-3000:]
    ways = {one["vmlinux"]: one for one in json.loads(done.stdout)["ways"]}
    modules = {way: one["modules"][0] for way, one in ways.items()}
    # Debian sets CONFIG_MODULE_ALLOW_BTF_MISMATCH: what does not fit is left out.
    assert {way: one["outcome"] for way, one in modules.items()} == {
        "absent": "NO_BTF", "split": "VERIFIED", "distilled": "VERIFIED", "wrong": "DROPPED",
    }  # fmt: skip
    assert {one["name"] for one in modules.values()} == {"acpi_call"}
    assert modules["distilled"]["base_bytes"] > 0 == modules["split"]["base_bytes"]
    assert any("Invalid name_offset" in line for line in modules["wrong"]["kernel_log"])
    assert any(line.startswith("Skipping BTF generation") for line in ways["absent"]["build_log"])
    assert sorted(path.name for path in source.iterdir()) == before
