# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a user asks of a build, or of a kernel that others built: as options, and as run.json keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, PlainSerializer, TypeAdapter
from pydantic.dataclasses import dataclass

DEFAULT_SUITE = "trixie"

# run.json writes "" for a path that was not given.
OptionalPath = Annotated[
    Path | None,
    BeforeValidator(lambda value: value or None),
    PlainSerializer(lambda value: str(value or ""), return_type=str),
]


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class BuildOptions:
    """Source, configuration and build; the command line's options of the same names say more.

    ``added`` are ``-K`` options, ``variables`` make's ``VAR=VALUE``, both in the user's words and order.
    """

    config: str
    jobs: int
    suite: str = DEFAULT_SUITE
    directory: str = ""
    sha256: str = ""
    added: tuple[str, ...] = ()
    pahole: OptionalPath = None
    variables: tuple[str, ...] = ()
    btf_cache: bool = False

    def facts(self) -> dict[str, Any]:
        """Return them as run.json keeps them."""
        return _facts(self)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> BuildOptions:
        """Return the options that run.json keeps, as RunRecord has validated them."""
        return TypeAdapter(cls).validate_python(facts)


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class PrebuiltOptions:
    """Images, packages or folders, and where the modules lie if not there."""

    kernel: tuple[str, ...]
    modules: OptionalPath = None
    suite: str = DEFAULT_SUITE

    def facts(self) -> dict[str, Any]:
        """Return them as run.json keeps them."""
        return _facts(self)


def _facts(options: BuildOptions | PrebuiltOptions) -> dict[str, Any]:
    """Return options as JSON holds them: lists for tuples, "" for a path that was not given."""
    values: dict[str, Any] = TypeAdapter(type(options)).dump_python(options, mode="json")
    return values
