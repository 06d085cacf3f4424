# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""configs/*.toml -> a validated Profile: what to build, which modules must exist, how big a guest."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.infra.paths import shipped
from kbtf_ci.model.kernel import X86_64
from kbtf_ci.model.options import BuildOptions

# On top of every profile; "guest-ARCHITECTURE.config" lies on these.
_ON_TOP = ("btf.config", "guest.config")
# What ships for --fragment; other fragments are a profile's or an architecture's own.
_FOR_USERS = ("cfi", "gendwarfksyms", "rust", "thinlto", "trace")

_UNITS_MIB = {"M": 1, "G": 1024, "T": 1024 * 1024}
_TARGET = re.compile(r"\w[\w.-]*config")


def parse_size_mib(text: str) -> int:
    """Return ``768M`` or ``3G`` in MiB; a bare number is MiB, as for QEMU's ``-m``.

    Raises ValueError for anything else.
    """
    match = re.fullmatch(r"(\d+)([MGT]?)", text.strip(), re.IGNORECASE)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is no size; write it like 768M or 3G")
    return int(match[1]) * _UNITS_MIB[match[2].upper() or "M"]


def _size(value: object) -> int:
    return parse_size_mib(str(value))


Mib = Annotated[int, BeforeValidator(_size)]


class _Guest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    memory: Mib = Field(default=1024, description="Memory of the guest.")
    cpus: int = Field(default=2, ge=1, le=256, description="CPUs of the guest.")


class _Arch(BaseModel):
    model_config = ConfigDict(extra="forbid")
    target: str = Field(default="", description="Its defconfig target, or targets, in place of the others'.")
    fragments: list[str] = Field(default=[], description="Its own files, on top of those of all.")
    require: list[str] = Field(default=[], description="Modules that must exist there besides.")


class _File(BaseModel):
    """The keys of a profile file."""

    model_config = ConfigDict(extra="forbid")
    description: str = Field(default="", description="What it is, in a line.")
    target: str = Field(description="A defconfig target of kbuild.")
    fragments: list[str] = Field(
        default=[], description="Kernel configuration files on top, in order; beside the profile, or shipped."
    )
    require: list[str] = Field(default=[], description="Modules that must exist once it is built.")
    disk: Mib = Field(default=0, description="What its build directory needs when it starts empty.")
    steps: int | None = Field(
        default=None, ge=1, description="About how many steps make takes then, for the first progress bar."
    )
    guest: _Guest = _Guest()
    arch: dict[str, _Arch] = {}


@dataclass(frozen=True)
class ProfileKey:
    """A key of a profile file, for people; ``default`` is as TOML has it, "" for none."""

    name: str
    type: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Profile:
    """What one run builds and boots.

    Either ``target`` names a defconfig target of kbuild, or several with a blank between them, or
    ``config_file`` a ``.config``. On top lie, in order, the fragments of the profile's ``own``, then those of
    kbtf-ci (``on_top``). ``require`` are names of modules that must be built. ``own_file`` is the user's
    TOML file that says all this, None for a profile that ships with kbtf-ci; ``added`` are fragments of
    ``own`` that came on top of what a profile says (--fragment). Sizes are MiB; ``disk_mib`` is
    what the build directory needs when it starts empty, ``steps`` about how many steps make takes then, None
    where nobody has counted them.
    """

    name: str
    own: tuple[Path, ...] = ()
    on_top: tuple[Path, ...] = ()
    target: str = ""
    config_file: Path | None = None
    require: tuple[str, ...] = ()
    disk_mib: int = 0
    steps: int | None = None
    memory_mib: int = 2048
    cpus: int = 2
    own_file: Path | None = None
    architecture: str = X86_64
    added: tuple[Path, ...] = ()

    @property
    def fragments(self) -> tuple[Path, ...]:
        """All kernel configuration files on top of the target's, in order."""
        return (*self.own, *self.on_top)

    @property
    def key(self) -> str:
        """What tells this profile's build directory from others: two files may have one name."""
        file = self.config_file or self.own_file
        name = self.name if self.architecture == X86_64 else f"{self.name}-{self.architecture}"
        name += "".join(map(_key_of_added, self.added))
        return name if file is None else f"{name}-{_digest(file)}"


def _key_of_added(fragment: Path) -> str:
    return f"+{fragment.stem if fragment.parent == shipped('configs') else _digest(fragment)}"


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def known_profiles() -> list[str]:
    """Return the names of the profiles that ship with kbtf-ci."""
    return sorted(path.stem for path in shipped("configs").glob("*.toml"))


