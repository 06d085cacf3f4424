# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which bundles are read, and of which modules one is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.archive import read_archive, write_archive
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.bundle import KERNEL, MANIFEST, MEMBERS, Seen
from kbtf_ci.report.bundle import replay, replay_document
from kbtf_ci.workflow.bundle import results_entry
from kbtf_ci.workflow.replay import read_bundle
from tests.support.bundles import made_up

LAST = "failed to validate module [xfs] BTF: -22"


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_bundle(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_bundle_is_read_with_what_it_records(tmp_path: Path) -> None:
    bundle, members = read_bundle(made_up(tmp_path / "b.tar.gz"))
    assert bundle.seen == Seen(22, "", (LAST,))
    assert members[KERNEL] == b"kernel"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (
            {"schema": "kbtf-ci/bundle/9"},
            "a bundle of schema 'kbtf-ci/bundle/9'; this kbtf-ci reads kbtf-ci/bundle/1",
        ),
        ({"outcome": "FINE"}, "bundle.json: outcome: Input should be"),
        ({"errno": "x"}, "bundle.json: errno: Input should be a valid integer"),
        ({"memory_mib": 1 << 40}, "bundle.json: memory_mib: Input should be less than or equal to 65536"),
        ({"module": {"name": "a/../b"}}, "bundle.json: module.name: String should match pattern"),
        ({"digests": {}}, "README.txt in it is not what it was when the bundle was made"),
    ],
)
def test_a_manifest_that_is_none_is_refused_by_its_key(
    tmp_path: Path, values: dict[str, Any], why: str
) -> None:
    assert why in refusal(made_up(tmp_path / "b.tar.gz", **values))


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"[" * 100_000, b"\xff"])
def test_a_manifest_that_is_no_object_is_refused(tmp_path: Path, text: bytes) -> None:
    path = made_up(tmp_path / "b.tar.gz")
    members = {**read_archive(path, MEMBERS, 1 << 20), MANIFEST: text}
    write_archive(path, "f", members, ())
    assert "bundle.json in it is no bundle's" in refusal(path)


def test_a_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = made_up(tmp_path / "b.tar.gz")
    members = {**read_archive(path, MEMBERS, 1 << 20), KERNEL: b"another"}
    write_archive(path, "f", members, ())
    assert "kernel in it is not what it was" in refusal(path)


def run_with(folder: Path, *modules: dict[str, Any]) -> RunDirectory:
    (folder / "results.json").write_text(json.dumps({"modules": list(modules)}))
    return RunDirectory(folder)


def test_a_module_is_found_by_either_spelling(tmp_path: Path) -> None:
    run = run_with(tmp_path, {"name": "nf_nat", "outcome": "VERIFIED"})
    for name in ("nf_nat", "nf-nat", "nf-nat.ko"):
        assert results_entry(run, name)["name"] == "nf_nat"


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ({"name": "other", "outcome": "VERIFIED"}, "no module is called 'xfs'"),
        ({"name": "xfs", "outcome": "LOAD_FAILED"}, "a bundle shows a module's BTF, without its code"),
        ({"name": "xfs", "outcome": "NO_BTF"}, "a bundle shows a module's BTF, without its code"),
        ({"name": "xfs"}, "not the results of a run"),
    ],
)
def test_of_what_a_bundle_cannot_show_none_is_made(tmp_path: Path, module: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match="results") as caught:
        results_entry(run_with(tmp_path, module), "xfs")
    assert why in caught.value.message


def test_a_name_that_no_shell_should_see_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no name that a bundle can have"):
        results_entry(run_with(tmp_path, {"name": "$(x)", "outcome": "VERIFIED"}), "$(x)")


def test_a_folder_without_results_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the results of a run"):
        results_entry(RunDirectory(tmp_path), "xfs")


def test_a_replay_says_same_or_what_differs(tmp_path: Path) -> None:
    bundle, _ = read_bundle(made_up(tmp_path / "b.tar.gz"))
    same = list(replay(bundle, bundle.seen, ()))
    assert same[-1] == "the same as recorded"
    other = list(replay(bundle, Seen(0, "ab", ("BPF: \x1b[31m",)), ("errno 0 where 22 was recorded",)))
    assert "NOT the same as recorded:" in other
    assert not any("\x1b" in line for line in other)
    values = replay_document(bundle, Seen(0, "ab"), ("errno",), "tcg")
    assert (values["schema"], values["same"]) == ("kbtf-ci/replay/1", False)
    assert values["recorded"] == {
        "outcome": "REJECTED", "errno": -22, "sysfs_sha256": None, "kernel_log": [LAST],
    }  # fmt: skip
    assert values["observed"] == {"errno": None, "sysfs_sha256": "ab", "kernel_log": []}
