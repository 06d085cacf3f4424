# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci shell`` as its users call it: from a script, and at a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from kbtf_ci.infra.locks import if_free
from tests.e2e.conftest import KBTF_CI, Cli
from tests.support.waiting import PATIENCE_S

TYPED = b"modprobe fs-ext2; modprobe xt_comment; modprobe nf_tables; lsmod; modprobe nosuch; exit 7"
# lsmod's columns: a module, its bytes, and how many use it.
# nf_tables stands on libcrc32c, which wants crc32c by a softdep alone.
LOADED = (b"\next2 ", b"\nxt_comment ", b"\nx_tables ", b"\nnf_tables ", b"\ncrc32c_generic ")


class Shell(Protocol):
    """Starts a shell in the guest with these standard streams."""

    def __call__(self, *, stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]: ...


@pytest.fixture
def shell(cli: Cli, spare_run: Path) -> Iterator[Shell]:
    started: list[subprocess.Popen[bytes]] = []

    def shell(*, stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        argv = [KBTF_CI, "shell", str(spare_run), "--accel", "tcg"]
        process = subprocess.Popen(argv, cwd=cli.folder, stdin=stdin, stdout=stdout, stderr=stderr)
        started.append(process)
        return process

    yield shell
    for process in started:
        process.terminate()
        process.wait()


def test_what_a_script_sends_is_run_and_modprobe_finds_modules_and_what_they_need(shell: Shell) -> None:
    process = shell(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(TYPED, timeout=PATIENCE_S)
    assert process.returncode == 7, err
    assert all(line in out for line in LOADED), out
    assert out.endswith(b"modprobe: module nosuch not found in modules.dep\n")


def test_a_shell_leaves_the_run_directory_to_other_commands(shell: Shell, spare_run: Path) -> None:
    process = shell(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"echo up\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"up\n"
    with if_free(spare_run / ".lock") as free:
        assert free
    # As another command does that makes its own guest there.
    fresh = spare_run / "fresh"
    fresh.touch()
    fresh.replace(spare_run / "guest/initramfs.cpio")
    out, err = process.communicate(TYPED, timeout=PATIENCE_S)
    assert process.returncode == 7, err
    assert all(line in out for line in LOADED), out


def test_no_input_is_the_end_of_the_shell(shell: Shell) -> None:
    process = shell(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (0, b""), err


def test_what_is_typed_at_a_terminal_is_run(shell: Shell) -> None:
    ours, theirs = pty.openpty()
    process = shell(stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    prompt = read_until(ours, b"# ")
    os.write(ours, TYPED + b"\r")
    out = read_until(ours, None)
    os.close(ours)
    assert process.wait(timeout=PATIENCE_S) == 7, prompt + out
    assert all(line in out for line in LOADED), out


def read_until(descriptor: int, words: bytes | None, seconds: float = PATIENCE_S) -> bytes:
    """Return what a terminal shows up to ``words``, or up to its end."""
    shown = b""
    end = time.monotonic() + seconds
    while words is None or words not in shown:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        assert ready, shown
        try:
            shown += os.read(descriptor, 65536)
        except OSError:  # EIO: nobody holds the other end any more (pty(7))
            assert words is None, shown
            return shown
    return shown
