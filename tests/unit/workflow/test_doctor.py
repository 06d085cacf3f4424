# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.container import image
from kbtf_ci.container.api import Address
from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.infra.runner import Command, Mount, Runner, run
from kbtf_ci.workflow import doctor
from kbtf_ci.workflow.doctor import Finding
from tests.support.schemas import valid


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def test_without_an_engine_the_rest_is_still_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    found = by_subject(doctor.examine(lambda runner: ""))
    valid("doctor", [vars(finding) for finding in found.values()])
    assert found["container engine"].state == "bad"
    assert "none.sock" in found["container engine"].detail
    assert "kbtf-ci setup" in found["container engine"].remedy
    assert set(found) == {"container engine", "cache", "libarchive", "disk", "memory", "cores"}


@pytest.mark.parametrize(
    ("name", "rootless", "way_out"),
    [
        ("Podman", True, "~/.config/containers/storage.conf"),
        ("Podman", False, "/etc/containers/storage.conf"),
        ("Docker", True, "another storage driver"),
    ],
)
def test_storage_that_copies_the_image_for_each_container_is_told(
    name: str, rootless: bool, way_out: str
) -> None:
    address = Address("unix:///none", "1.41")
    (finding,) = doctor.judge_storage(Engine(address, name, "4.3.1", rootless, "vfs"))
    assert (finding.state, way_out in finding.remedy) == ("warn", True)
    assert list(doctor.judge_storage(Engine(address, name, "4.3.1", rootless, "overlay"))) == []


def test_a_machine_without_libarchive_is_told_what_it_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBARCHIVE", "/nowhere/libarchive.so")
    found = by_subject(doctor.examine(lambda runner: ""))["libarchive"]
    assert (found.state, "only Debian's" in found.detail) == ("warn", True)
    assert "kbtf-ci setup" in found.remedy


def test_the_disk_of_a_cache_that_is_not_there_yet_is_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / "a" / "b"))
    disk = by_subject(doctor.examine(lambda runner: ""))["disk"]
    assert disk.detail.endswith(f"GB free in {tmp_path}")


def test_a_cache_that_is_a_file_is_said_to_be_one_and_the_rest_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("KBTF_CI_CACHE", f"{tmp_path}/file")
    found = by_subject(doctor.examine(lambda runner: ""))
    assert (found["cache"].state, found["cache"].detail) == (
        "bad",
        f"KBTF_CI_CACHE={tmp_path}/file: not a folder",
    )
    assert "KBTF_CI_CACHE" in found["cache"].remedy
    assert {"container engine", "memory", "cores"} <= set(found)


def test_what_the_cache_holds_is_told_with_what_frees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "large").write_bytes(bytes(150_000_000))
    cache = by_subject(doctor.examine(lambda runner: ""))["cache"]
    assert cache.state == "ok"
    assert cache.detail.startswith(f"0.2 GB in {tmp_path} (source 0.2)")
    assert "kbtf-ci prune" in cache.detail


@pytest.mark.parametrize(("free", "state"), [(4 * 10**9, "bad"), (6 * 10**9, "warn"), (16 * 10**9, "ok")])
def test_the_disk_is_judged_by_what_is_free(free: int, state: str) -> None:
    finding = doctor.judge_disk(free, Path("/cache"))
    assert finding.state == state
    assert bool(finding.remedy) == (state != "ok")


@pytest.mark.parametrize(("kilobytes", "state"), [(1_000_000, "warn"), (9_000_000, "ok")])
def test_the_memory_is_judged_by_what_is_available(tmp_path: Path, kilobytes: int, state: str) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:       24684132 kB\nMemAvailable:   {kilobytes} kB\n")
    assert doctor.examine_memory(meminfo).state == state


@pytest.mark.engine
class TestWithAnEngine:
    def test_kvm_is_asked_in_the_toolchain_image(self, toolchain: Toolchain) -> None:
        def kvm(runner: Runner) -> str:
            return run(
                runner, Command(("sh", "-c", "printf 'no, says '; command -v qemu-system-x86_64"))
            ).text

        found = by_subject(doctor.examine(kvm))
        assert found["container engine"].state == "ok"
        assert found["toolchain image"].detail == toolchain.image
        assert found["KVM"].state == "warn"
        assert "no, says /usr/bin/qemu-system-x86_64" in found["KVM"].detail

    def test_a_kvm_that_works_is_fine(self, toolchain: Toolchain) -> None:
        assert by_subject(doctor.examine(lambda runner: ""))["KVM"].state == "ok"

    def test_an_image_that_is_not_built_is_a_warning_and_nothing_is_run(
        self, toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "containers").mkdir()
        (tmp_path / "containers" / "Containerfile").write_text(f"# {tmp_path}")
        monkeypatch.setattr(image, "shipped", lambda kind: tmp_path / kind)
        found = by_subject(doctor.examine(lambda runner: pytest.fail("there is nothing to run it in")))
        assert found["toolchain image"].state == "warn"
        assert "KVM" not in found

    def test_hits_of_ccache_are_counted(
        self, engine: Engine, toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "ccache"
        folder.mkdir()
        compile_it = "cd && echo 'int i;' > a.c && ccache gcc -c a.c && ccache gcc -c a.c"
        command = Command(
            ("sh", "-c", compile_it), mounts=(Mount(folder, "/c", writable=True),), env={"CCACHE_DIR": "/c"}
        )
        assert run(engine.runner(toolchain.image), command).status == 0
        monkeypatch.setenv("DOCKER_HOST", engine.address.url)
        monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path))
        assert "1 of 2 compilations" in by_subject(doctor.examine(lambda runner: ""))["ccache"].detail
