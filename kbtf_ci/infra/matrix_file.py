# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A matrix as a TOML file: read, validated, and its paths made those of the file's own folder."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.infra.paths import shipped
from kbtf_ci.infra.profiles import known_fragments, known_profiles
from kbtf_ci.infra.tarball import is_tarball
from kbtf_ci.model.invalid import first_fault
from kbtf_ci.model.matrix import (
    FLAGS,
    OPTIONS,
    REPEATED,
    VARIABLES,
    Budgeted,
    CellOutcome,
    Choice,
    Expectation,
    OptionValue,
    Plan,
    Rule,
    Rules,
    multiply,
)
from kbtf_ci.model.matrix_budget import CellBudget

_PATHS: Final = frozenset(
    ("config", "directory", "pahole", "pahole-tree", "libbpf-tree", "fragment", "kernel", "modules")
)
_EXPECTED: Final = (
    CellOutcome.NOT_VERIFIED,
    CellOutcome.BUILD_FAILED,
    CellOutcome.GUEST_DIED,
    CellOutcome.REFUSED,
)
# Of these "dwarves" is a path as well; of the others it may be a name of something that ships, or a suite.
_NEVER_NAMES: Final = frozenset(("directory", "pahole-tree", "libbpf-tree", "modules"))
# Of these a name is a file's beside the matrix, where there is one and it does not ship.
_FILES: Final = frozenset(("config", "fragment", "kernel"))
_VARIABLE: Final = re.compile(r"[A-Za-z_]\w*=")
_NAME: Final = "name"
_Selector = dict[str, str | list[str]]


class _Expect(BaseModel):
    model_config = ConfigDict(extra="allow")
    outcome: CellOutcome
    reason: str = Field(min_length=1)
    link: str = ""

    @field_validator("outcome")
    @classmethod
    def _of_the_cell(cls, value: CellOutcome) -> CellOutcome:
        if value not in _EXPECTED:
            raise ValueError(f"one of {', '.join(_EXPECTED)}")
        return value


class _Budget(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)  # true is no number
    btf_bytes: int | None = Field(default=None, ge=0, alias="btf-bytes")
    growth: float | None = Field(default=None, allow_inf_nan=False)
    lost_modules: int | None = Field(default=None, ge=0, alias="lost-modules")
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class _File(BaseModel):
    """The keys of a matrix file."""

    model_config = ConfigDict(extra="forbid")
    description: str = ""
    options: dict[str, Any] = {}
    axes: dict[str, list[Any]] = Field(min_length=1)
    include: list[dict[str, str]] = []
    exclude: list[_Selector] = []
    expect: list[_Expect] = []
    budget: list[_Budget] = []


def known_matrices() -> list[str]:
    """Return the names of the matrices that ship with kbtf-ci."""
    return sorted(path.stem for path in (shipped("configs") / "matrix").glob("*.toml"))


def read_matrix(text: str) -> Plan:
    """Return the plan of a shipped matrix by its name, or of a file.

    Raises UsageError naming the file and the key where it cannot be read or is not valid.
    """
    path = shipped("configs") / "matrix" / f"{text}.toml" if text in known_matrices() else Path(text)
    try:
        values = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise file_error(
            error, path, f"cannot be read; matrices that ship: {', '.join(known_matrices())}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {first_fault(error)}") from error
    return _Reader(path).plan(values)


def _shipped_names() -> set[str]:
    return {*known_profiles(), *known_fragments()}


