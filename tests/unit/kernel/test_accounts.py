# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Accounts as they are read; tests/contract holds the programs that write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.kernel.accounts import Call, read_accounts

LINK = "link\tvmlinux\t2000000\t500000\t3000000\t900\n"
MAKE = "make\tmake\t7000000\t0\t6000000\t1234\n"


def test_each_line_is_a_call(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text(LINK + MAKE)
    assert read_accounts(tmp_path) == (
        Call("link", "vmlinux", 2.0, 0.5, 3.0, 900),
        Call("make", "make", 7.0, 0.0, 6.0, 1234),
    )


def test_a_kind_may_have_a_route_behind_it_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text("miss+served\ta.ko\t1000000\t0\t0\t1\n")
    assert read_accounts(tmp_path) == (Call("miss", "a.ko", 1.0, 0.0, 0.0, 1, "served"),)
    (tmp_path / "calls").write_text("miss+lost\ta.ko\t1000000\t0\t0\t1\n")
    with pytest.raises(InfrastructureError, match="not written down whole: 'miss"):
        read_accounts(tmp_path)


def test_where_nothing_was_told_there_are_no_calls(tmp_path: Path) -> None:
    assert read_accounts(tmp_path) == ()
    (tmp_path / "calls").touch()
    assert read_accounts(tmp_path) == ()


@pytest.mark.parametrize("length", range(1, len(MAKE)))
def test_a_cut_last_line_is_no_account_wherever_it_is_cut(tmp_path: Path, length: int) -> None:
    (tmp_path / "calls").write_text(LINK + MAKE[:length])
    with pytest.raises(InfrastructureError, match="not written down whole: 'm"):
        read_accounts(tmp_path)


@pytest.mark.parametrize("length", range(1, len(LINK)))
def test_nor_is_a_cut_line_that_another_program_went_on_behind(tmp_path: Path, length: int) -> None:
    (tmp_path / "calls").write_text(LINK[:length] + MAKE)
    with pytest.raises(InfrastructureError, match="not written down whole: 'l"):
        read_accounts(tmp_path)
