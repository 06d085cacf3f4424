# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The images that another suite's pahole comes from."""

from __future__ import annotations

from kbtf_ci.container import image, suite_pahole_image
from kbtf_ci.container.base import SUITES
from kbtf_ci.container.images import _is_current, _purpose


def test_an_image_is_named_for_both_suites_and_prune_knows_it() -> None:
    toolchain = image.image_name("trixie")
    names = {suite_pahole_image.image_name(of, "trixie", toolchain) for of in SUITES}
    assert len(names) == len(SUITES)
    assert all(_is_current(name) for name in names)
    old = suite_pahole_image.image_name("forky", "trixie", "kbtf-ci/toolchain:trixie-1")
    assert not _is_current(old)
    assert _purpose(old) == "pahole of forky, on the toolchain of trixie, by an earlier recipe"
