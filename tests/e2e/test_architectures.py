# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The offline check over Debian's kernels of every architecture that is to be had, as they are packaged.

One package at a time: kernel and modules are read as they lie in it, all are to be fine, and the same module
altered in three ways is not. Kernels that Debian builds without BTF are counted apart: they say so.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from kbtf_ci.btf.base_match.resolve import find_base_mismatch
from kbtf_ci.btf.base_match.targets import Targets
from kbtf_ci.btf.rules.check import Kernel, check
from kbtf_ci.btf.rules.versions import Rules
from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.elf import ElfImage
from kbtf_ci.objfile.files import ModuleFile, open_kernel, read_module_file
from tests.e2e.conftest import Cli
from tests.support import sketch as sk
from tests.support.images import PACKERS, pe, zboot
from tests.support.mutate import mutants
from tests.support.vmlinux import Vmlinux

pytestmark = pytest.mark.full

# Lists of its own for each architecture: one update for several loses some. The index may name a version that
# the archive does not hold yet, so the newest that can be fetched is taken.
DOWNLOAD = r"""
set -e
suite=$1 arch=$2 pattern=$3
top=/tmp/apt; mkdir -p $top/state/lists/partial $top/cache/archives/partial
sed -n 's/^deb \(\[[^]]*\] \)*\([^ ]*\) .*/\2/p' /etc/apt/sources.list | head -n 1 > $top/mirror
echo "deb [arch=$arch] $(cat $top/mirror) $suite main" > $top/list
apt() {
    tool=$1; shift
    $tool -o Dir::State=$top/state -o Dir::State::status=/dev/null -o Dir::Cache=$top/cache \
        -o Dir::Etc::sourcelist=$top/list -o Dir::Etc::sourceparts=/dev/null -o APT::Architecture=$arch \
        -o APT::Architectures=$arch -o APT::Sandbox::User=root -o Acquire::Languages=none \
        -o Acquire::Check-Valid-Until=false "$@"
}
apt apt-get -qq update
cd /out
for name in $(apt apt-cache search --names-only "$pattern" | cut -d ' ' -f 1 | sort -rV); do
    apt apt-get -qq download "$name" && break
done
# Since 7.2 Debian splits kernel and modules off.
parts='s/^ *\(linux-\(binary\|modules\)[^ ]*\).*/\1/p'
for name in $(dpkg-deb -f linux-image-*.deb Depends | tr ',' '\n' | sed -n "$parts"); do
    apt apt-get -qq download "$name"
done
for deb in *.deb; do dpkg-deb -x "$deb" tree; rm "$deb"; done
chmod -R a+rwX tree
"""
SUBJECT = "xfs"


@dataclass(frozen=True)
class Package:
    """A kernel of Debian's: the suite, what the suite calls the architecture, and the image's name there."""

    suite: str
    port: str
    name: str
    arch: str
    btf: bool = True

    def __str__(self) -> str:
        return f"{self.suite}-{self.port}"


PACKAGES = (
    Package("trixie", "amd64", r"^linux-image-6[^ ]*-cloud-amd64$", "x86_64"),
    Package("trixie", "arm64", r"^linux-image-6[^ ]*[0-9]-arm64$", "arm64"),
    Package("trixie", "ppc64el", r"^linux-image-6[^ ]*-powerpc64le$", "ppc64le"),
    Package("trixie", "riscv64", r"^linux-image-6[^ ]*-riscv64$", "riscv64"),
    Package("trixie", "s390x", r"^linux-image-6[^ ]*-s390x$", "s390x"),
    Package("forky", "s390x", r"^linux-image-[0-9][^ ]*-s390x$", "s390x"),
    Package("forky", "arm64", r"^linux-image-[0-9][^ ]*[0-9]-arm64$", "arm64"),
    Package("forky", "loong64", r"^linux-image-[0-9][^ ]*-loong64$", "loongarch64", btf=False),
    Package("trixie", "armhf", r"^linux-image-6[^ ]*[0-9]-armmp$", "arm", btf=False),
    Package("trixie", "armel", r"^linux-image-6[^ ]*[0-9]-rpi$", "arm", btf=False),
    Package("bookworm", "i386", r"^linux-image-6[^ ]*[0-9]-686-pae$", "i386", btf=False),
    Package("bookworm", "mips64el", r"^linux-image-6[^ ]*[0-9]-octeon$", "mips64el", btf=False),
    Package("bookworm", "mipsel", r"^linux-image-6[^ ]*[0-9]-4kc-malta$", "mipsel", btf=False),
)
WITH_BTF = [one for one in PACKAGES if one.btf]


