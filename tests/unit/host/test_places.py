# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.host.places import nested, on_host

PLACES = {
    "/src": Path("/home/a b/linux"),
    "/build": Path("/cache/build/x"),
    "/build/vmlinux": Path("/tmp/other"),
    "/out": Path("/src/out"),
}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/src", "/home/a b/linux"),
        ("/src/init/version.c", "/home/a b/linux/init/version.c"),
        ("O=/build", "O=/cache/build/x"),
        ("KCONFIG_CONFIG=/build/.kbtf-ci/config", "KCONFIG_CONFIG=/cache/build/x/.kbtf-ci/config"),
        ("--btf_encode_detached=/build/btf", "--btf_encode_detached=/cache/build/x/btf"),
        ("/build/vmlinux", "/tmp/other"),  # the innermost one
        ("/build/vmlinux.o", "/cache/build/x/vmlinux.o"),
        ("/out", "/src/out"),  # what was put in is not looked at again
        ("/src/", "/home/a b/linux/"),
        # What only looks like it.
        ("/srcs", "/srcs"),
        ("/usr/src", "/usr/src"),
        ("src", "src"),
        ("", ""),
        ("-I/src", "-I/src"),
        ("cat /src/file", "cat /src/file"),
        ("a b=/src", "a b=/src"),
        ("/a:/src", "/a:/src"),
    ],
)
def test_a_place_is_a_word_or_its_beginning_or_the_value_of_a_name(word: str, expected: str) -> None:
    assert on_host(word, PLACES) == expected


def test_a_place_within_another_is_found() -> None:
    assert nested(["/src", "/build", "/src/init/version.c"]) == "/src/init/version.c"
    assert nested(["/guest/kernel", "/guest/initramfs.cpio", "/src", "/srcs"]) == ""
