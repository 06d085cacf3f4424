# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``--engine``, as a user gives it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def kbtf_ci(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Call kbtf-ci where no container engine answers."""
    environment = {**os.environ, "DOCKER_HOST": f"unix://{folder}/none.sock", **env}
    argv = [sys.executable, "-m", "kbtf_ci", *words]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["run", "doctor", "prune", "btf-cache", "sizes", "regen"])
def test_what_is_no_engine_is_a_usage_error(command: str, tmp_path: Path) -> None:
    done = kbtf_ci(tmp_path, command, KBTF_CI_ENGINE="nonsense")
    assert done.returncode == 2
    assert "KBTF_CI_ENGINE" in done.stderr
    assert "'nonsense' is not one of" in done.stderr


def test_an_option_goes_before_the_environment(tmp_path: Path) -> None:
    done = kbtf_ci(tmp_path, "doctor", "--engine", "host", KBTF_CI_ENGINE="nonsense")
    assert done.stdout.splitlines()[0].split() == (
        ["ok", "engine", "host:", "this", "machine's", "own", "programs,", "not", "isolated"]
    )


def test_nobody_is_taken_to_the_host_who_did_not_ask_for_it(tmp_path: Path) -> None:
    done = kbtf_ci(tmp_path, "run", "-o", "run")
    assert done.returncode == 5
    assert "none.sock" in done.stderr


def test_a_suites_pahole_is_made_in_a_container(tmp_path: Path) -> None:
    done = kbtf_ci(tmp_path, "run", "--pahole", "forky", "--engine", "host")
    assert done.returncode == 2
    assert "a suite's pahole is made in a container, and --engine host has none" in done.stderr


def test_a_suite_is_an_images(tmp_path: Path) -> None:
    for words in (("--engine", "host", "--suite", "trixie"), ("--suite", "trixie", "--engine=host")):
        done = kbtf_ci(tmp_path, "run", *words)
        assert done.returncode == 2
        assert "--suite names an image's Debian, and --engine host takes no image" in done.stderr


def test_an_image_is_a_container_engines(tmp_path: Path) -> None:
    done = kbtf_ci(tmp_path, "image", "build", KBTF_CI_ENGINE="host")
    assert (done.returncode, "--engine host has no images" in done.stderr) == (2, True)


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A PATH with an old pahole, and nothing else that a kernel is built with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("env", "sh", "head", "tail"):
        (folder / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    (folder / "pahole").write_text("#!/bin/sh\necho v1.16\n")
    (folder / "pahole").chmod(0o755)
    return str(folder)


def test_each_program_that_is_missing_or_too_old_is_a_line(tmp_path: Path, bare: str) -> None:
    done = kbtf_ci(tmp_path, "run", "--engine", "host", "-o", "run", PATH=bare)
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert "pahole: version 1.16 found, 1.19 or newer wanted (Debian package pahole)" in lines
    assert "gcc: not found, 5.1 or newer wanted (Debian package gcc)" in lines
    assert "rsync: not found (Debian package rsync)" in lines
    assert not [line for line in lines if line.startswith("ccache")]
    assert "programs are missing or too old" in lines[-2]
    assert "apt-get install gcc " in lines[-1]


def test_doctor_names_each_with_its_package(tmp_path: Path, bare: str) -> None:
    done = kbtf_ci(tmp_path, "doctor", "--engine", "host", PATH=bare)
    assert done.returncode == 5
    lines = done.stdout.splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("bad  pahole "))
    assert lines[place].endswith("version 1.16 found, 1.19 or newer wanted (Debian package pahole)")
    assert lines[place + 1].strip() == "-> apt-get install pahole"
    assert any(line.startswith("warn ccache") for line in lines)
    assert not any("none.sock" in line for line in lines)
