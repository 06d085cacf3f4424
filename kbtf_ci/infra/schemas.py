# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The JSON Schemas (draft 2020-12) that ship with kbtf-ci, one of each document that it prints or writes."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from kbtf_ci.errors import UsageError

# The 1 of kbtf-ci/results/1; the first document with a 2 needs names for both.
_SUFFIX: Final = "-1.schema.json"


def schema_titles() -> dict[str, str]:
    """Return what there is a schema of, by name: ``results`` for ``kbtf-ci/results/1``."""
    return {name: json.loads(_read(name))["title"] for name in _names()}


def schema_text(name: str) -> str:
    """Return a schema as its file holds it. Raises UsageError where there is none of that name."""
    names = _names()
    if name not in names:
        raise UsageError(f"there is no schema of {name!r}", hint=f"there are {', '.join(names)}")
    return _read(name)


def _names() -> list[str]:
    found = (file.name for file in _folder().iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))


def _read(name: str) -> str:
    return _folder().joinpath(f"{name}{_SUFFIX}").read_text(encoding="utf-8")


def _folder() -> Traversable:
    return files("kbtf_ci").joinpath("schemas")
