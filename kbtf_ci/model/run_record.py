# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""run.json: what ran, from what, and how far it came. A released schema only grows.

Every key but the schema may be missing: records of earlier versions have fewer. Keys that this version does
not know are kept.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.options import BuildOptions, PrebuiltOptions

RUN_SCHEMA = "kbtf-ci/run/1"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class GuestProfile(_Part):
    """The guest's size by its profile; ``memory_mib`` None: by what is loaded."""

    name: str
    memory_mib: int | None = None
    cpus: int = 1


class ToolchainRecord(_Part):
    """The toolchain image: its name, Debian suite, and the version of each package in it."""

    image: str
    suite: str
    packages: dict[str, str] = {}


class SourceRecord(_Part):
    """The kernel tree: ``make kernelversion``, and where it came from."""

    version: str
    origin: str = ""


class PaholeRecord(_Part):
    """The pahole that wrote the modules' BTF, and kbuild's flags for it."""

    program: str
    flags: list[str] = []


class PrebuiltRecord(_Part):
    """A kernel that others built: what the user named, and the names in its modules.builtin."""

    origin: str
    builtin: list[str] = []


class RunRecord(_Part):
    """All of run.json; None or empty is what the run did not come to, or an earlier version did not keep."""

    schema_: Literal["kbtf-ci/run/1"] = Field(alias="schema")
    started: str = ""
    stages: dict[str, float] = {}
    kbtf_ci: str = ""
    command: str = ""
    # Its name in kbtf-ci 0.1.
    options: BuildOptions | PrebuiltOptions | None = Field(None, alias="wishes")
    profile: GuestProfile = GuestProfile(name="")
    status: str = ""
    seconds: float | None = None
    toolchain: ToolchainRecord | None = None
    source: SourceRecord | None = None
    kernel: KernelFacts | None = None
    make: dict[str, int] = {}
    pahole: PaholeRecord | None = None
    prebuilt: PrebuiltRecord | None = None
    skipped_btf: dict[str, str] = {}

    @classmethod
    def parse(cls, data: bytes) -> RunRecord:
        """Return the record in the bytes of a run.json. Raises ValueError that says what is wrong with it."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise ValueError(_first_fault(error)) from error

    def document(self) -> dict[str, Any]:
        """Return it as run.json holds it, without the keys of what the run did not come to."""
        values = self.model_dump(mode="json", by_alias=True)
        return {key: value for key, value in values.items() if value is not None}


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # "wishes" is one of two models; their names in the path would only puzzle.
    key = ".".join(str(part) for part in fault["loc"] if part not in ("BuildOptions", "PrebuiltOptions"))
    return f"key '{key}': {fault['msg']}" if key else fault["msg"]