@dataclass(frozen=True)
class Unpacked:
    """A package's content."""

    package: Package
    image: Path
    modules: Path

    def subject(self) -> Path:
        return next(self.modules.rglob(f"{SUBJECT}.ko*"))


@pytest.fixture
def unpacked(
    request: pytest.FixtureRequest, engine: Engine, toolchain: Toolchain, tmp_path: Path
) -> Iterator[Unpacked]:
    package: Package = request.param
    folder = tmp_path / "package"
    folder.mkdir()
    client = docker.DockerClient(base_url=engine.address.url)
    client.containers.run(
        toolchain.image, ["sh", "-c", DOWNLOAD, "sh", package.suite, package.port, package.name], user="0",
        remove=True, volumes={str(folder): {"bind": "/out", "mode": "rw"}},
    )  # fmt: skip
    tree = folder / "tree"
    (image,) = [*tree.glob("boot/vmlinu*"), *tree.glob("usr/lib/modules/*/vmlinuz")]
    (modules,) = [*tree.glob("usr/lib/modules/*"), *tree.glob("lib/modules/*")]
    yield Unpacked(package, image, modules)
    shutil.rmtree(folder)


def each(packages: tuple[Package, ...] | list[Package]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("unpacked", packages, ids=str, indirect=True)


def patched(data: bytes, section: str, new: bytes) -> bytes:
    place = ElfImage(data).find(section)
    assert place
    assert place.size == len(new)
    return data[: place.offset] + new + data[place.offset + place.size :]


def moved(btf: bytes, base: Vmlinux, *, types: int = 0, strings: int = 0) -> bytes:
    """Return split BTF as if the base had so many types and string bytes more when it was written."""
    sketch = sk.read(btf, base.types, len(base.strings))
    for record in sketch.records:
        for at in sk.name_fields(record):
            record[at] += strings if record[at] >= len(base.strings) else 0
        for at in sk.type_fields(record):
            record[at] += types if record[at] >= base.types else 0
    return sketch.bytes()


def one_byte(btf: bytes) -> bytes:
    """Return BTF of which one bit of the first type's info is set that no kind has."""
    data = bytearray(btf)
    data[24 + 4 + (3 if btf[:1] == b"\x9f" else 0)] |= 0x40
    return bytes(data)


def told(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


@each(PACKAGES)
def test_every_module_is_read_and_fine_and_a_kernel_without_btf_says_so(cli: Cli, unpacked: Unpacked) -> None:
    done = cli("check", "--json", "--vmlinux", unpacked.image, unpacked.modules)
    if not unpacked.package.btf:
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{unpacked.image}: a kernel without BTF: " in done.stderr
        module = read_module_file(unpacked.subject())
        assert module.architecture
        assert (module.architecture.name, module.btf) == (unpacked.package.arch, None)
        assert None not in (module.this_module_bytes, module.init_offset, module.exit_offset)
        return
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    found = told(done.stdout)
    totals = found["totals"]
    assert totals["modules"] == totals["accepted"] > 1000
    assert (totals["flagged"], found["kernel"]["unusable"]) == (0, [])
    assert found["kernel"]["architecture"] == unpacked.package.arch
    assert found["kernel"]["release"] in unpacked.image.name or unpacked.package.suite == "forky"
    assert not any(one["unusable"] for one in found["modules"])
    altered(cli, unpacked)


def altered(cli: Cli, unpacked: Unpacked) -> None:
    """The red controls: the same module as if written for another vmlinux, and with one byte changed."""
    data = load(unpacked.subject(), 1 << 30)[:]
    btf = ElfImage(data).section(".BTF")
    assert btf
    base = Vmlinux(open_kernel(unpacked.image).file.btf)
    ways: dict[str, Callable[[], bytes]] = {
        "string": lambda: moved(btf, base, strings=len("a_string") + 1),
        "types": lambda: moved(btf, base, types=2),
        "byte": lambda: one_byte(btf),
    }
    for name, make in ways.items():
        (cli.folder / f"{name}.ko").write_bytes(patched(data, ".BTF", make()))
    words = [cli.folder / f"{name}.ko" for name in ways]
    done = cli("check", "--json", "--no-allow-mismatch", "--vmlinux", unpacked.image, *words)
    assert done.returncode == 1
    string, types, byte = told(done.stdout)["modules"]
    assert (string["outcome"], string["cause"]) == ("REJECTED", "relinked")
    assert "(+0 types, -9 string bytes)" in string["advice"]
    # Most ways from one type to another are as good as the kernel can tell.
    assert types["cause"] == "relinked"
    assert "(-2 types, +0 string bytes)" in types["advice"]
    assert types["outcome"] == "REJECTED" or types["base_mismatch"]
    assert byte["outcome"] == "REJECTED"
    assert byte["rule"] in ("type.info", "type.kind")  # since 7.2 it is one of kind's bits


@each([one for one in WITH_BTF if str(one) in ("trixie-arm64", "trixie-amd64")])
def test_what_carries_a_kernel_is_read_as_the_kernel_itself(
    cli: Cli, unpacked: Unpacked, tmp_path: Path
) -> None:
    whole = open_kernel(unpacked.image).file
    image = unpacked.image.read_bytes()
    carriers = {"gzip": PACKERS["gzip"](image), "uki": pe({".osrel": b"ID=x", ".linux": image})}
    if unpacked.package.arch == "arm64":
        carriers["zboot"] = zboot(PACKERS["zstd"](image))
        carriers["uki-zboot"] = pe({".linux": carriers["zboot"]})
    for name, data in carriers.items():
        path = tmp_path / name
        path.write_bytes(data)
        found = open_kernel(path).file
        assert (found.btf, found.release, found.architecture) == (
            whole.btf, whole.release, whole.architecture,
        ), name  # fmt: skip
        done = cli("check", "-q", "--vmlinux", path, unpacked.subject())
        assert done.returncode == 0, done.stderr


def twin(module: ModuleFile, number: int) -> tuple[str, bytes]:
    assert module.btf
    return f"{number}-{module.name}", module.btf


@each([one for one in WITH_BTF if str(one) == "trixie-amd64"])
def test_real_modules_and_mutants_of_them_get_the_same_verdict_in_either_order(unpacked: Unpacked) -> None:
    file = open_kernel(unpacked.image).file
    rules = Rules.for_version((6, 12))
    little = Kernel.open(file.btf, rules)
    big = Kernel.open(sk.turned(file.btf), rules)
    assert little.vmlinux
    assert big.vmlinux
    targets = {id(kernel): Targets.of(kernel.vmlinux) for kernel in (little, big) if kernel.vmlinux}
    paths = sorted(unpacked.modules.rglob("*.ko*"))[::10]
    modules = dict(twin(read_module_file(path), number) for number, path in enumerate(paths))

    def said(kernel: Kernel, btf: bytes | None, base: bytes | None) -> tuple[object, ...]:
        verdict = check(kernel, "m", btf, base)
        sysfs = verdict.sysfs
        if sysfs is not None and kernel is little:
            sysfs = sk.turned(sysfs)
        mismatch = find_base_mismatch(verdict.btf, targets[id(kernel)]) if verdict.btf else None
        return verdict.errno, verdict.rule, verdict.log, verdict.unchecked, sysfs, mismatch

    for btf in modules.values():
        assert said(little, btf, None) == said(big, sk.turned(btf), None)
        assert said(big, sk.turned(btf), None)[:2] == (0, "")
    compared = 0
    small = {name: btf for name, btf in modules.items() if len(btf) < 40_000}
    for one in mutants(23, 300, small, Vmlinux(file.btf)):
        (header,) = struct.unpack_from("<I", (one.btf or b"")[:8].ljust(8, b"\0"), 4)
        if header < 24 and header % 4:
            continue  # a header that ends within a word leaves another half of it in each order
        turned = [None if data is None else sk.turned(data) for data in (one.btf, one.base)]
        assert said(little, one.btf, one.base) == said(big, *turned), one.text
        compared += 1
    assert compared > 250
