# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Bisections of real histories: a kernel's and pahole's, each with a planted culprit, and an interrupt."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import workspace
from tests.conftest import unavailable
from tests.e2e.conftest import Cli, Containers
from tests.support import faketree
from tests.support.history import Repository
from tests.support.waiting import PATIENCE_S, wait_until

PROFILE = """\
target = "tinyconfig"
fragments = ["few.config", "pvh.config"]
require = ["ext2"]

[guest]
memory = "512M"
cpus = 1
"""
FEW = """\
CONFIG_BLOCK=y
CONFIG_EXT2_FS=m
CONFIG_DUMMY=m
CONFIG_VETH=m
CONFIG_TUN=m
CONFIG_EXPERT=y
# CONFIG_IPV6 is not set
# CONFIG_VT is not set
# CONFIG_INPUT is not set
# CONFIG_HID_SUPPORT is not set
# CONFIG_USB_SUPPORT is not set
# CONFIG_ETHTOOL_NETLINK is not set
"""
# A clone of dwarves that has the tag v1.30, with libbpf in it or not; else it is Debian's source package.
DWARVES = os.environ.get("KBTF_CI_DWARVES", "")
DOWNLOAD = """
set -e
cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | sed -n 's/^deb /deb-src /p' > /tmp/s
mv /tmp/s /etc/apt/sources.list.d/source.list
apt-get update -q
cd /out && apt-get source -q --download-only dwarves
mkdir tree && tar -C tree --strip-components=1 -xf dwarves_*.orig.tar.*
chmod -R a+rX tree
"""


@dataclass(frozen=True)
class Change:
    """A commit: in ``file`` the first ``old`` becomes ``new``; "" for an empty line at its end."""

    subject: str
    file: str
    old: str = ""
    new: str = ""

    def make(self, repository: Repository) -> str:
        text = (repository.path / self.file).read_text()
        assert self.old in text, f"{self.file} has no {self.old}"
        changed = text.replace(self.old, self.new, 1) if self.old else f"{text}\n"
        return repository.commit(self.subject, {self.file: changed})


STRINGS = """\
	err = btf_parse_str_sec(env);
	if (err)
		goto errout;

	err = btf_check_all_metas(env);
	if (err)
		goto errout;

	err = btf_check_type_tags(env, btf, btf_nr_types(base_btf));
"""
BOUNDED = STRINGS.replace(
    "\terr = btf_check_all",
    """\
	if (btf->hdr.str_len > 3072) {
		btf_verifier_log(env, "split string section of %u bytes is too long", btf->hdr.str_len);
		err = -EINVAL;
		goto errout;
	}

	err = btf_check_all""",
    1,
)
INT, LONG = (f"ext2_sync_fs(struct super_block *sb, {wait}\n" for wait in ("int wait)", "long wait"))
IDS = "$(RESOLVE_BTFIDS) -b vmlinux $@;"
CULPRIT = "bpf: bound the strings of a module's BTF"
KERNEL = (
    Change("dummy: end with an empty line", "drivers/net/dummy.c"),
    Change("veth: end with an empty line", "drivers/net/veth.c"),
    # Another module's failure, which is not the one that is looked for.
    Change("kbuild: dummy has no use for BTF", "scripts/Makefile.modfinal", IDS,
           f"{IDS} case $@ in */dummy.ko) $(OBJCOPY) --remove-section=.BTF $@;; esac;"),
    Change("ext2: sync with a long", "fs/ext2/super.c", INT, LONG),  # does not compile
    Change("ext2: sync with an int again", "fs/ext2/super.c", LONG, INT),
    Change("ext2: end with an empty line", "fs/ext2/super.c"),
    Change(CULPRIT, "kernel/bpf/btf.c", STRINGS, BOUNDED),
    Change("tun: end with an empty line", "drivers/net/tun.c"),
    Change("veth: end with another one", "drivers/net/veth.c"),
)  # fmt: skip
EXTERN = "btf_encoder: functions of modules are external"
ADD = "btf__add_func(btf, name, BTF_FUNC_STATIC, type)"
ENCODER = "btf_encoder.c"
PAHOLE = (
    Change("pahole: end with an empty line", "pahole.c"),
    Change("dwarves: end with an empty line", "dwarves.c"),
    Change("btf_loader: end with an empty line", "btf_loader.c"),
    Change("btf_encoder: add without a name", ENCODER, ADD, "btf__add_func(btf, BTF_FUNC_STATIC, type)"),
    Change("btf_encoder: add with the name again", ENCODER, "btf__add_func(btf, BTF_FUNC_STATIC, type)", ADD),
    # The kernel knows no such linkage of a function (btf_func_check_meta() of kernel/bpf/btf.c).
    Change(EXTERN, ENCODER, ADD,
           "btf__add_func(btf, name, btf__base_btf(btf) ? BTF_FUNC_EXTERN : BTF_FUNC_STATIC, type)"),
    Change("pahole: end with another empty line", "pahole.c"),
    Change("dwarves: end with another empty line", "dwarves.c"),
)  # fmt: skip


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    (tmp_path / "few.config").write_text(FEW)
    (tmp_path / "few.toml").write_text(PROFILE)
    return tmp_path / "few.toml"


