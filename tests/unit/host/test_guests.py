# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Guests of another architecture with this machine's own programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.image import ROOT_ARCHIVE
from kbtf_ci.host import guests
from kbtf_ci.infra.runner import Command, run
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import FOREIGN, machine_of

S390X = machine_of("s390x", "")
# What the real one is called with, and leaves.
FOREIGN_SCRIPT = """
[ -d "$1/guest" ] || exit 9
mkdir -p "$4/bin"
echo "$2 $3 $5" > "$4/guest-root.cpio"
printf '#!/bin/sh\\necho strip of %s\\n' "$3" > "$4/bin/strip" && chmod +x "$4/bin/strip"
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in PATH for programs that tell their version."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "share" / "containers"
    (folder / "guest").mkdir(parents=True)
    (folder / "guest/foreign").write_text(FOREIGN_SCRIPT)
    monkeypatch.setattr(guests, "shipped", lambda kind: folder.parent / kind)
    return folder


def install(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("#!/bin/sh\necho 10.0.3\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize("machine", FOREIGN, ids=lambda one: one.name)
def test_a_qemu_that_is_missing_is_one_line_with_its_package(
    tmp_path: Path, programs: Path, machine: MachineType
) -> None:
    install(programs, f"{machine.triplet}-gcc", "apt-get", "dpkg-deb")
    with pytest.raises(InfrastructureError) as caught:
        guests.ensure(machine, ("trixie",), tmp_path / "cache")
    error = caught.value
    assert error.message == f"--engine host: {machine.qemu}: not found (Debian package {machine.package})"
    assert (error.hint, error.detail) == (f"apt-get install {machine.package}", "")
    assert not (tmp_path / "cache").exists()


def test_the_guests_programs_are_made_once_and_found_where_the_image_has_them(
    tmp_path: Path, programs: Path, containers: Path
) -> None:
    install(programs, S390X.qemu, f"{S390X.triplet}-gcc", "apt-get", "dpkg-deb")
    cache = tmp_path / "cache"
    cache.mkdir()
    found = guests.ensure(S390X, ("trixie", "forky"), cache)
    assert found.packages[S390X.qemu] == "10.0.3"
    assert run(found.runner, Command(("cat", ROOT_ARCHIVE))).text == "s390x s390x-linux-gnu trixie\n"
    assert run(found.runner, Command(("strip",))).text == "strip of s390x-linux-gnu\n"
    made = [path.stat().st_mtime_ns for path in cache.glob("*/guest-root.cpio")]
    guests.ensure(S390X, ("trixie", "forky"), cache)
    assert [path.stat().st_mtime_ns for path in cache.glob("*/guest-root.cpio")] == made
    assert len(made) == 1


def test_a_userland_that_cannot_be_had_is_told_with_its_last_lines(
    tmp_path: Path, programs: Path, containers: Path
) -> None:
    install(programs, S390X.qemu, f"{S390X.triplet}-gcc", "apt-get", "dpkg-deb")
    (containers / "guest/foreign").write_text("echo no mirror has it\nexit 1\n")
    cache = tmp_path / "cache"
    cache.mkdir()
    with pytest.raises(InfrastructureError, match="programs of a guest of s390x could not be made") as caught:
        guests.ensure(S390X, ("trixie",), cache)
    assert "no mirror has it" in caught.value.detail
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []
