# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Matrices as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from kbtf_ci.commands.main import main
from kbtf_ci.errors import UsageError
from kbtf_ci.infra.matrix_file import known_matrices, read_matrix
from kbtf_ci.model.matrix import CellOutcome, Plan
from kbtf_ci.model.matrix_budget import CellBudget

WHOLE = """
description = "two by two"
[options]
config = "smoke"
fragment = "trace"
[axes]
kernel = [{ name = "mine", directory = "../linux", kconfig-add = ["CONFIG_A=y"] }, { name = "theirs" }]
pahole = ["forky", "./bin/pahole"]
[[exclude]]
kernel = "theirs"
pahole = "./bin/pahole"
[[include]]
kernel = "theirs"
pahole = "./bin/pahole"
[[expect]]
kernel = ["mine", "theirs"]
pahole = "forky"
outcome = "build failed"
reason = "it is too new"
link = "https://example.org/1"
[[budget]]
btf-bytes = 100
growth = 2.5
[[budget]]
pahole = "forky"
lost-modules = 0
btf-bytes = 90
"""


def read(folder: Path, text: str) -> Plan:
    path = folder / "m.toml"
    path.write_text(text)
    return read_matrix(str(path))


def test_axes_options_and_rules_are_read_and_paths_are_those_of_its_folder(tmp_path: Path) -> None:
    plan = read(tmp_path / ".", WHOLE)
    assert (plan.name, plan.description, plan.axes) == ("m", "two by two", ("kernel", "pahole"))
    names = [cell.name for cell in plan.cells]
    assert sorted(names) == sorted(["mine/forky", "mine/./bin/pahole", "theirs/forky", "theirs/./bin/pahole"])
    mine = next(cell for cell in plan.cells if cell.name == "mine/./bin/pahole")
    assert mine.words == (
        "run", "--config", "smoke", "--directory", str(tmp_path.parent / "linux"), "--fragment", "trace",
        "--kconfig-add", "CONFIG_A=y", "--pahole", str(tmp_path / "bin/pahole"),
    )  # fmt: skip
    assert mine.expected is None
    assert mine.budget == CellBudget(btf_bytes=100, growth=2.5)
    (forky, _) = (cell for cell in plan.cells if cell.choices["pahole"] == "forky")
    assert forky.expected is not None
    assert (forky.expected.outcome, forky.expected.reason) == (CellOutcome.BUILD_FAILED, "it is too new")
    assert forky.budget == CellBudget(btf_bytes=90, growth=2.5, lost_modules=0)


def test_what_is_never_a_name_is_a_path_without_a_slash_too(tmp_path: Path) -> None:
    plan = read(
        tmp_path,
        """
[options]
directory = "linux"
libbpf-tree = "libbpf"
config = "smoke"
[axes]
pahole-tree = ["dwarves", { name = "none", pahole-tree = "", libbpf-tree = "", pahole = "forky" }]
""",
    )
    first, second = plan.cells
    assert first.options["directory"] == str(tmp_path / "linux")
    assert first.options["libbpf-tree"] == str(tmp_path / "libbpf")
    assert first.options["pahole-tree"] == str(tmp_path / "dwarves")
    assert (first.name, first.options["config"]) == ("dwarves", "smoke")
    assert second.options["pahole"] == "forky"
    assert not {"pahole-tree", "libbpf-tree"} & second.options.keys()


