# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which modules are built outside the kernel's tree."""

from __future__ import annotations

import pytest

from kbtf_ci.symptoms.evidence import Evidence
from kbtf_ci.symptoms.stale import is_outside


@pytest.mark.parametrize(
    "module", ["nvidia", "nvidia_drm", "nvidia-uvm", "vboxdrv", "8812au", "88x2bu", "zfs", "r8168"]
)
def test_some_are_known_by_name(module: str) -> None:
    assert is_outside(module, Evidence())


@pytest.mark.parametrize(
    "module",
    [
        "nvidiafb",
        "i2c_nvidia_gpu",
        "vboxvideo",
        "8139too",
        "8139cp",
        "8021q",
        "8250_pci",
        "r8169",
        "xpad",
        "rtl8xxxu",
    ],
)
def test_names_of_the_tree_that_look_alike_are_not(module: str) -> None:
    assert not is_outside(module, Evidence())


def test_the_kernel_says_it_of_any() -> None:
    assert is_outside("my-driver", Evidence(out_of_tree={"my_driver"}))