@pytest.fixture
def kernel(toolchain: Toolchain, tmp_path: Path) -> Repository:
    """The suite's own kernel, and nine commits on top of it."""
    tools = workspace.Tools(toolchain, Engine.connect().runner(toolchain.image))
    source = workspace.source(BuildOptions("smoke", 1), tools, TerminalReporter(quiet=True))
    repository = Repository.make(tmp_path / "linux")
    shutil.copytree(source.path, repository.path, dirs_exist_ok=True, symlinks=True)
    repository.git("add", "--all", "--force")
    repository.git("commit", "--quiet", "--message", "Linux")
    repository.git("tag", "good")
    for change in KERNEL:
        change.make(repository)
    return repository


@pytest.fixture
def pahole(engine: Engine, toolchain: Toolchain, tmp_path: Path) -> Repository:
    """pahole as it was released, and eight commits on top of it."""
    repository = Repository.make(tmp_path / "dwarves")
    if DWARVES:
        repository.git("fetch", "--quiet", DWARVES, "tag", "v1.30")
        repository.git("reset", "--quiet", "--hard", "v1.30")
    else:
        shutil.copytree(downloaded(engine, toolchain, tmp_path), repository.path, dirs_exist_ok=True)
        repository.git("add", "--all", "--force")
        repository.git("commit", "--quiet", "--message", "pahole")
        repository.git("tag", "v1.30")
    for change in PAHOLE:
        change.make(repository)
    return repository


def downloaded(engine: Engine, toolchain: Toolchain, folder: Path) -> Path:
    """Return the source of the suite's pahole as it was released."""
    client = docker.DockerClient(base_url=engine.address.url)
    try:
        client.containers.run(
            toolchain.image, ["sh", "-c", DOWNLOAD], user="0", remove=True,
            volumes={str(folder): {"bind": "/out", "mode": "rw"}},
        )  # fmt: skip
    except docker.errors.ContainerError as error:
        unavailable("dwarves", f"its source cannot be had, and KBTF_CI_DWARVES names none: {error}")
    return folder / "tree"


def found(cli: Cli, *words: str | Path) -> dict[str, Any]:
    done = cli("bisect", "--module", "ext2", "--accel", "tcg", "--json", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def check(values: dict[str, Any], culprit: str, line: str) -> None:
    assert values["first_bad"]["subject"] == culprit
    assert (values["before"]["outcome"], values["after"]["outcome"]) == ("VERIFIED", "REJECTED")
    assert any(line in one for one in values["after"]["kernel_log"])
    assert "skip" in {step["verdict"] for step in values["steps"]}


@pytest.mark.full
def test_the_kernels_history(cli: Cli, kernel: Repository, profile: Path) -> None:
    values = found(cli, "--good", "good", "--bad", "main", "-C", kernel.path, "--config", profile)
    check(values, CULPRIT, "split string section of ")
    assert not kernel.git("status", "--porcelain")


@pytest.mark.full
def test_paholes_history(cli: Cli, toolchain: Toolchain, pahole: Repository, profile: Path) -> None:
    tree = ("--pahole-tree", pahole.path, "--config", profile)
    check(found(cli, "--good", "v1.30", "--bad", "main", *tree), EXTERN, "Invalid func linkage")


def test_an_interrupt_leaves_no_container_and_says_how_it_goes_on(
    cli: Cli, containers: Containers, toolchain: Toolchain, tmp_path: Path
) -> None:
    repository = Repository.make(tmp_path / "repository")
    shutil.copytree(faketree.plant_for_cli(tmp_path), repository.path, dirs_exist_ok=True)
    good, bad = (repository.commit(name, {"name": name}) for name in ("one", "two"))
    tree = ("-C", repository.path, "--config", "tinyconfig", "-o", cli.folder / "out")
    process = cli.start("bisect", "--good", good, "--bad", bad, *tree, "FAKE_SLEEP=3600")
    logs = (cli.folder / "out/steps").glob
    wait_until(lambda: any("CC" in log.read_text() for log in logs("*/build.log")))
    assert containers.of(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "0 commits tried are kept: the same command goes on from there" in err
    assert not containers.of(process)