def test_a_file_beside_the_matrix_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("my.config", "linux.deb", "trace"):
        (tmp_path / name).touch()
    (tmp_path / "elsewhere/trixie").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = '[axes]\nfragment = ["my.config", "trace", "no.config"]\n[options]\npahole = "trixie"\n'
    mine, shipped, nosuch = (one.options for one in read(tmp_path, text).cells)
    assert mine["fragment"] == (str(tmp_path / "my.config"),)
    assert (shipped["fragment"], nosuch["fragment"]) == (("trace",), ("no.config",))
    assert mine["pahole"] == "trixie"
    (of_others,) = read(tmp_path, '[axes]\nkernel = ["linux.deb"]').cells
    assert of_others.options["kernel"] == (str(tmp_path / "linux.deb"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("axes = 1", "key 'axes'"),
        ("[axes]", "key 'axes'"),
        ("[axes]\na = []", "axes.a: has no value"),
        ("[axes]\nsuit = ['trixie']", "axes.suit, value 1: no option 'suit' of kbtf-ci run"),
        ("[axes]\nkernel = [{ suite = 'x' }]", "axes.kernel, value 1: a table of options wants a name"),
        ("[axes]\nsuite = [['a', 'b']]", "suite has one value, not several"),
        ("[axes]\nsuite = [1.5]", "suite: a text or a number is wanted"),
        ("[axes]\nsuite = ['a']\n[options]\nsuit = 1", "options: no option 'suit'"),
        ("[axes]\nsuite = ['a']\n[[exclude]]\nsuite = 'b'", "exclude 1: axis suite has no 'b'"),
        ("[axes]\nsuite = ['a']\n[[exclude]]\nkernel = 'b'", "exclude 1: no axis 'kernel'"),
        ("[axes]\nsuite = ['a']\n[[exclude]]", "exclude 1: names no axis"),
        ("[axes]\nsuite = ['a']\npahole = ['b']\n[[include]]\nsuite = 'a'", "names nothing of axis pahole"),
        ("[axes]\nsuite = ['a']\n[[expect]]\nsuite = 'a'\noutcome = 'x'\nreason = 'x'", "expect.0.outcome"),
        ("[axes]\nsuite = ['a']\n[[expect]]\noutcome = 'verified'\nreason = 'x'", "expect.0.outcome"),
        ("[axes]\nsuite = ['a']\n[[expect]]\nsuite = 'a'\noutcome = 'refused'", "expect.0.reason"),
        ("[axes]\nsuite = ['a']\n[[budget]]\nsuite = 'a'", "budget 1: allows everything"),
        ("[axes]\nsuite = ['a']\n[[budget]]\nbtf-bytes = -1", "budget.0.btf-bytes"),
        ("[axes]\nsuite = ['a']\n[[budget]]\ngrowth = 1\nbytes = 1", "budget 1: no axis 'bytes'"),
        ("[axes]\npahole = ['', 'bookworm']", "axes.pahole, value 1: an empty value has no name"),
        ("[axes]\nsuite = ['..']", "cell '..': its name can be no folder's"),
        ("[axes]\nsuite = ['a', 'a']", "cells a and a are one"),
        ("[axes]\nsuite = [true]", "axes.suit"),
        ("[axes]\ncpus = [false]", "cpus: a text or a number is wanted"),
        ("[axes]\nfragment = [['a', true]]", "fragment: a text or a number is wanted"),
        ("[axes]\nbtf-cache = ['no']", "btf-cache: true or false is wanted"),
        ("[axes]\nvariables = ['--help']", "variables: --help: not of the form NAME=VALUE"),
        ('[axes]\nappend = ["a\\u0000b"]', "append: has a zero byte"),
        ("[axes]\ndirectory = ['~nosuchuser/x']", "directory: ~nosuchuser/x: Could not determine home"),
        ("[axes]\nsuite = ['a']\n[[exclude]]\nsuite = []", "exclude 1: axis suite: names no value"),
        ("[axes]\nsuite = ['a']\n[[budget]]\ngrowth = nan", "budget.0.growth"),
        ("[axes]\nsuite = ['a']\n[[budget]]\nseconds = inf", "budget.0.seconds"),
        ("[axes]\nsuite = ['a']\n[[budget]]\nbtf-bytes = true", "budget.0.btf-bytes"),
        ("[axes\n", "not valid TOML"),
        ("axis = 1\n[axes]\nsuite = ['a']", "key 'axis'"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_names_file_and_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_no_such_file_is_told_with_the_matrices_that_ship(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nosuch: cannot be read; matrices that ship: .*toolchains"):
        read_matrix(str(tmp_path / "nosuch"))


@pytest.mark.parametrize("name", known_matrices())
def test_every_cell_that_ships_is_a_command_of_ours(name: str) -> None:
    plan = read_matrix(name)
    assert plan.description
    for cell in plan.cells:
        # An option that there is not ends otherwise than a folder that is there already.
        done = CliRunner().invoke(main, [*cell.words, "--output-dir", "/dev/null/x", "--nosuch"])
        assert "No such option '--nosuch'" in done.output, (cell.name, done.output)
