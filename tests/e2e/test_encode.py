# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel's modules are given their BTF again, outside of its build: they become what they were."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.runner import Command, Mount, run
from kbtf_ci.objfile.files import read_module_file
from tests.e2e.conftest import Cli, Containers
from tests.support.waiting import PATIENCE_S, wait_until

WITHOUT_BTF = "find . -name '*.ko' -exec objcopy -R .BTF {} ';'"


def contents(tree: Path) -> dict[str, bytes | None]:
    """Return each module's BTF, which a file that is not whole does not have read.

    Of the file itself kbuild's own differ: where it writes BTF once more, pahole lays the file out anew.
    """
    return {str(path.relative_to(tree)): read_module_file(path).btf for path in sorted(tree.rglob("*.ko"))}


@pytest.fixture
def bare(smoke_run: Path, engine: Engine, toolchain: Toolchain, tmp_path: Path) -> Path:
    """The modules of the smoke run as they were before kbuild gave them BTF."""
    tree = shutil.copytree(smoke_run / "kernel/modules", tmp_path / "bare")
    command = Command(("sh", "-c", WITHOUT_BTF), (Mount(tree, "/bare", writable=True),), workdir="/bare")
    done = run(engine.runner(toolchain.image), command)
    assert done.status == 0, done.text
    return tree


def test_modules_become_what_kbuild_made_of_them(cli: Cli, smoke_run: Path, bare: Path) -> None:
    kbuilds = contents(smoke_run / "kernel/modules")
    vmlinux = smoke_run / "kernel/vmlinux"
    alone = shutil.copytree(bare, cli.folder / "alone")
    assert contents(bare) != kbuilds
    done = cli("encode", "--vmlinux", vmlinux, bare, "--json")
    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout)["totals"]
    assert (totals["served"], totals["failed"]) == (len(kbuilds), 0)
    assert contents(bare) == kbuilds
    done = cli("encode", "--vmlinux", smoke_run / "kernel/bzImage", "--no-btf-server", alone)
    assert done.returncode == 0, done.stderr
    assert contents(alone) == kbuilds
    done = cli("check", "--vmlinux", vmlinux, "--kernel-config", smoke_run / "kernel.config", bare)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_interrupt_leaves_modules_whole_and_no_container(
    cli: Cli, containers: Containers, smoke_run: Path, bare: Path
) -> None:
    before, after = contents(bare), contents(smoke_run / "kernel/modules")
    largest = max(before, key=lambda file: (bare / file).stat().st_size)
    process = cli.start("encode", "--vmlinux", smoke_run / "kernel/vmlinux", "-j1", bare)
    wait_until(lambda: read_module_file(bare / largest).btf != before[largest])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert not containers.of(process)
    now = contents(bare)
    assert now[largest] == after[largest]
    assert all(data in (before[file], after[file]) for file, data in now.items())
    assert any(data == before[file] != after[file] for file, data in now.items()), "it came too late"
    assert [path.name for path in bare.rglob(".*")] == []
    assert list((cache_root() / "build").glob(".encode-*")) == []
