# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``--engine host`` where a CI job has it: in a container of the toolchain image, which can start none."""

from __future__ import annotations

import json
import os
import shutil
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.objfile.elf import ElfImage
from tests.e2e.conftest import Cli, results
from tests.support.cache import OwnCache
from tests.support.schemas import valid

REPOSITORY = Path(__file__).parents[2]
KBTF_CI = "/job/venv/bin/kbtf-ci"
# Where a network wants them, pip does too.
PASSED_ON = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "PIP_INDEX_URL",
)


@dataclass(frozen=True)
class Job:
    """A container of the image as a CI job has one, with a network and without an engine."""

    container: Any

    def __call__(self, *words: str) -> tuple[int, str]:
        """Run a command in it and return its exit status and all that it said."""
        done = self.container.exec_run(list(words), workdir="/job")
        return done.exit_code, done.output.decode(errors="replace")


@contextmanager
def job(engine: Engine, image: str, folder: Path, cache: Path, *, programs: bool) -> Iterator[Job]:
    """Start a job with kbtf-ci installed by pip; without ``programs`` the image has none of this version."""
    volumes = {
        str(REPOSITORY): {"bind": "/work", "mode": "ro"},
        str(folder): {"bind": "/job", "mode": "rw"},
        str(cache): {"bind": "/cache", "mode": "rw"},
    }
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"HOME": "/job", "KBTF_CI_CACHE": "/cache"}
    if certificates := ssl.get_default_verify_paths().cafile:
        volumes[certificates] = {"bind": "/certificates.pem", "mode": "ro"}
        environment["PIP_CERT"] = "/certificates.pem"
    client = docker.DockerClient(base_url=engine.address.url)
    container = client.containers.run(
        image,
        ["sleep", "infinity"],
        detach=True,
        init=True,
        user=f"{os.getuid()}:{os.getgid()}",
        volumes=volumes,
        environment=environment,
        tmpfs={} if programs else {"/usr/src/kbtf-ci": ""},
    )
    try:
        started = Job(container)
        status, said = started("python3", "-m", "venv", "/job/venv")
        assert status == 0, said
        status, said = started("/job/venv/bin/pip", "install", "--quiet", "/work")
        assert status == 0, said
        yield started
    finally:
        container.remove(force=True)
        client.close()


@pytest.fixture
def folders(own: OwnCache, tmp_path: Path) -> tuple[Path, Path]:
    """A job's folder, and its cache."""
    cache = own.folder / "host-engine"
    for folder in (tmp_path / "job", cache):
        folder.mkdir(exist_ok=True)
    return tmp_path / "job", cache


def btf_of(run: Path) -> dict[str, str]:
    return {module["name"]: module["btf_sha256"] for module in results(run)["modules"]}


@pytest.mark.full
def test_a_job_in_the_image_verifies_every_module_and_its_btf_is_the_same(
    smoke_run: Path, engine: Engine, toolchain: Toolchain, folders: tuple[Path, Path]
) -> None:
    folder, cache = folders
    with job(engine, toolchain.image, folder, cache, programs=True) as call:
        status, said = call(KBTF_CI, "run", "--config", "smoke", "--engine", "host", "-o", "first")
        assert status == 0, said
        assert "not isolated" in said
        assert call("ls", "/tmp") == (0, ""), "nothing of any command is left"
        # From ccache, in another build directory of the same source; C=0 is make's own default.
        status, said = call(KBTF_CI, "build", "--config", "smoke", "--engine", "host", "-o", "again", "C=0")
        assert status == 0, said
        _, doctor = call(KBTF_CI, "doctor", "--engine", "host", "--json")
    values = results(folder / "first")
    assert values["totals"]["verified"] == values["totals"]["modules"] == len(btf_of(smoke_run))
    assert btf_of(folder / "first") == btf_of(smoke_run)
    run = json.loads((folder / "first/run.json").read_text())
    valid("run", run)
    assert (run["toolchain"]["image"], run["toolchain"]["suite"]) == ("host", "host")
    assert {"gcc", "ld", "pahole", "qemu-system-x86_64", "ccache"} <= set(run["toolchain"]["packages"])
    for name in ("summary.md", "report.html"):
        assert "not isolated" in (folder / "first" / name).read_text()
    (ccache,) = (one["detail"] for one in json.loads(doctor) if "compilations found" in one["detail"])
    hits, calls = (int(word) for word in ccache.split() if word.isdigit())
    assert hits > calls // 3
    # Without the image's own programs they are made.
    with job(engine, toolchain.image, folder, cache, programs=False) as call:
        status, said = call("env", "KBTF_CI_ENGINE=host", KBTF_CI, "verify", "first")
        assert status == 0, said
    assert list(cache.glob("programs/*/guest-root.cpio"))
    assert btf_of(folder / "first") == btf_of(smoke_run)