def find_profile(text: str, architecture: str = X86_64) -> Profile:
    """Return the profile that ``--config TEXT`` means, for an architecture by its name.

    In this order: a shipped profile's name, a ``.toml`` file, any other file (a ``.config``), a
    defconfig target of kbuild. Raises UsageError when it is none of them, or the file is not valid.
    """
    if text in known_profiles():
        return _read(shipped("configs") / f"{text}.toml", architecture)
    path = Path(text)
    if path.suffix == ".toml":
        return _read(path, architecture)
    on_top = _on_top(architecture)
    if path.is_file():
        name = path.stem.lstrip(".") or "config"
        return Profile(name, config_file=path.resolve(), on_top=on_top, architecture=architecture)
    if "/" not in text and _TARGET.fullmatch(text):
        return Profile(text, target=text, on_top=on_top, architecture=architecture)
    raise UsageError(
        f"--config {text}: no such profile or file",
        hint=f"profiles: {', '.join(known_profiles())}; or a defconfig target, or a path to a .config",
    )


def profile_of(options: BuildOptions) -> Profile:
    """Return the profile that a build's options mean, with their fragments. Raises UsageError as above."""
    profile = find_profile(options.config, options.arch)
    if not options.fragments:
        return profile
    added = tuple(map(_named_fragment, options.fragments))
    return replace(profile, own=(*profile.own, *added), added=added, steps=None)


def known_fragments() -> list[str]:
    """Return the names of the fragments that ship for --fragment."""
    return list(_FOR_USERS)


def lasting_fragment(name: str) -> str:
    """Return what ``--fragment NAME`` is to be kept as: a path as it is from any folder."""
    return name if name in _FOR_USERS else str(Path(name).resolve())


def _named_fragment(name: str) -> Path:
    """Return the file that ``--fragment NAME`` means: a shipped one by its name, or a path."""
    if name in _FOR_USERS:
        return shipped("configs") / f"{name}.config"
    if Path(name).is_file():
        return Path(name).resolve()
    raise UsageError(
        f"--fragment {name}: no such fragment or file",
        hint=f"those that ship: {', '.join(known_fragments())}; or the path of one",
    )


def _on_top(architecture: str) -> tuple[Path, ...]:
    return tuple(shipped("configs") / name for name in (*_ON_TOP, f"guest-{architecture}.config"))


def _read(path: Path, architecture: str) -> Profile:
    try:
        values = _File.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {_first_fault(error)}", hint=f"keys: {_keys()}") from error
    own = values.arch.get(architecture, _Arch())
    return Profile(
        name=path.stem,
        target=own.target or values.target,
        own=tuple(_fragment(path, name) for name in (*values.fragments, *own.fragments)),
        on_top=_on_top(architecture),
        require=(*values.require, *own.require),
        disk_mib=values.disk,
        steps=values.steps if architecture == X86_64 else None,
        memory_mib=values.guest.memory,
        cpus=values.guest.cpus,
        own_file=None if path.parent == shipped("configs") else path.resolve(),
        architecture=architecture,
    )


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown key '{key}'"
    if fault["type"] == "missing":
        return f"key '{key}' is missing"
    return f"key '{key}': {fault['msg'].removeprefix('Value error, ')}"


def profile_keys() -> tuple[ProfileKey, ...]:
    """Return every key that a profile file may have."""
    own = {key: field for key, field in _File.model_fields.items() if key not in ("guest", "arch")}
    guest = {f"guest.{key}": field for key, field in _Guest.model_fields.items()}
    arch = {f"arch.NAME.{key}": field for key, field in _Arch.model_fields.items()}
    return tuple(_key(name, field) for name, field in (own | guest | arch).items())


def _key(name: str, field: FieldInfo) -> ProfileKey:
    if any(isinstance(one, BeforeValidator) for one in field.metadata):
        return ProfileKey(
            name, "size (768M, 3G)", f'"{field.default}M"' if field.default else "", field.description or ""
        )
    words: dict[object, str] = {str: "text", list[str]: "list of texts"}
    kind = words.get(field.annotation, "number")
    default = "" if field.is_required() or not field.default else str(field.default)
    return ProfileKey(name, kind, default, field.description or "")


def _keys() -> str:
    return ", ".join(key.name for key in profile_keys())


def _fragment(profile: Path, name: str) -> Path:
    """Fragments lie beside their profile, or among the shipped ones."""
    for folder in (profile.parent, shipped("configs")):
        if (folder / name).is_file():
            return (folder / name).resolve()
    raise UsageError(f"{profile}: fragment '{name}' is not there", hint=f"put it beside {profile}")