class _Reader:
    """One file's values, each fault of which is told with its place."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def plan(self, values: _File) -> Plan:
        axes = {
            axis: [self._choice(axis, number, one) for number, one in enumerate(choices, 1)]
            for axis, choices in values.axes.items()
        }
        for axis, choices in axes.items():
            if not choices:
                raise self._fault(f"axes.{axis}", "has no value")
        for number, one in enumerate(values.include, 1):
            self._check_included(axes, f"include {number}", one)
        return multiply(
            self._path.stem,
            values.description,
            self._options("options", values.options),
            axes,
            Rules(
                [self._rule(axes, f"exclude {number}", one) for number, one in enumerate(values.exclude, 1)],
                values.include,
                [self._expectation(axes, number, one) for number, one in enumerate(values.expect, 1)],
                [self._budgeted(axes, number, one) for number, one in enumerate(values.budget, 1)],
            ),
        )

    def _fault(self, place: str, words: str, hint: str = "") -> UsageError:
        return UsageError(f"{self._path}: {place}: {words}", hint=hint)

    def _choice(self, axis: str, number: int, value: Any) -> Choice:
        place = f"axes.{axis}, value {number}"
        if not isinstance(value, Mapping):
            name = str(value)
            if not name:
                raise self._fault(place, "an empty value has no name", 'as { name = "own", pahole = "" }')
            return Choice(name, self._options(place, {axis: value}))
        options = dict(value)
        name = options.pop(_NAME, None)
        if not isinstance(name, str) or not name:
            raise self._fault(
                place, "a table of options wants a name", 'as { name = "7.2", suite = "forky" }'
            )
        return Choice(name, self._options(place, options))

    def _options(self, place: str, values: Mapping[str, Any]) -> dict[str, OptionValue]:
        found = {key: self._option(place, key, value) for key, value in values.items()}
        pahole = Path(str(found.get("pahole", "")))
        # What has no slash is a suite, whatever lies in the folder where one happens to be.
        if pahole.is_absolute() and (pahole.is_dir() or is_tarball(pahole)):
            found["pahole-tree"] = found.pop("pahole")
        return found

    def _option(self, place: str, key: str, value: Any) -> OptionValue:
        if key not in OPTIONS:
            raise self._fault(place, f"no option '{key}' of kbtf-ci run", f"options: {', '.join(OPTIONS)}")
        many = isinstance(value, list)
        texts = value if many else [value]
        if many and key not in REPEATED:
            raise self._fault(place, f"{key} has one value, not several")
        if key in FLAGS:
            if not isinstance(value, bool) and value != "":
                raise self._fault(place, f"{key}: true or false is wanted")
            return "" if value == "" else bool(value)
        if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in texts):
            raise self._fault(place, f"{key}: a text or a number is wanted")
        found = tuple(self._text(place, key, str(one)) for one in texts)
        return tuple(one for one in found if one) if key in REPEATED else found[0]

    def _text(self, place: str, key: str, text: str) -> str:
        if "\0" in text:
            raise self._fault(place, f"{key}: has a zero byte")
        if key == VARIABLES and text and not _VARIABLE.match(text):
            raise self._fault(place, f"{key}: {text}: not of the form NAME=VALUE")
        try:
            return self._located(key, text)
        except RuntimeError as error:  # ~nobody
            raise self._fault(place, f"{key}: {text}: {error}") from error

    def _located(self, key: str, text: str) -> str:
        """Return a path as it is from any folder; what is a name stays one."""
        if key not in _PATHS or "://" in text or not text:
            return text
        beside = self._path.parent / text
        is_path = (
            key in _NEVER_NAMES
            or "/" in text
            or text.startswith("~")
            or (key in _FILES and text not in _shipped_names() and beside.exists())
        )
        return str((self._path.parent / Path(text).expanduser()).resolve()) if is_path else text

    def _rule(self, axes: Mapping[str, Sequence[Choice]], place: str, selector: Mapping[str, Any]) -> Rule:
        if not selector:
            raise self._fault(place, "names no axis, so it would hold for all cells")
        return self._selected(axes, place, selector)

    def _selected(
        self, axes: Mapping[str, Sequence[Choice]], place: str, selector: Mapping[str, Any]
    ) -> Rule:
        names = {axis: tuple(one) if isinstance(one, list) else (one,) for axis, one in selector.items()}
        for axis, chosen in names.items():
            self._check_names(axes, place, axis, chosen)
            if not chosen:
                raise self._fault(place, f"axis {axis}: names no value, so it would hold for none")
        return Rule(names)

    def _budgeted(self, axes: Mapping[str, Sequence[Choice]], number: int, one: _Budget) -> Budgeted:
        place = f"budget {number}"
        budget = CellBudget(one.btf_bytes, one.growth, one.lost_modules, one.seconds)
        if CellBudget.least([budget]) is None:
            raise self._fault(place, "allows everything", "btf-bytes, growth, lost-modules or seconds")
        return Budgeted(self._selected(axes, place, one.model_extra or {}), budget)

    def _expectation(self, axes: Mapping[str, Sequence[Choice]], number: int, one: _Expect) -> Expectation:
        rule = self._rule(axes, f"expect {number}", one.model_extra or {})
        return Expectation(rule, one.outcome, one.reason, one.link)

    def _check_names(
        self, axes: Mapping[str, Sequence[Choice]], place: str, axis: str, names: Sequence[str]
    ) -> None:
        if axis not in axes:
            raise self._fault(place, f"no axis '{axis}'", f"axes: {', '.join(axes)}")
        known = [choice.name for choice in axes[axis]]
        for name in names:
            if name not in known:
                raise self._fault(place, f"axis {axis} has no '{name}'", f"it has {', '.join(known)}")

    def _check_included(
        self, axes: Mapping[str, Sequence[Choice]], place: str, chosen: Mapping[str, str]
    ) -> None:
        for axis, name in chosen.items():
            self._check_names(axes, place, axis, [name])
        if missing := [axis for axis in axes if axis not in chosen]:
            raise self._fault(place, f"names nothing of axis {missing[0]}")
