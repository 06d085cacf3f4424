# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.host import toolchain
from kbtf_ci.host.needs import NEEDS, Found, Need, examine, parse_version

PAHOLE = next(need for need in NEEDS if need.name == "pahole")
CCACHE = next(need for need in NEEDS if need.name == "ccache")
DROPBEAR = next(need for need in NEEDS if need.name == "dropbear")
BUSYBOX = next(need for need in NEEDS if need.name == "busybox")
LIBELF = next(need for need in NEEDS if need.name == "libelf")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("14.2.0\n", "14.2.0"),
        ("GNU ld (GNU Binutils for Debian) 2.44\nCopyright (C) 2025", "2.44"),
        ("kmod version 34\n+ZSTD +XZ +LZMA", "34"),
        ("v1.30\n", "1.30"),
        ("*** Zstandard CLI (64-bit) v1.5.7, by Yann Collet ***", "1.5.7"),
        ("QEMU emulator version 10.0.3 (Debian 1:10.0.3+ds-0+deb13u1)", "10.0.3"),
        ("BusyBox v1.37.0 (Debian 1:1.37.0-6+b3) multi-call binary.", "1.37.0"),
        ("Dropbear v2025.88\n", "2025.88"),
        ('"OpenSSL 3.5.1 1 Jul 2025"', "3.5.1"),
        ("", ""),
        ("command not found", ""),
    ],
)
def test_a_version_is_read_from_what_programs_print(text: str, version: str) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        ("1.30", ""),
        ("1.19", ""),
        ("2", ""),
        ("1.9", "pahole: version 1.9 found, 1.19 or newer wanted (Debian package pahole)"),
        ("", "pahole: not found, 1.19 or newer wanted (Debian package pahole)"),
    ],
)
def test_versions_are_compared_as_numbers(version: str, fault: str) -> None:
    assert Found(PAHOLE, version).fault == fault


def test_what_is_optional_may_be_missing_and_not_too_old() -> None:
    assert [Found(CCACHE, version).bars for version in ("", "3.6", "4.11")] == [False, True, False]
    assert [Found(PAHOLE, version).bars for version in ("", "1.16", "1.30")] == [True, True, False]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The only folder of a PATH, with a shell and the few tools that probes are made of."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("env", "sh", "head", "tail"):
        real = next(path for one in ("/usr/bin", "/bin") if (path := Path(one, name)).exists())
        (folder / name).symlink_to(real)
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def seen(folder: Path, *needs: Need) -> list[str]:
    return [found.version for found in examine(str(folder), needs)]


def test_programs_are_looked_for_in_that_path_alone(folder: Path) -> None:
    assert set(seen(folder, *NEEDS)) == {""}
    program(folder, "pahole", "echo v1.24")
    program(folder, "dropbear", "echo Dropbear v2022.83 >&2")
    assert seen(folder, PAHOLE, DROPBEAR, CCACHE) == ["1.24", "2022.83", ""]


def test_a_program_that_fails_is_none(folder: Path) -> None:
    program(folder, "pahole", "echo 1.24; exit 1")
    assert seen(folder, PAHOLE) == [""]


def test_a_busybox_that_needs_libraries_is_none(folder: Path) -> None:
    program(folder, "busybox", "echo 'BusyBox v1.37.0 (Debian)'; echo more")
    program(folder, "ldd", "exit 1")
    assert seen(folder, BUSYBOX) == ["1.37.0"]
    program(folder, "ldd", "echo libc.so.6")
    assert seen(folder, BUSYBOX) == [""]


def test_a_library_is_found_by_its_headers(folder: Path) -> None:
    program(folder, "gcc", "echo 'fatal error: line 1: no such file' >&2; exit 1")
    assert seen(folder, LIBELF) == [""]
    program(folder, "gcc", 'while read -r line; do echo "$line" >> "$0.log"; done; echo; echo 192')
    assert seen(folder, LIBELF) == ["192"]
    assert (folder / "gcc.log").read_text() == "#include <elfutils/version.h>\n_ELFUTILS_VERSION\n"


def test_one_fault_is_one_line_and_several_are_one_each(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "search_path", lambda: str(folder))
    program(folder, "pahole", "echo v1.16")
    with pytest.raises(InfrastructureError) as alone:
        toolchain.require([PAHOLE, CCACHE])
    line = "pahole: version 1.16 found, 1.19 or newer wanted (Debian package pahole)"
    assert (alone.value.message, alone.value.detail) == (f"--engine host: {line}", "")
    assert alone.value.hint == "apt-get install pahole"
    with pytest.raises(InfrastructureError) as several:
        toolchain.require([PAHOLE, DROPBEAR])
    assert several.value.detail.splitlines() == [
        line,
        "dropbear: not found, 2020.79 or newer wanted (Debian package dropbear-bin)",
    ]
    assert several.value.message == "--engine host: 2 programs are missing or too old"
    program(folder, "pahole", "echo v1.30")
    assert [found.version for found in toolchain.require([PAHOLE, CCACHE])] == ["1.30", ""]


def test_the_caller_of_probes_may_have_any_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "xx_XX")
    program(folder, "pahole", 'echo "v1.30 $LC_ALL"; [ "$LC_ALL" = C ]')
    assert seen(folder, PAHOLE) == ["1.30"]
    assert os.environ["LC_ALL"] == "xx_XX"
