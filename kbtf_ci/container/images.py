# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The images that kbtf-ci made: which the engine holds, what stands on what, and how one goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from docker import APIClient
from docker.errors import APIError

from kbtf_ci.container import base, compiler_image, guest_image, image, pahole_image, suite_pahole_image
from kbtf_ci.container.api import Address, engine_errors, explain
from kbtf_ci.infra.locks import if_free, use_mark_of
from kbtf_ci.model.compiler import compiler_named
from kbtf_ci.model.machines.table import FOREIGN
from kbtf_ci.model.prune import Item, Kind

_TOOLCHAIN = "kbtf-ci/toolchain:"
_BASE = "kbtf-ci/base-"
_OWN = (
    _TOOLCHAIN,
    _BASE,
    pahole_image.PREFIX,
    suite_pahole_image.PREFIX,
    guest_image.PREFIX,
    compiler_image.PREFIX,
)


@dataclass(frozen=True)
class _Held:
    """An image that the engine holds; ``name`` is its first one of ours, "" for none, ``size`` in bytes."""

    name: str
    id: str
    size: int
    made: datetime
    layers: tuple[str, ...]

    def stands_on(self, other: _Held) -> bool:
        return len(other.layers) < len(self.layers) and self.layers[: len(other.layers)] == other.layers


def stored(address: Address) -> tuple[Item, ...]:
    """Return the images of ours that the engine holds, with those that lost their name to a later one.

    What an image shares with the one it stands on counts there alone. Raises EngineError.
    """
    with engine_errors("list the images"), closing(address.open()) as client:
        held = [_held(client, listed) for listed in client.images()]
        used = {container["ImageID"] for container in client.containers(all=True)}
    ours = [one for one in held if one.name]
    ours += [one for one in held if not one.name and any(one.stands_on(base) for base in ours)]
    return tuple(_item(one, ours, in_use=one.id in used) for one in ours)


def remove(address: Address, name: str) -> str:
    """Remove an image by its name or id; return "", or why it is still there. Raises EngineError."""
    lock = base.lock_folder(name)
    mark = use_mark_of(lock)
    with (
        if_free(lock, mark) as free,
        engine_errors(f"remove the image {name}"),
        closing(address.open()) as client,
    ):
        if not free:
            return "in use"
        try:
            client.remove_image(name)
        except APIError as error:
            return explain(error)
        for file in (lock, mark):
            file.unlink(missing_ok=True)
    return ""


def _held(client: APIClient, listed: Mapping[str, Any]) -> _Held:
    names = [_short(name) for name in listed.get("RepoTags") or ()]
    own = [name for name in names if name.startswith(_OWN)]
    foreign = [name for name in names if name not in own and name != "<none>:<none>"]
    about: Mapping[str, Any] = {} if foreign and not own else client.inspect_image(listed["Id"])  # type: ignore[no-untyped-call]
    layers = about.get("RootFS", {}).get("Layers") or ()
    made = datetime.fromtimestamp(listed["Created"], UTC)
    name = own[0].removesuffix(":latest") if own else ""
    return _Held(name, listed["Id"], listed["Size"], made, tuple(layers))


def _short(name: str) -> str:
    # Podman puts every name below a host that it did not get the image from: the first of these, and where it
    # is asked in Docker's way, the second.
    return name.removeprefix("localhost/").removeprefix("docker.io/")


def _item(one: _Held, ours: Sequence[_Held], *, in_use: bool) -> Item:
    below = max((other for other in ours if one.stands_on(other)), key=lambda other: other.size, default=None)
    mark = use_mark_of(base.lock_folder(one.name or one.id))
    used = datetime.fromtimestamp(mark.stat().st_mtime, UTC) if mark.exists() else one.made
    with if_free(mark) as free:
        held = in_use or not free
    return Item(
        kind=_kind(one.name),
        name=one.name or one.id,
        size=one.size - (below.size if below else 0),
        last_used=max(used, one.made),
        purpose=_purpose(one.name),
        in_use=held,
        current=_is_current(one.name),
        needed_by=frozenset(other.name or other.id for other in ours if other.stands_on(one)),
    )


def _kind(name: str) -> Kind:
    if not name:
        return Kind.LEFT_OVER
    return Kind.BASE if name.startswith(_BASE) else Kind.TOOLCHAIN


def _purpose(name: str) -> str:
    if not name:
        return "an image without a name on a base of ours"
    prefix = next(prefix for prefix in _OWN if name.startswith(prefix))
    of, _, suite = name.removeprefix(prefix).rpartition("-")[0].rpartition(":")
    what = {
        _TOOLCHAIN: f"toolchain of {suite}",
        _BASE: f"Debian {suite} below the toolchain",
        pahole_image.PREFIX: f"what builds pahole, on the toolchain of {suite}",
        suite_pahole_image.PREFIX: f"pahole of {of}, on the toolchain of {suite}",
        compiler_image.PREFIX: f"{of}, on the toolchain of {suite}",
        guest_image.PREFIX: f"guests of {of}, on the toolchain of {suite}",
    }[prefix]
    return what if _is_current(name) else f"{what}, by an earlier recipe"


def _is_current(name: str) -> bool:
    if not name.startswith(compiler_image.PREFIX):
        return name in _current()
    of, _, suite = name.removeprefix(compiler_image.PREFIX).rpartition("-")[0].rpartition(":")
    if suite not in base.SUITES:
        return False
    compiler, toolchain = compiler_named(of.replace(".", "+")), image.image_name(suite)
    places = {"": toolchain, **{m.triplet: guest_image.image_name(m, suite, toolchain) for m in FOREIGN}}
    return name in {
        compiler_image.name_on(compiler, triplet, suite, below) for triplet, below in places.items()
    }


def _current() -> Iterable[str]:
    for suite in base.SUITES:
        toolchain = image.image_name(suite)
        yield from (toolchain, base.own_name(suite), pahole_image.image_name(suite, toolchain))
        yield from (suite_pahole_image.image_name(of, suite, toolchain) for of in base.SUITES)
        yield from (guest_image.image_name(machine, suite, toolchain) for machine in FOREIGN)
