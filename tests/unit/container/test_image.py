# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kbtf_ci.container import base, host, image
from kbtf_ci.container.api import follow
from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.infra import paths


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped recipe that a test may change."""
    copy = tmp_path / "containers"
    shutil.copytree(paths.shipped("containers"), copy)
    monkeypatch.setattr(image, "shipped", lambda kind: tmp_path / kind)
    return copy


def test_an_unknown_suite_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="'sid'") as raised:
        image.image_name("sid")
    assert raised.value.hint == "known are bookworm, trixie, forky"


def test_the_name_stays_while_nothing_changes(containers: Path) -> None:
    assert image.image_name("trixie") == image.image_name("trixie")
    assert image.image_name("trixie").startswith("kbtf-ci/toolchain:trixie-")


def test_each_suite_has_its_own_name() -> None:
    assert len({image.image_name(suite).rpartition("-")[2] for suite in base.SUITES}) == len(base.SUITES)


@pytest.mark.parametrize("file", ["Containerfile", "guest/init"])
def test_the_name_changes_with_any_file_of_the_recipe(containers: Path, file: str) -> None:
    before = image.image_name("trixie")
    with (containers / file).open("a") as handle:
        handle.write("#\n")
    assert image.image_name("trixie") != before


def test_the_name_changes_with_a_files_name(containers: Path) -> None:
    before = image.image_name("trixie")
    (containers / "guest" / "init").rename(containers / "guest" / "init2")
    assert image.image_name("trixie") != before


def test_an_error_inside_a_stream_is_found() -> None:
    lines: list[str] = []
    stream = [{"stream": "Step 1\n"}, {"status": "a\nb"}, {"error": "it\nbroke"}, {"stream": "never"}]
    assert follow(stream, lines.append) == "it broke"
    assert lines == ["Step 1", "a", "b"]


def test_a_failing_bootstrap_tells_the_first_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "#!/bin/sh\necho 'I: begin' >&2; echo 'E: no mirror' >&2; echo 'E: failed' >&2; exit 25\n"
    (tmp_path / "mmdebstrap").write_text(script)
    (tmp_path / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(InfrastructureError, match="Debian forky: E: no mirror") as raised:
        base.bootstrap("forky", tmp_path / "root.tar")
    assert "E: failed" in raised.value.detail


def test_a_failing_command_of_the_host_shows_its_last_lines() -> None:
    with pytest.raises(InfrastructureError, match=r"no luck \(exit status 4\)") as raised:
        host.check(["sh", "-c", "seq 100; echo why >&2; exit 4"], "no luck")
    assert raised.value.detail.splitlines()[-1] == "why"
    assert len(raised.value.detail.splitlines()) == 15


def test_installing_without_root_or_sudo_names_the_packages(tmp_path: Path) -> None:
    script = (
        "import os; from kbtf_ci.container import host; from kbtf_ci.errors import KbtfError\n"
        "os.geteuid() or os.setuid(65534)\n"
        "try: host.apt_install(['this', 'that'])\n"
        "except KbtfError as error: print(error.message, error.hint, sep='\\n')\n"
    )
    without_sudo = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=without_sudo, capture_output=True, text=True, check=True
    )
    message, hint = done.stdout.splitlines()
    assert message == "installing this that needs root, and this user has no sudo without a password"
    assert hint == "have an administrator run `apt-get install this that`"


@pytest.mark.engine
class TestBuilding:
    @pytest.fixture
    def build(self, engine: Engine, toolchain: Toolchain, containers: Path) -> Path:
        """A recipe on top of the toolchain that a test may give steps of its own."""
        recipe = containers / "Containerfile"
        recipe.write_text(f"ARG BASE\nFROM {toolchain.image}\n")
        return recipe

    def test_an_image_that_is_there_is_not_built_again(self, engine: Engine, toolchain: Toolchain) -> None:
        lines: list[str] = []
        assert image.ensure(engine, toolchain.suite, lines.append) == toolchain
        assert lines == []

    def test_the_versions_of_its_packages_are_known(self, toolchain: Toolchain) -> None:
        assert toolchain.packages["pahole"]
        assert toolchain.packages["linux-source"]

    def test_a_failing_step_shows_its_own_last_lines(self, engine: Engine, build: Path) -> None:
        build.write_text(build.read_text() + "RUN echo fine\nRUN echo the cause is this; exit 9\n")
        with pytest.raises(InfrastructureError, match=r"did not build.*9") as raised:
            image.ensure(engine, "trixie", lambda line: None)
        assert "the cause is this" in raised.value.detail
        assert "RUN echo fine" not in raised.value.detail

    def test_of_two_builds_at_once_one_waits_for_the_other(self, engine: Engine, build: Path) -> None:
        build.write_text(build.read_text() + f"RUN echo {build}; sleep 1\n")
        name = image.image_name("trixie")
        try:
            lines = in_parallel(lambda note: image.ensure(engine, "trixie", note))
        finally:
            with closing(engine.address.open()) as client:
                client.remove_image(name)
        assert len([line for line in lines if "waiting for another run" in line]) == 1
        assert len([line for line in lines if line.startswith(f"Successfully tagged {name}")]) == 1


def in_parallel(build: Callable[[Callable[[str], None]], object]) -> list[str]:
    """Run ``build`` twice at once and return all lines that it noted."""
    lines: list[str] = []
    threads = [threading.Thread(target=build, args=(lines.append,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return lines
