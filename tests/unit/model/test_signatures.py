# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel that loads signed modules alone: what says so, and what is loaded then."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.kernel.strip import unpack_modules
from kbtf_ci.model.outcome import LoadPolicy
from kbtf_ci.model.signatures import signatures_forced_by
from kbtf_ci.objfile.elf import read_module
from kbtf_ci.workflow.guests import GuestOptions
from tests.support.elf import make_module


@pytest.mark.parametrize(
    ("config", "append", "forced"),
    [
        ({}, "", ""),
        ({"CONFIG_MODULE_SIG": "y"}, "quiet", ""),
        ({"CONFIG_MODULE_SIG_FORCE": "y"}, "", "CONFIG_MODULE_SIG_FORCE"),
        ({"CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY": "y"}, "", "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY"),
        ({}, "quiet module.sig_enforce=1", "module.sig_enforce=1"),
        ({}, "module.sig_enforce", "module.sig_enforce"),
        ({}, "module.sig_enforce=0", ""),
        ({}, "lockdown=integrity", "lockdown=integrity"),
        ({}, "lockdown=none", ""),
    ],
)
def test_what_forces_signatures_is_named(config: dict[str, str], append: str, forced: str) -> None:
    assert signatures_forced_by(config, append) == forced


def test_signed_modules_are_loaded_for_real_alone() -> None:
    assert GuestOptions().policy(5000, "module.sig_enforce=1") is LoadPolicy.REAL
    assert GuestOptions(load=LoadPolicy.AUTO).policy(5, "module.sig_enforce=1") is LoadPolicy.REAL
    assert GuestOptions().policy(5000) is LoadPolicy.CARRIER
    for load in (LoadPolicy.INERT, LoadPolicy.CARRIER):
        with pytest.raises(UsageError, match=f"--load {load}: this kernel loads signed modules alone"):
            GuestOptions(load=load).policy(5, "module.sig_enforce=1")


def test_they_keep_every_byte(tmp_path: Path) -> None:
    content = make_module("a") + b"signature~Module signature appended~\n"
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.ko.xz").write_bytes(lzma.compress(content))
    (tmp_path / "in/b.ko").write_bytes(content)
    modules = [read_module(tmp_path / "in" / name, name) for name in ("a.ko.xz", "b.ko")]
    unpack_modules(tmp_path / "in", tmp_path / "out", modules, 2)
    assert [(tmp_path / "out" / name).read_bytes() for name in ("a.ko", "b.ko")] == [content] * 2
