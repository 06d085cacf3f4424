# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import json

import pytest

from kbtf_ci.model import sizes
from kbtf_ci.model.module import Module
from kbtf_ci.report.sizes import Encoding, document, load_previous, tables

XFS = Module("xfs", "kernel/fs/xfs/xfs.ko", 300, "aa")
CIFS = Module("cifs", "kernel/fs/smb/client/cifs.ko", 40, "bb")
OUT = Module("out", "kernel/lib/out.ko", 50, "cc", base_bytes=7)
BARE = Module("bare", "kernel/lib/bare.ko", 0, "", no_btf_reason="Skipping BTF generation for lib/bare.ko")
BAD = Module("bad", "kernel/lib/bad.ko", 1000, "dd")
LATE = Module("late", "kernel/lib/late.ko", 2000, "ee")
FULL = {XFS.file: 900, CIFS.file: 500, OUT.file: 600}
WEIGHED = sizes.compare((CIFS, XFS, BAD, BARE, LATE, OUT), FULL, {BAD.file: "pahole: Invalid argument"})
ENCODING = Encoding("6.12.3", "130", "pahole", ("-j", "--btf_features=var"))
STAMPS = {XFS.file: "1:1", CIFS.file: "2:2", OUT.file: "3:3", BAD.file: "4:4", LATE.file: "5:5"}
TABLES = """\
FULL BTF
========

2000

./fs/xfs/xfs.ko 900
./lib/out.ko 600

SPLIT BTF
=========

397

./fs/xfs/xfs.ko 300
./lib/out.ko 57

3 modules: 2,000 bytes of full BTF, 397 bytes of split BTF, ratio 5.04
with a .BTF.base: 1 modules; its 7 bytes count as split BTF
not counted on either side: 3 modules
    ./lib/bad.ko: pahole: Invalid argument
    ./lib/bare.ko: it has no .BTF section: Skipping BTF generation for lib/bare.ko
    ./lib/late.ko: its full BTF has not been encoded yet

BESIDE COMMIT 5f9ae91f
======================

                                full: commit       here  split: commit      here  ratio: commit   here
all modules: about 700, here 3     115710691       2000        5194047       397          22.28   5.04
./fs/xfs/xfs.ko                       411544        900         222150       300           1.85   3.00
./fs/smb/client/cifs.ko               386249        500         109379        40           3.53  12.50
"""


def test_the_totals_hold_the_same_modules_on_both_sides() -> None:
    assert WEIGHED.full_bytes == 2000
    assert WEIGHED.split_bytes == 300 + 40 + 50 + 7
    assert WEIGHED.ratio == 2000 / 397


def test_what_is_not_counted_says_why() -> None:
    assert {module.name: module.fault for module in WEIGHED.uncounted} == {
        "bad": "pahole: Invalid argument",
        "bare": "it has no .BTF section: Skipping BTF generation for lib/bare.ko",
        "late": "its full BTF has not been encoded yet",
    }


def test_the_largest_come_first_and_equals_by_file() -> None:
    same = [Module(name, f"kernel/{name}.ko", 5, name) for name in "cab"]
    weighed = sizes.compare([*same, XFS], {**{module.file: 9 for module in same}, XFS.file: 8}, {})
    assert [module.name for module in weighed.top_full(3)] == ["a", "b", "c"]
    assert [module.name for module in weighed.top_split(2)] == ["xfs", "a"]


def test_no_module_at_all_has_no_ratio() -> None:
    assert sizes.compare([LATE], {}, {}).ratio is None


