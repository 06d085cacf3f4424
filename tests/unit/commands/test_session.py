# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How a command ends: whatever goes wrong is a line and an exit code that git bisect understands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kbtf_ci.commands.session import reporting
from kbtf_ci.errors import BuildError, UsageError
from kbtf_ci.infra.text import printable


def end(error: Exception, *, debug: bool = False, bisect: bool = False) -> object:
    with pytest.raises(SystemExit) as caught, reporting(quiet=True, debug=debug, bisect=bisect):
        raise error
    return caught.value.code


@pytest.mark.parametrize(
    "error", [TypeError("no\nsuch thing"), RecursionError(), MemoryError(), KeyError("kernel")]
)
def test_an_internal_error_is_one_line_and_never_the_commits_fault(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (end(error), end(error, bisect=True)) == (5, 125)
    first, hint = capsys.readouterr().err.splitlines()[:2]
    assert first.startswith(f"kbtf-ci: internal error: {type(error).__name__}")
    assert "--debug shows the traceback" in hint


def test_debug_shows_the_traceback_and_keeps_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert (end(UsageError("x.toml: no"), debug=True), end(BuildError("no"), debug=True)) == (2, 3)
    assert end(TypeError("no"), debug=True, bisect=True) == 125
    assert capsys.readouterr().err.count("Traceback (most recent call last)") == 3


def test_a_disk_that_fails_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert end(OSError(5, "Input/output error", "/data/m.ko")) == 5
    assert capsys.readouterr().err == "kbtf-ci: /data/m.ko: Input/output error\n"


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kbtf_ci", *words], capture_output=True, text=True, check=False
    )


def test_a_call_that_is_refused_says_nothing_about_the_commit(tmp_path: Path) -> None:
    assert call("run", "--no-such-option").returncode == 2
    assert call("run", "--bisect", "--no-such-option").returncode == 125
    assert (
        call("run", "--bisect", "-C", str(tmp_path / "none"), "--config", "no/such.config").returncode == 125
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("xfs.ko", "xfs.ko"),
        ("tab\tstays, ä too", "tab\tstays, ä too"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        (b"gr\xfc\xdf.ko".decode(errors="surrogateescape"), r"gr\xfc\xdf.ko"),
        ("a\u202eko.b", r"a\u202eko.b"),
        ("\ud83d", r"\ud83d"),
    ],
)
def test_what_files_and_guests_say_steers_no_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).encode()
