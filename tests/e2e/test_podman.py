# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Rootless Podman, from its socket to the verdict, as a user without root has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import unavailable
from tests.e2e.conftest import results
from tests.support.cache import OwnCache
from tests.support.rootless import UID, Machine, interrupt, machine, python
from tests.support.waiting import wait_until

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
# As docs/howto/ci.md has them.
STORAGE = '[storage]\ndriver = "overlay"\n'
CONTAINERS = '[containers]\nannotations = ["run.oci.keep_original_groups=1"]\n'


@pytest.fixture(scope="module", autouse=True)
def needs() -> None:
    """What stands on the machine before; a user without root has it from an administrator."""
    if os.geteuid() != 0:
        unavailable("root", "only root makes a user without")
    for program in ("podman", "newuidmap", "slirp4netns", "mmdebstrap"):
        shutil.which(program) or unavailable("podman", f"there is no {program} here")
    python() or unavailable("podman", "there is no Python 3.11 that every user may run")


def installed(user: Machine, tmp: Path) -> None:
    """Install kbtf-ci, by its wheel, and the containers' settings that the docs advise."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp.glob("*.whl")
    settings = user.home / ".config" / "containers"
    settings.mkdir(parents=True)
    (settings / "storage.conf").write_text(STORAGE)
    (settings / "containers.conf").write_text(CONTAINERS)
    home = f"/home/{user.home.name}"
    user.root(python(), "-m", "venv", "--without-pip", f"{home}/venv")
    pip = [sys.executable, "-m", "pip", "--python", f"{home}/venv/bin/python", "install", "--quiet"]
    user.root(*pip, "--constraint", ROOT / "constraints.txt", wheel)
    user.root("chown", "--recursive", f"{UID}:{UID}", home)


@pytest.fixture(scope="module")
def user(own: OwnCache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A user with subordinate ids, an open socket, and kbtf-ci set up, with the ccache of this user."""
    with machine(own.folder / "rootless", ranges=True) as made:
        cache = made.home / ".cache" / "kbtf-ci"
        cache.mkdir(parents=True)
        # A file that a compiler beside us removes is not missed.
        subprocess.run(
            ["cp", "--archive", own.users / "ccache", cache], check=False, stderr=subprocess.DEVNULL
        )
        installed(made, tmp_path_factory.mktemp("wheel"))
        made.open_socket()
        done = made("kbtf-ci", "setup")
        assert done.returncode == 0, done.stderr
        yield made


def held(user: Machine) -> list[str]:
    """Return the containers that Podman holds."""
    return user("podman", "ps", "--all", "--quiet").stdout.split()


def test_a_user_without_root_verifies_every_module(user: Machine) -> None:
    done = user("kbtf-ci", "run", "--config", "smoke", "-o", "run")
    assert done.returncode == 0, done.stderr
    run = user.home / "run"
    totals = results(run)["totals"]
    assert totals["modules"] == totals["verified"] >= 60
    assert {path.lstat().st_uid for path in run.rglob("*")} == {UID}
    assert held(user) == []


def test_doctor_names_the_engine_and_prune_its_images(user: Machine) -> None:
    found = {one["subject"]: one for one in json.loads(user("kbtf-ci", "doctor", "--json").stdout)}
    assert found["container engine"]["detail"].startswith("Podman ")
    assert "(rootless)" in found["container engine"]["detail"]
    assert found["toolchain image"]["state"] == "ok"
    # Whether a guest runs in it is this machine's matter; that it is opened is the group's.
    assert "Permission denied" not in found["KVM"]["detail"]
    pruned = json.loads(user("kbtf-ci", "prune", "--dry-run", "--json").stdout)
    assert found["toolchain image"]["detail"] in [one["name"] for one in pruned["items"]]


def test_an_interrupt_leaves_no_container(user: Machine) -> None:
    process = user.start("kbtf-ci", "run", "--config", "smoke", "-o", "interrupted", "-K", "CONFIG_KCOV=y")
    wait_until(lambda: held(user))
    interrupt(process)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert held(user) == []


def test_a_user_without_ids_of_ones_own_is_told_so(own: OwnCache, tmp_path: Path) -> None:
    with machine(own.folder / "rootless-none", ranges=False) as made:
        installed(made, tmp_path)
        made.open_socket()
        done = made("kbtf-ci", "setup", "--quiet")
    assert done.returncode == 5
    first, hint = done.stderr.splitlines()[-2:]
    assert "has no range of ids in /etc/subuid and /etc/subgid" in first
    assert "`usermod --add-subuids 165536-231071 --add-subgids 165536-231071" in hint