def test_the_commits_figures_are_its_own() -> None:
    """Against the sums and the order of its two lists, which the table here merges into one."""
    full = [figure for figure in sizes.COMMIT_FIGURES if figure.full_bytes]
    split = [figure for figure in sizes.COMMIT_FIGURES if figure.split_bytes]
    assert (len(full), len(split)) == (10, 10)
    assert [figure.full_bytes for figure in full] == sorted((f.full_bytes or 0 for f in full), reverse=True)
    assert all((figure.split_bytes or 0) < (figure.full_bytes or 10**6) for figure in sizes.COMMIT_FIGURES)
    assert round(sizes.COMMIT_FULL_BYTES / 1e6) == 116
    assert round(sizes.COMMIT_SPLIT_BYTES / 1e6) == 5


def test_a_module_that_moved_is_found_where_it_is_now() -> None:
    assert [(figure.path, module.file) for figure, module in sizes.beside_commit(WEIGHED)] == [
        ("./fs/xfs/xfs.ko", "kernel/fs/xfs/xfs.ko"),
        ("./fs/cifs/cifs.ko", "kernel/fs/smb/client/cifs.ko"),
    ]


def test_a_module_whose_full_btf_is_unknown_is_not_put_beside_the_commits() -> None:
    weighed = sizes.compare([XFS], {}, {})
    assert sizes.beside_commit(weighed) == ()


def test_the_tables_have_the_commits_layout() -> None:
    assert "".join(f"{line}\n" for line in tables(WEIGHED, 2)) == TABLES


def test_json_holds_every_module_and_the_commits_figures() -> None:
    values = json.loads(json.dumps(document(ENCODING, WEIGHED, STAMPS, "interrupted by SIGINT")))
    assert values["schema"] == "kbtf-ci/sizes/1"
    assert values["kernel"] == {"release": "6.12.3"}
    assert values["pahole"] == {"version": "130", "program": "pahole", "flags": ["-j", "--btf_features=var"]}
    assert values["ended"] == "interrupted by SIGINT"
    assert values["totals"] == {
        "modules": 6, "counted": 3, "full_bytes": 2000, "split_bytes": 397, "ratio": 2000 / 397,
    }  # fmt: skip
    entries = {entry["name"]: entry for entry in values["modules"]}
    assert entries["out"] == {
        "name": "out", "file": "kernel/lib/out.ko", "full_bytes": 600, "split_bytes": 57, "base_bytes": 7,
        "fault": None, "stamp": "3:3",
    }  # fmt: skip
    assert entries["late"]["full_bytes"] is None
    assert entries["bad"]["fault"] == "pahole: Invalid argument"
    assert values["commit"]["modules"][1] == {
        "path": "./fs/cifs/cifs.ko", "file": "kernel/fs/smb/client/cifs.ko",
        "full_bytes": 386249, "split_bytes": 109379,
    }  # fmt: skip


def test_only_unchanged_modules_are_recalled() -> None:
    values = json.loads(json.dumps(document(ENCODING, WEIGHED, STAMPS)))
    now = {**STAMPS, XFS.file: "1:2"}
    assert load_previous(values, "pahole", ENCODING.flags, now) == ("130", {CIFS.file: 500, OUT.file: 600})


@pytest.mark.parametrize(
    ("program", "flags"), [("/opt/pahole", ("-j", "--btf_features=var")), ("pahole", ("-j",)), ("pahole", ())]
)
def test_another_pahole_or_other_flags_recall_nothing(program: str, flags: tuple[str, ...]) -> None:
    values = json.loads(json.dumps(document(ENCODING, WEIGHED, STAMPS)))
    assert load_previous(values, program, flags, STAMPS) == ("", {})


HOW = {"version": "1", "program": "pahole", "flags": []}


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        7,
        "text",
        {},
        {"schema": "kbtf-ci/sizes/1"},
        {"schema": "kbtf-ci/sizes/1", "pahole": 3},
        {"schema": "kbtf-ci/sizes/1", "pahole": HOW, "modules": [1]},
        {"schema": "kbtf-ci/sizes/2", "pahole": HOW, "modules": []},
    ],
)
def test_what_is_no_sizes_json_recalls_nothing(values: object) -> None:
    assert load_previous(values, "pahole", (), STAMPS) == ("", {})
