# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Documents held against the schemas that ship, closed: a key that a schema does not describe is a fault."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from kbtf_ci.infra.schemas import schema_text

Schema = dict[str, Any]
_MAPS, _SINGLE = ("properties", "$defs"), ("items", "additionalProperties", "propertyNames")


def shipped(name: str) -> Schema:
    """Return a schema as users get it."""
    schema: Schema = json.loads(schema_text(name))
    return schema


def parts(schema: Schema, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Schema]]:
    """Yield a schema and all schemas in it, each with where it stands."""
    yield path, schema
    for word in _MAPS:
        for name, part in schema.get(word, {}).items():
            yield from parts(part, (*path, word, name))
    for word in _SINGLE:
        if isinstance(schema.get(word), dict):
            yield from parts(schema[word], (*path, word))
    for number, part in enumerate(schema.get("anyOf", ())):
        yield from parts(part, (*path, "anyOf", number))


def closed(schema: Schema) -> Schema:
    """Return a schema that allows no key that it does not describe."""
    strict = copy.deepcopy(schema)
    for _, part in parts(strict):
        if "properties" in part:
            part["additionalProperties"] = False
    return strict


def narrowed(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield a closed schema without one thing that it allows, once for each such thing, and what that is.

    A thing is a key, a type or a branch where there are several, an entry of an array or of a map.
    """
    for path, part in parts(schema):
        for key in part.get("properties", {}):
            yield _without(schema, (*path, "properties", key))
        for word in ("anyOf", "type"):
            if isinstance(part.get(word), list):
                yield from (_without(schema, (*path, word, number)) for number in range(len(part[word])))
        for word in ("items", "additionalProperties"):
            if isinstance(part.get(word), dict):
                yield _without(schema, (*path, word))


def _without(schema: Schema, path: tuple[str | int, ...]) -> tuple[str, Schema]:
    other = copy.deepcopy(schema)
    place: Any = other
    for step in path[:-1]:
        place = place[step]
    if path[-1] in ("items", "additionalProperties") and path[-2:-1] != ("properties",):
        place[path[-1]] = False
    else:
        del place[path[-1]]
    return "/".join(map(str, path)), other


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(closed(shipped(name)))


def refuses(schema: Schema, document: object) -> bool:
    """Return whether a document is none of this schema's."""
    return not Draft202012Validator(schema).is_valid(as_read(document))


def as_read(document: object) -> Any:
    """Return a document as a reader of its JSON has it. Raises ValueError for what JSON has no word for."""
    return json.loads(json.dumps(document, allow_nan=False))


def valid(name: str, document: object) -> None:
    """Assert that a document is what the schema of that name says, and no more."""
    errors = _validator(name).iter_errors(as_read(document))
    faults = [f"{error.json_path}: {error.message}" for error in errors]
    assert not faults, f"not of schema {name}: {'; '.join(faults)}"


def valid_by_its_word(document: Any) -> None:
    """Assert the same of what a command printed, by the schema that it names; doctor alone names none."""
    name = document["schema"].split("/")[1] if isinstance(document, dict) else "doctor"
    valid(name, document)
