# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci schema``: which there are, one of them, and a name of none."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

import kbtf_ci
from kbtf_ci.commands.main import main

FOLDER = Path(kbtf_ci.__file__).with_name("schemas")


def schema(*words: str) -> Result:
    return CliRunner().invoke(main, ["schema", *words])


def test_without_a_name_all_are_listed_with_what_they_are_of() -> None:
    done = schema()
    assert done.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert {f"{name}-1.schema.json" for name in lines} == {path.name for path in FOLDER.iterdir()}
    assert lines["sizes"] == json.loads(schema("sizes").stdout)["title"]


def test_one_is_printed_as_it_ships() -> None:
    assert schema("results").stdout == (FOLDER / "results-1.schema.json").read_text()


def test_a_name_of_none_is_one_line_with_those_that_there_are() -> None:
    done = schema("../schemas/results")
    assert done.exit_code == 2
    first, hint = done.stderr.splitlines()
    assert first == "kbtf-ci: there is no schema of '../schemas/results'"
    assert "results, run, sizes" in hint
