# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Every JSON document, key by key, as its schema says it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from docs.from_code.markdown import code, plain, table
from kbtf_ci.infra.schemas import schema_text, schema_titles

Schema = Mapping[str, Any]


def page() -> Iterator[str]:
    """Yield a section a document, with a table for each kind of object in it."""
    for name in schema_titles():
        schema = json.loads(schema_text(name))
        yield f"## {name}"
        yield ""
        yield f"{plain(schema['title'])}. {plain(schema.get('description', ''))}"
        yield ""
        yield from _table(name, schema.get("items", schema) if schema["type"] == "array" else schema)
        for part, inner in schema.get("$defs", {}).items():
            yield from _part(name, part, inner)


def _part(document: str, name: str, schema: Schema) -> Iterator[str]:
    yield f"### {document}: {plain(name)}"
    yield ""
    yield f"{plain(schema.get('description', ''))}{_values(schema)}"
    yield ""
    yield from _table(document, schema)


def _table(document: str, schema: Schema) -> Iterator[str]:
    rows = list(_rows(document, schema))
    if rows:
        yield from table(("key", "type", "always there", "meaning"), rows)


def _rows(document: str, schema: Schema, above: str = "") -> Iterator[tuple[str, ...]]:
    """Yield a row a key, and behind it those of the object that it holds."""
    required = schema.get("required", ())
    for key, value in schema.get("properties", {}).items():
        always = "yes" if key in required else "no"
        yield code(f"{above}{key}"), _type(document, value), always, _told(value)
        yield from _rows(document, value.get("items", value), f"{above}{key}{'[]' * ('items' in value)}.")


def _told(schema: Schema) -> str:
    old = "*Deprecated.* " if schema.get("deprecated") else ""
    return f"{old}{plain(schema.get('description', ''))}{_values(schema)}"


def _values(schema: Schema) -> str:
    for key, word in (("enum", "One of"), ("examples", "Such as")):
        if key in schema:
            return f" {word} {', '.join(code(json.dumps(one)) for one in schema[key])}."
    return ""


def _type(document: str, schema: Schema) -> str:
    """Return the type in a word or two, with a link where it is described by itself."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{plain(name)}](#{document}-{name})"
    if "anyOf" in schema:
        return " or ".join(_type(document, one) for one in schema["anyOf"])
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    types = schema.get("type", "any")
    words = [types] if isinstance(types, str) else list(types)
    return " or ".join(_word(document, word, schema) for word in words)


def _word(document: str, word: str, schema: Schema) -> str:
    if word == "array" and "items" in schema:
        return f"array of {_type(document, schema['items'])}"
    inner = schema.get("additionalProperties")
    if word == "object" and isinstance(inner, Mapping):
        return f"object of {_type(document, inner)}"
    return word
