# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What pahole is given where no kbuild is there to ask."""

from __future__ import annotations

import re

import pytest

from kbtf_ci.infra.paths import shipped
from kbtf_ci.kernel.pahole import ALLOCATION, flags_of_6_12

FEATURES = (
    "--btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func,"
    "decl_tag_kfuncs"
)
REPRODUCIBLE = ("-j", "--btf_features=+reproducible_build")


# tests/contract holds them to scripts/Makefile.btf itself.
@pytest.mark.parametrize(
    ("version", "flags"),
    [
        (119, ("--skip_encoding_btf_vars",)),
        (121, ("--skip_encoding_btf_vars", "--btf_gen_floats")),
        (124, ("--btf_gen_floats", "--lang_exclude=rust")),
        (
            125,
            ("--btf_gen_floats", "--skip_encoding_btf_inconsistent_proto", "--btf_gen_optimized",
             "--lang_exclude=rust"),
        ),
        (126, ("-j", FEATURES, "--lang_exclude=rust")),
        (130, ("-j", FEATURES, *REPRODUCIBLE, "--lang_exclude=rust")),
    ],
)  # fmt: skip
def test_flags_are_those_of_linux_6_12(version: int, flags: tuple[str, ...]) -> None:
    assert flags_of_6_12(version) == flags


def test_a_pahole_and_a_server_take_memory_alike() -> None:
    source = (shipped("containers") / "btfserver/start.c").read_text()
    macro = source.partition("#define TUNABLES")[2].partition("\n\n")[0]
    assert "".join(re.findall(r'"([^"]*)"', macro)) == ALLOCATION["GLIBC_TUNABLES"]
