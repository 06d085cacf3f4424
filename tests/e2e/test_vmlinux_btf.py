# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""vmlinux's BTF in the memory of a real kernel, held against that of the image it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.btf.format.difference import first_difference
from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.guest.guest import GuestSpec
from kbtf_ci.guest.image import make_image, root_archive
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.session import Listener, observe
from kbtf_ci.model.outcome import LoadPolicy
from kbtf_ci.objfile.files import boots_by_pvh, open_kernel
from kbtf_ci.objfile.inventory import inventory
from tests.e2e.conftest import results


def test_a_healthy_kernel_has_in_memory_what_its_image_holds(smoke_run: Path) -> None:
    seen = results(smoke_run)["vmlinux"]
    assert seen["btf_sha256"] == seen["sysfs_sha256"] != ""
    assert seen["difference"] == ""


def test_a_byte_that_a_loader_changed_in_memory_is_named(
    engine: Engine, toolchain: Toolchain, smoke_run: Path, tmp_path: Path
) -> None:
    opened = open_kernel(smoke_run / "kernel/bzImage")
    assert opened.vmlinux is not None
    assert boots_by_pvh(opened.vmlinux)
    whole = bytes(opened.vmlinux.data[:])
    btf = opened.file.btf
    # The last letter of a name deep in the strings: nothing that any check of the kernel's looks at.
    at = btf.rindex(b"\0task_struct\0") + len("task_struct")
    altered = btf[:at] + b"X" + btf[at + 1 :]
    start = whole.index(btf)
    (tmp_path / "vmlinux").write_bytes(whole[:start] + altered + whole[start + len(btf) :])
    runner = engine.runner(toolchain.image)
    tree = smoke_run / "guest/modules"
    modules = [min(inventory(tree).modules, key=lambda module: module.btf_bytes)]
    image = make_image(root_archive(runner), tmp_path / "guest", tree, modules)
    spec = GuestSpec(tmp_path / "vmlinux", image, memory_mib=512, accel=Accel.TCG, btf=btf)
    read: list[bytes] = []
    listener = Listener(lambda _: None, lambda *_: None, pytest.fail, vmlinux_read=read.append)
    observe(runner, spec, modules, LoadPolicy.INERT, logs=tmp_path, listener=listener)
    assert read == [altered]
    assert "of the string 'task_struct'" in first_difference(btf, read[0])