def test_a_machine_without_the_programs_is_told_which(cli: Cli) -> None:
    done = cli("run", "--engine", "host", "-o", "run", env={"PATH": "/nonexistent"})
    assert done.returncode == 5, done.stderr
    assert "gcc: not found, 5.1 or newer wanted (Debian package gcc)" in done.stderr


def test_the_image_is_named_and_written_to_a_file(cli: Cli, engine: Engine, toolchain: Toolchain) -> None:
    done = cli("image", "build")
    assert (done.returncode, done.stdout) == (0, f"{toolchain.image}\n"), done.stderr
    done = cli("image", "export", "toolchain.tar")
    assert done.returncode == 0, done.stderr
    size = (cli.folder / "toolchain.tar").stat().st_size
    assert done.stdout == f"toolchain.tar: {toolchain.image}, {size:,} bytes\n"
    with closing(docker.DockerClient(base_url=engine.address.url)) as client:
        (loaded,) = client.images.load((cli.folder / "toolchain.tar").read_bytes())
    assert toolchain.image in loaded.tags
    done = cli("image", "export", "/dev/full/x")
    assert (done.returncode, "/dev/full/x: cannot be written" in done.stderr) == (2, True)


# A make of a kernel developer's own, with kbuild's recipe for a module's BTF (cmd_btf_ko), and no kernel.
DEVELOPERS = """
PAHOLE = pahole
FILES := $(addsuffix .ko, 1 2 3 4 5 6 7 8)
all: $(FILES)
vmlinux:
\techo 'struct base { int a; } base; void _start(void) {}' > $@.c
\tgcc -g -nostdlib -static -fdebug-prefix-map=$(CURDIR)=. -o $@ $@.c
\t$(PAHOLE) -J $@
%.ko: vmlinux
\techo 'struct own$* { struct base *b; }; struct own$* own; struct base { int a; };' > $*.c
\tgcc -g -fdebug-prefix-map=$(CURDIR)=. -c -o $@ $*.c
\tLLVM_OBJCOPY="objcopy" $(PAHOLE) -J -j --lang_exclude=rust --btf_base vmlinux $@
export LLVM_OBJCOPY = objcopy
"""


@pytest.mark.full
def test_a_developers_own_make_has_the_server_of_the_wrapper_that_is_installed(
    engine: Engine, toolchain: Toolchain, folders: tuple[Path, Path]
) -> None:
    folder, cache = folders
    with job(engine, toolchain.image, folder, cache, programs=False) as call:
        status, said = call(KBTF_CI, "pahole-wrapper", "install", "/job/tools", "-q")
        assert (status, said) == (0, "make PAHOLE=/job/tools/kbtf-ci-pahole\n")
        for name in ("stock", "served"):
            (folder / name).mkdir()
            (folder / name / "Makefile").write_text(DEVELOPERS)
        status, said = call("make", "-C", "stock", "-j2")
        assert status == 0, said
        wrapped = ("PAHOLE=/job/tools/kbtf-ci-pahole", "KBTF_CI_ACCOUNTS=/job/calls")
        status, said = call("env", wrapped[1], "make", "-C", "served", "-j2", wrapped[0])
        assert status == 0, said
        shutil.copytree(folder / "served", folder / "again")
        flags = "--pahole-flags=-j --lang_exclude=rust"
        words = ("encode", "--engine", "host", "--vmlinux", "served/vmlinux", flags, "-q", "--json", "again")
        status, said = call(KBTF_CI, *words)
        assert status == 0, said
    totals = json.loads(said)["totals"]
    assert (totals["served"], totals["failed"]) == (8, 0)
    kinds = [line.partition("\t")[0] for line in (folder / "calls").read_text().splitlines()]
    assert sorted(set(kinds)) == ["base", "off+served", "serve", "server"]
    assert kinds.count("off+served") == 8
    names = sorted(path.name for path in (folder / "stock").glob("*.ko"))
    assert len(names) == 8
    for name in names:
        stock = (folder / "stock" / name).read_bytes()
        assert (folder / "served" / name).read_bytes() == stock
        # pahole lays out a file anew that has BTF already.
        again = ElfImage((folder / "again" / name).read_bytes())
        assert again.section(".BTF") == ElfImage(stock).section(".BTF")
