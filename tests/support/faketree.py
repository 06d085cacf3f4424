# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A fake kernel tree, built by a real make, and the profile that goes with it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kbtf_ci.infra.paths import shipped
from kbtf_ci.infra.profiles import Profile
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.source import from_directory
from kbtf_ci.model.config import config_lines
from tests.support.elf import make_module
from tests.support.local import LocalRunner

_DATA = Path(__file__).parent.parent / "data" / "faketree"
_AGE_NS = 3600 * 10**9
BTF = "CONFIG_MODULES=y\nCONFIG_DEBUG_INFO_BTF=y\nCONFIG_DEBUG_INFO_BTF_MODULES=y\n"


def plant(folder: Path) -> Path:
    """Copy the tree into ``folder`` and put its modules' binaries in."""
    tree = folder / "tree"
    shutil.copytree(_DATA, tree)
    (tree / "fs/alpha.bin").write_bytes(make_module("alpha", depends="beta"))
    (tree / "lib/beta.bin").write_bytes(make_module("beta"))
    age(tree)
    return tree


def age(path: Path) -> None:
    """Make a file, or all files of a folder, an hour older, one to the other as they were.

    What is written from now on is newer than they are to make, however coarse the file system's clock is.
    """
    for file in path.rglob("*") if path.is_dir() else [path]:
        modified = file.stat().st_mtime_ns - _AGE_NS
        os.utime(file, ns=(modified, modified))


def plant_for_cli(folder: Path) -> Path:
    """As ``plant``, with a Kconfig that knows all that kbtf-ci itself asks for."""
    tree = plant(folder)
    known = (tree / "lib/Kconfig").read_text()
    for fragment in ("btf.config", "guest.config", "guest-x86_64.config"):
        for _, symbol, _ in config_lines((shipped("configs") / fragment).read_text()):
            if f"config {symbol}\n" not in known:
                known += f"\nconfig {symbol}\n\tbool\n"
    (tree / "lib/Kconfig").write_text(known)
    return tree


def kbuild(folder: Path, *variables: str) -> Kbuild:
    """Return the tree under kbuild, with build directory and ccache folder below ``folder``."""
    tree = folder / "tree" if (folder / "tree").exists() else plant(folder)
    for name in ("build", "ccache"):
        (folder / name).mkdir(exist_ok=True)
    runner = LocalRunner()
    return Kbuild(runner, from_directory(tree), folder / "build", folder / "ccache", os.cpu_count() or 1,
                  "no image", variables)  # fmt: skip


def profile(folder: Path, own: str = "", btf: str = BTF) -> Profile:
    """Return a profile whose fragments are ``own`` below ``btf`` and an empty guest fragment."""
    texts = {"own.config": own, "btf.config": btf, "guest.config": ""}
    for name, text in texts.items():
        (folder / name).write_text(text)
    mine, *on_top = (folder / name for name in texts)
    return Profile("fake", (mine,), tuple(on_top), target="tinyconfig")
