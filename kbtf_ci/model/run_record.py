# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""run.json: what ran, from what, and how far it came. A released schema only grows.

Every key but the schema may be missing: records of earlier versions have fewer. Keys that this version does
not know are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kbtf_ci.model.invalid import first_fault
from kbtf_ci.model.kernel import X86_64, KernelFacts
from kbtf_ci.model.options import DEFAULT_SUITE, BuildOptions, PrebuiltOptions

HOST = "host"
RUN_SCHEMA: Literal["kbtf-ci/run/1"] = "kbtf-ci/run/1"
# "wishes" is one of two models; their names in a key's path would only puzzle.
_EITHER = ("BuildOptions", "PrebuiltOptions")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class GuestProfile(_Part):
    """The guest's size by its profile; ``memory_mib`` None: by what is loaded."""

    name: str
    memory_mib: int | None = None
    cpus: int = 1


class ToolchainRecord(_Part):
    """The toolchain image: its name, Debian suite, and the version of each package in it.

    HOST is the name and the suite of the machine itself, whose programs' versions are in ``packages``.
    """

    image: str
    suite: str
    packages: dict[str, str] = {}

    @property
    def note(self) -> str:
        """What a report says of it besides, "" for nothing."""
        return "" if self.isolated else "not isolated: built and booted with this machine's own programs"

    @property
    def isolated(self) -> bool:
        """Whether its commands ran in containers."""
        return self.image != HOST


class SourceRecord(_Part):
    """The kernel tree: ``make kernelversion``, and where it came from."""

    version: str
    origin: str = ""


class PaholeRecord(_Part):
    """The pahole that wrote the modules' BTF, and kbuild's flags for it.

    ``libbpf`` is the version of the one that it was started with, with "built in" behind it where it brings
    its own and alone where nothing tells which, "" if nobody asked: what that does not know is left out of
    BTF without a word.
    """

    program: str
    flags: list[str] = []
    libbpf: str = ""


class BtfServerRecord(_Part):
    """What a BTF server did for a build, and what it saved; CPU seconds.

    ``served`` modules are its, ``fallbacks`` pahole's own in its place; ``cpu_s`` is what all of them took,
    ``start_cpu_s`` what its start did. ``sample`` modules were then written again, by pahole itself and by a
    server, in ``sample_pahole_cpu_s`` and ``sample_server_cpu_s`` without its start.
    """

    served: int
    fallbacks: int
    cpu_s: float
    start_cpu_s: float
    sample: int = 0
    sample_pahole_cpu_s: float = 0.0
    sample_server_cpu_s: float = 0.0

    @property
    def saved_cpu_s(self) -> float | None:
        """About how much less it was than pahole's own would have been; None without a sample."""
        if not self.sample:
            return None
        each = (self.sample_pahole_cpu_s - self.sample_server_cpu_s) / self.sample
        return self.served * each - self.start_cpu_s

    @property
    def headline(self) -> str:
        """All of it in one line."""
        told = f"{self.served} modules by a server, {self.fallbacks} by pahole itself in its place"
        told += f"; {self.cpu_s:.1f} CPU s"
        if self.saved_cpu_s is not None:
            told += f", about {self.saved_cpu_s:.1f} saved (by {self.sample} modules written both ways)"
        return told


class PrebuiltRecord(_Part):
    """A kernel that others built: what the user named, and the names in its modules.builtin."""

    origin: str
    builtin: list[str] = []


class BuildIdentity(_Part):
    """What tells a build from every other that may lie in its folder.

    ``config_sha256`` of its .config, ``modules_sha256`` of its modules.order, ``btf_sha256`` of vmlinux's
    ``.BTF``; "" where an earlier version did not keep it.
    """

    release: str
    config_sha256: str
    modules_sha256: str = ""
    btf_sha256: str = ""


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
    architecture: str = X86_64
    # What guests of another architecture are made and booted with, on top of ``toolchain``.
    guest_toolchain: ToolchainRecord | None = None
    compiler_toolchain: ToolchainRecord | None = None
    build: BuildIdentity | None = None
    make: dict[str, int] = {}
    # "compile" and "link": what make took up to vmlinux's first link, and behind that.
    build_seconds: dict[str, float] = {}
    pahole: PaholeRecord | None = None
    btf_server: BtfServerRecord | None = None
    prebuilt: PrebuiltRecord | None = None
    skipped_btf: dict[str, str] = {}

    @classmethod
    def begin(
        cls,
        *,
        started: str,
        kbtf_ci: str,
        command: str,
        options: BuildOptions | PrebuiltOptions,
        profile: GuestProfile,
    ) -> RunRecord:
        """Return the record of a run that has not done anything yet."""
        return cls(
            schema=RUN_SCHEMA,
            started=started,
            kbtf_ci=kbtf_ci,
            command=command,
            wishes=options,
            profile=profile,
        )

    def amended(self, changes: Mapping[str, Any]) -> RunRecord:
        """Return it with other values for some of its fields."""
        return self.model_copy(update=dict(changes))

    @property
    def suite(self) -> str:
        """The Debian suite of the toolchain image."""
        return self.options.suite if self.options else DEFAULT_SUITE

    @property
    def facts(self) -> KernelFacts:
        """The kernel. Raises ValueError where the run did not come to one."""
        if self.kernel is None:
            raise ValueError("its kernel was never built to the end")
        return self.kernel

    @property
    def build_options(self) -> BuildOptions:
        """How the kernel was built. Raises ValueError for a kernel that others built."""
        if not isinstance(self.options, BuildOptions):
            raise ValueError("this run was made of a kernel that others built: there is no build of it")
        return self.options

    @classmethod
    def parse(cls, data: bytes) -> RunRecord:
        """Return the record in the bytes of a run.json. Raises ValueError that says what is wrong with it."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise ValueError(first_fault(error, _EITHER)) from error

    def document(self) -> dict[str, Any]:
        """Return it as run.json holds it, without the keys of what the run did not come to."""
        values = self.model_dump(mode="json", by_alias=True)
        return {key: value for key, value in values.items() if value is not None}
