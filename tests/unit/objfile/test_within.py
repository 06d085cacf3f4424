# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Links followed as a system follows them whose root is a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.objfile.within import resolve_in


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "usr/lib/modules/6.1").mkdir(parents=True)
    (root / "lib").symlink_to("/usr/lib")
    (root / "boot").mkdir()
    (root / "boot/vmlinuz").symlink_to("/lib/modules/6.1/vmlinuz")
    (root / "boot/out").symlink_to("../../../../etc/passwd")
    (root / "boot/loop").symlink_to("loop")
    return root


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("boot", "boot"),
        ("lib/modules", "usr/lib/modules"),
        ("boot/vmlinuz", "usr/lib/modules/6.1/vmlinuz"),
        ("boot/out", "etc/passwd"),
        ("../../boot/./vmlinuz", "usr/lib/modules/6.1/vmlinuz"),
        ("boot/loop", ""),
        ("not/there", "not/there"),
    ],
)
def test_nothing_leads_out(root: Path, name: str, goal: str) -> None:
    assert resolve_in(root, name) == root / goal
