# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Bad input gets one clear line and its exit code, never a traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.guest.accel import kvm_works
from tests.e2e.conftest import Cli, results
from tests.support import faketree


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_an_unknown_profile(cli: Cli) -> None:
    refused(cli("run", "--config", "nosuch"), 2, "--config nosuch: no such profile", "smoke")


def test_a_typo_in_a_profile(cli: Cli) -> None:
    (cli.folder / "p.toml").write_text('target = "tinyconfig"\nfragmnets = []\n')
    refused(cli("run", "--config", "p.toml"), 2, "p.toml: unknown key 'fragmnets'")


def test_no_kernel_tree(cli: Cli, toolchain: Toolchain) -> None:
    refused(cli("run", "-C", ".", "-o", "run"), 2, "not a kernel source tree")


def test_a_symbol_that_no_kconfig_knows(cli: Cli, toolchain: Toolchain) -> None:
    tree = faketree.plant_for_cli(cli.folder)
    done = cli("run", "-C", tree, "--config", "tinyconfig", "-K", "CONFIG_NOSUCH=m", "-o", "run")
    refused(done, 2, "-K: no Kconfig file of this tree knows CONFIG_NOSUCH")


def test_no_engine(cli: Cli) -> None:
    done = cli("run", "-o", "run", env={"DOCKER_HOST": f"unix://{cli.folder}/none.sock"})
    refused(done, 5, "none.sock", "kbtf-ci setup")


def test_an_output_directory_that_holds_a_run(cli: Cli) -> None:
    (cli.folder / "run").mkdir()
    (cli.folder / "run/results.json").write_text("{}")
    refused(cli("run", "-o", "run"), 2, "-o run: not empty; a run is never overwritten")
    assert (cli.folder / "run/results.json").read_text() == "{}"


def test_an_output_directory_that_cannot_be_written(cli: Cli) -> None:
    (cli.folder / "file").touch()
    refused(cli("run", "-o", "file/run"), 2, "-o file/run: cannot be written: Not a directory")


def test_kvm_is_never_replaced_when_it_was_asked_for(
    cli: Cli, smoke_run: Path, spare_run: Path, engine: Engine, toolchain: Toolchain
) -> None:
    before = (spare_run / "results.json").read_text()
    works = not kvm_works(engine.runner(toolchain.image))
    done = cli("verify", spare_run, "--accel", "kvm")
    if not works:
        refused(done, 5, "KVM runs no guest here")
        assert (spare_run / "results.json").read_text() == before
    elif done.returncode != 0:
        # Some machines' KVM runs the few instructions of the check, and no kernel.
        assert (done.returncode, "KVM" in done.stderr) == (5, True), done.stderr
        assert results(spare_run)["guest"] is None
    else:
        assert results(spare_run)["guest"]["accel"] == "kvm"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "XFS"), "XFS: not of the form VAR=VALUE"),
        (("run", "O=/elsewhere"), "kbtf-ci sets O itself"),
        (("run", "-m", "lots"), "'lots' is no size"),
        (("run", "--nosuch"), "--nosuch"),
        (("run", "--timeouts", "boots=5m"), "there is no timeout 'boots'"),
        (("verify", "."), "holds no run"),
    ],
)
def test_a_wrong_word_on_the_command_line(cli: Cli, words: tuple[str, ...], said: str) -> None:
    refused(cli(*words), 2, said)
