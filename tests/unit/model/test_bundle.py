# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a bundle's guest says, as lines and back, and in what two kernels differ."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kbtf_ci.model.bundle import Seen, differences

LAST = "failed to validate module [xfs] BTF: -22"
REFUSED = Seen(22, "", ("BPF:  ", LAST))


def test_lines_come_back_as_they_went() -> None:
    assert list(REFUSED.lines()) == ["errno 22", "sysfs absent", "log BPF:  ", f"log {LAST}"]
    for seen in (REFUSED, Seen(0, "ab" * 32)):
        assert Seen.parse([*seen.lines(), "end"]) == seen


@pytest.mark.parametrize("lines", [[], ["errno 0"], ["sysfs absent"], ["errno ", "sysfs absent"]])
def test_a_guest_that_did_not_say_all_is_no_answer(lines: list[str]) -> None:
    with pytest.raises(ValueError, match=r"said nothing|invalid literal"):
        Seen.parse(lines)


def test_each_thing_that_differs_is_named() -> None:
    assert list(differences(REFUSED, REFUSED)) == []
    assert list(differences(REFUSED, replace(REFUSED, errno=0))) == ["errno 0 where 22 was recorded"]
    assert list(differences(REFUSED, replace(REFUSED, sysfs_sha256="ab"))) == [
        "/sys/kernel/btf: ab where absent was recorded"
    ]
    assert list(differences(REFUSED, replace(REFUSED, log=(LAST,)))) == [
        "other lines on the module's BTF in the kernel's log"
    ]
