# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The schemas that ship: valid, told in words, open to what comes, and no more or less than documents."""

from __future__ import annotations

import gzip
import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import kbtf_ci
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.infra.schemas import schema_titles
from kbtf_ci.model.bisect import Mark, Subject
from kbtf_ci.model.bundle import OF_BTF
from kbtf_ci.model.encoded import Route
from kbtf_ci.model.extmod import Way
from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.kernel_warning import WarningKind
from kbtf_ci.model.matrix import CellOutcome
from kbtf_ci.model.matrix_results import Standing
from kbtf_ci.model.outcome import Death, LoadMode, Outcome
from kbtf_ci.model.prune import Kind
from kbtf_ci.model.regeneration import Rule, Scenario
from kbtf_ci.model.symptom import Conclusion, Likelihood
from kbtf_ci.workflow.intake import keep_functions
from tests.support.schemas import Schema, closed, narrowed, parts, refuses, shipped, valid
from tests.unit.schemas.documents import DOCUMENTS

NAMES = list(schema_titles())
# Kept by a bisection for itself, between two calls.
OWN = {"bisect-state"}
# Shapes that several documents share, and are the same in all.
SHARED = {
    "accel", "difference", "errno", "expectation", "finding", "kernel", "kernel_log", "load_mode", "outcome",
    "prediction", "unusable", "warning",
}  # fmt: skip


def values(kind: type[StrEnum]) -> list[str]:
    return [one.value for one in kind]


CELL = "properties/cells/items/properties"
FAILURES = ["not verified", "build failed", "guest died", "refused"]
# Where a value is closed, or all that there are for now are listed: schema, pointer, and what they are.
LISTED: list[tuple[str, str, list[Any]]] = [
    ("results", "$defs/outcome/enum", values(Outcome)),
    ("results", "$defs/load_mode/enum", values(LoadMode)),
    ("results", "$defs/death/enum", values(Death)),
    ("results", "$defs/accel/enum", [one.value for one in Accel if one is not Accel.AUTO]),
    ("results", "$defs/finding/examples", values(FailOn)),
    ("results", "$defs/warning/properties/kind/examples", values(WarningKind)),
    ("results", "$defs/other_warning/properties/kind/examples", values(WarningKind)),
    ("bisect", "properties/subject/enum", values(Subject)),
    ("bisect", "$defs/step/properties/verdict/enum", values(Mark)),
    ("bundle", "properties/outcome/enum", [one for one in Outcome if one in OF_BTF]),
    ("diagnose", "properties/conclusion/enum", [one.name.lower() for one in Conclusion]),
    ("diagnose", "$defs/cause/properties/likelihood/enum", values(Likelihood)),
    ("doctor", "items/properties/state/enum", ["ok", "warn", "bad"]),
    ("encode", "properties/modules/items/properties/route/enum", [*values(Route), None]),
    ("matrix", f"{CELL}/expected/properties/outcome/enum", FAILURES),
    ("matrix", f"{CELL}/standing/enum", values(Standing)),
    ("matrix", f"{CELL}/result/properties/outcome/enum", values(CellOutcome)),
    ("matrix", "properties/exit_code/enum", [0, 1, 5]),
    ("matrix-plan", f"{CELL}/expected/properties/outcome/enum", FAILURES),
    ("module", "$defs/way/properties/vmlinux/enum", values(Way)),
    ("prune", "properties/items/items/properties/kind/examples", values(Kind)),
    ("regen", "properties/rule/properties/name/enum", [one.name.lower() for one in Rule]),
    ("regen", "$defs/scenario/properties/name/examples", [one.value for one in Scenario]),
]


@pytest.fixture(params=NAMES)
def schema(request: pytest.FixtureRequest) -> Schema:
    return shipped(request.param)


def test_what_the_code_writes_and_what_is_described_are_the_same() -> None:
    sources = Path(kbtf_ci.__file__).parent.rglob("*.py")
    written = {name for file in sources for name in re.findall(r'"kbtf-ci/([a-z-]+)/1"', file.read_text())}
    assert written - OWN == set(NAMES) - {"doctor"}


def test_each_is_valid_and_says_what_it_is(schema: Schema) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    name = schema["$id"].removeprefix("urn:kbtf-ci:").removesuffix(":1")
    assert schema["$id"] == f"urn:kbtf-ci:{name}:1"
    assert schema == shipped(name)
    assert schema["title"]
    assert schema["description"]
    if name != "doctor":
        assert schema["properties"]["schema"]["const"] == f"kbtf-ci/{name}/1"


def test_each_key_is_told_in_words(schema: Schema) -> None:
    shapes = schema.get("$defs", {})
    for path, part in parts(schema):
        for key, value in part.get("properties", {}).items():
            told = value.get("description") or shapes[value["$ref"].rpartition("/")[2]]["description"]
            assert told.endswith((".", ")")), (path, key)


def test_what_comes_later_is_allowed(schema: Schema) -> None:
    for path, part in parts(schema):
        assert part.get("additionalProperties") is not False, path
        assert "unevaluatedProperties" not in part
        assert set(part.get("required", ())) <= set(part.get("properties", {})), path


def test_shapes_of_one_name_are_the_same_everywhere() -> None:
    for shape in SHARED:
        found = [text for name in NAMES if (text := shipped(name).get("$defs", {}).get(shape))]
        assert found
        assert all(text == found[0] for text in found), shape


@pytest.mark.parametrize(("name", "pointer", "expected"), LISTED, ids=lambda value: str(value)[:40])
def test_what_a_value_may_be_is_what_the_code_has(name: str, pointer: str, expected: list[str]) -> None:
    place: Any = shipped(name)
    for step in pointer.split("/"):
        place = place[step]
    assert place == expected


def test_every_enum_is_held_to_the_code() -> None:
    found = {
        (name, "/".join(map(str, (*path, word)))) for name in NAMES for path, part in parts(shipped(name))
        for word in ("enum", "examples") if word in part
    }  # fmt: skip
    shared = {(name, pointer) for name, pointer in found if pointer.split("/")[1] in SHARED}
    assert found - shared == {(name, pointer) for name, pointer, _ in LISTED} - shared


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_have_what_is_required_and_nothing_that_is_not_described(name: str) -> None:
    for document in DOCUMENTS[name]():
        valid(name, document)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_all_that_is_described_is_in_some_document(name: str) -> None:
    """Without any one of the things that a schema allows, it refuses at least one of the documents."""
    documents = DOCUMENTS[name]()
    unused = [
        what for what, schema in narrowed(closed(shipped(name)))
        if not any(refuses(schema, document) for document in documents)
    ]  # fmt: skip
    assert unused == []


def test_the_functions_of_a_run_are_as_described(tmp_path: Path) -> None:
    keep_functions(tmp_path / "f.gz", {"kernel/a.ko": ("a_init",)})
    valid("functions", json.loads(gzip.decompress((tmp_path / "f.gz").read_bytes())))
    assert set(DOCUMENTS) == set(NAMES) - {"functions"}


def test_a_key_that_is_not_described_is_found_out() -> None:
    (document, *_) = DOCUMENTS["results"]()
    document["modules"][0]["new"] = 1
    with pytest.raises(AssertionError, match=r"\$\.modules\[0\].*'new' was unexpected"):
        valid("results", document)
    assert Draft202012Validator(shipped("results")).is_valid(document)
