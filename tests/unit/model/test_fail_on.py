# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from collections.abc import Set as AbstractSet

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FailOn, parse_fail_on

BOTH = {FailOn.WARNING, FailOn.BASE_MISMATCH}


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        ("base-mismatch,proof,unusable,vmlinux-btf", DEFAULT_FAIL_ON),
        ("warning", {FailOn.WARNING}),
        ("warning,base-mismatch", BOTH),
        (" base-mismatch , warning,", BOTH),
        ("warning,warning", {FailOn.WARNING}),
        ("none", set()),
        ("", set()),
        (" , ", set()),
    ],
)
def test_a_list_names_findings(text: str, findings: AbstractSet[FailOn]) -> None:
    assert parse_fail_on(text) == findings


@pytest.mark.parametrize("text", ["warnings", "warning base-mismatch", "none,warning", "WARNING"])
def test_an_unknown_word_is_an_error_that_names_the_known_ones(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_fail_on(text)
    assert f"--fail-on {text}: there is no finding" in caught.value.message
    assert "warning, base-mismatch, vmlinux-btf" in caught.value.hint
    assert "'none'" in caught.value.hint
