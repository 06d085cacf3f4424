# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The program that loads fentry programs, with sanitizers, where there is nothing for it to load them on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kbtf_ci.infra.runner import Mount, Runner
from tests.support.programs import Bench, Programs

_PROVE = "/prove"


@pytest.fixture
def bench(runner: Runner, tmp_path: Path, sanitized: Programs) -> Bench:
    assert sanitized.folder is not None
    return Bench(runner, tmp_path, sanitized, (Mount(sanitized.folder / "prove", _PROVE),))


def answers(bench: Bench, *lines: str) -> list[str]:
    (bench.folder / "asked").write_text("".join(f"{line}\n" for line in lines))
    done = bench.sh(f"{_PROVE} < asked")
    assert done.status == 0, done.text
    return done.text.splitlines()


def test_each_line_has_one_answer_with_an_errno(bench: Bench) -> None:
    """A container without privileges may load nothing: what is asked for is refused, and said so."""
    asked = [
        "btf no_such_module", "load 7", "load 8 0 1 11", "attach 9", "detach 9", "multi 59 7 8 9",
        "program xdp 6 0 0", "program lsm 29 27 0 9", "call 7", "dead 7", "live conntrack 7 8",
        "live cpumask 7 8", "live conntrack 7", "live none 7 8",
    ]  # fmt: skip
    found = answers(bench, *asked)
    assert len(found) == len(asked)
    for line, answer in zip(asked, found, strict=True):
        assert re.fullmatch(rf"{' '.join(line.split()[:2])} [1-9]\d*( - .*)?", answer), answer


def test_what_is_no_question_is_an_error_and_ends_nothing(bench: Bench) -> None:
    many = " ".join(map(str, range(100)))
    odd = (
        f"load 7 {many}", "load 7 x " + "9" * 5000, "btf " + "n" * 5000, f"multi 59 {many * 50}",
        f"program p {many}", f"live cpumask {many}",
    )  # fmt: skip
    found = answers(bench, "", "load", "what 7", *odd)
    assert found[:3] == ["error"] * 3
    assert [answer.split()[0] for answer in found[3:]] == ["load", "load", "btf", "multi", "program", "live"]
