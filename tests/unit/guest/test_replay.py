# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A bundle's guest, by its own script and by ours, with a QEMU that prints what a console would."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from kbtf_ci.errors import GuestError, InfrastructureError
from kbtf_ci.guest.accel import remembered
from kbtf_ci.guest.qemu import Accel, Machine
from kbtf_ci.guest.replay import BundleGuest, initramfs, script
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.guest.vm import GuestDiedError
from kbtf_ci.model.bundle import Seen
from tests.support.cpio import read_archives
from tests.support.local import LocalRunner

LAST = "failed to validate module [xfs] BTF: -22"
CONSOLE = (
    "[    0.000000] Linux version 6.12", "kbtf-ci: bundle errno 22", "kbtf-ci: bundle sysfs absent",
    "kbtf-ci: bundle log xfs: module verification failed", "kbtf-ci: bundle log BPF: Invalid magic",
    f"kbtf-ci: bundle log {LAST}", "kbtf-ci: bundle end",
)  # fmt: skip
SEEN = Seen(22, "", ("BPF: Invalid magic", LAST))


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A QEMU that notes its arguments and prints the console that lies beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "qemu-system-x86_64"
    program.write_text(f'#!/bin/sh\necho "$*" > {folder}/argv\ncat {folder}/console\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    says(folder, CONSOLE)
    return folder


def says(folder: Path, lines: tuple[str, ...]) -> None:
    (folder / "console").write_text("".join(f"{line}\r\n" for line in lines))


def run_script(folder: Path, expected: Seen, **env: str) -> subprocess.CompletedProcess[str]:
    path = folder / "boot.sh"
    path.write_bytes(script(Machine(Accel.TCG, 768, 1), "kernel", "initramfs.cpio"))
    path.chmod(0o755)
    (folder / "expected.txt").write_text("".join(f"{line}\n" for line in expected.lines()))
    environment = {"PATH": f"{folder}/bin:/usr/bin:/bin", **env}
    return subprocess.run([path], env=environment, capture_output=True, text=True, check=False, timeout=60)


def booted(folder: Path) -> Seen:
    guest = BundleGuest(LocalRunner(), folder, 768, Timeouts())
    guest.place(b"kernel", b"initrd")
    return guest.boot(Accel.TCG)


def test_the_initramfs_has_our_init_and_the_module_behind_the_programs() -> None:
    root = initramfs(b"", "none", b"")
    found = read_archives(initramfs(root, "xfs", b"carrier"))
    assert found["bundle/name"][1] == b"xfs\n"
    assert found["bundle/module.ko"][1] == b"carrier"
    assert found["init"][1].startswith(b"#!/bin/sh\n")
    assert found["init"][0] & 0o777 == 0o755


@pytest.mark.usefixtures("qemu")
def test_both_see_the_same_and_lines_that_are_not_on_btf_do_not_count(tmp_path: Path) -> None:
    assert booted(tmp_path) == SEEN
    done = run_script(tmp_path, SEEN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [*SEEN.lines(), "the same as recorded"]


@pytest.mark.usefixtures("qemu")
def test_what_is_not_as_recorded_ends_the_script_with_1_and_shows_it(tmp_path: Path) -> None:
    done = run_script(tmp_path, Seen(0, "ab"))
    assert done.returncode == 1
    assert "NOT the same as recorded" in done.stdout
    assert "> errno 22" in done.stdout


def test_the_script_calls_qemu_as_we_do_but_for_where_the_files_lie(qemu: Path, tmp_path: Path) -> None:
    run_script(tmp_path, SEEN)
    by_script = (qemu / "argv").read_text().split()
    booted(tmp_path)
    ours = (qemu / "argv").read_text().split()
    assert [Path(word).name for word in ours] == [Path(word).name for word in by_script]
    assert by_script[by_script.index("-accel") + 1] == "tcg,thread=multi"
    run_script(tmp_path, SEEN, ACCEL="kvm")
    words = (qemu / "argv").read_text().split()
    assert (words[words.index("-accel") + 1], words[words.index("-cpu") + 1]) == ("kvm", "host")
    assert not any(shlex.quote(word) != word for word in by_script if "=" not in word and "$" in word)


@pytest.mark.parametrize(
    ("console", "error"),
    [
        (CONSOLE[:-1], "the guest reset itself without a word"),
        ((*CONSOLE[:1], "Kernel panic - not syncing: VFS"), "the guest's kernel panicked"),
    ],
)
def test_a_guest_that_does_not_come_to_the_end_is_no_answer(
    qemu: Path, tmp_path: Path, console: tuple[str, ...], error: str
) -> None:
    says(qemu, console)
    with pytest.raises(GuestDiedError, match=error):
        booted(tmp_path)
    done = run_script(tmp_path, SEEN)
    assert done.returncode == 2
    assert console[-1] in done.stdout


def test_a_guest_that_says_no_errno_is_no_answer(qemu: Path, tmp_path: Path) -> None:
    says(qemu, ("kbtf-ci: bundle errno ", "kbtf-ci: bundle sysfs absent", "kbtf-ci: bundle end"))
    with pytest.raises(GuestError, match="invalid literal"):
        booted(tmp_path)
    assert run_script(tmp_path, SEEN).returncode == 1


def kvm_that(folder: Path, does: str) -> None:
    """Let KVM be chosen, and QEMU do this in it."""
    program = folder / "qemu-system-x86_64"
    program.write_text(f'#!/bin/sh\ncase "$*" in *"accel kvm"*) {does};; esac\ncat {folder}/console\n')


STUCK = "echo 'KVM internal error. Suberror: 1'; exec sleep 600"


@pytest.mark.parametrize(
    ("does", "why"),
    [("exec sleep 600", "the guest printed nothing within 1 s in KVM"), (STUCK, "KVM internal error")],
)
def test_auto_alone_falls_back_when_kvm_runs_no_such_guest(
    qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, why: str
) -> None:
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kbtf_ci.guest.replay.acceleration.choose", lambda *_, **__: Accel.KVM)
    kvm_that(qemu, does)
    guest = BundleGuest(LocalRunner(), tmp_path, 768, Timeouts.parse(["boot=1"]))
    guest.place(b"kernel", b"initrd")
    with pytest.raises(InfrastructureError, match=why):
        guest.observe(Accel.KVM, pytest.fail)
    assert remembered() == ""
    warnings: list[str] = []
    assert guest.observe(Accel.AUTO, warnings.append) == (SEEN, Accel.TCG)
    assert why in warnings[0]
    assert why in remembered()


def test_a_bundle_that_comes_to_its_end_nowhere_says_nothing_of_kvm(
    qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kbtf_ci.guest.replay.acceleration.choose", lambda *_, **__: Accel.KVM)
    kvm_that(qemu, STUCK)
    says(qemu, CONSOLE[:-1])
    guest = BundleGuest(LocalRunner(), tmp_path, 768, Timeouts())
    guest.place(b"kernel", b"initrd")
    with pytest.raises(GuestDiedError):
        guest.observe(Accel.AUTO, lambda _: None)
    assert remembered() == ""
