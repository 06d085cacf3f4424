# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The sizes tables: as text in the layout of the commit that brought split BTF, and sizes.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kbtf_ci.model.sizes import (
    COMMIT,
    COMMIT_FULL_BYTES,
    COMMIT_SPLIT_BYTES,
    ModuleSizes,
    Sizes,
    beside_commit,
    ratio,
)

SIZES_SCHEMA = "kbtf-ci/sizes/1"


@dataclass(frozen=True)
class Encoding:
    """How the full BTF was made: the kernel's release, pahole's version (``"130"``), program and flags."""

    release: str
    pahole: str
    program: str
    flags: tuple[str, ...]


def tables(sizes: Sizes, top: int) -> Iterator[str]:
    """Yield the lines of both tables with ``top`` modules each, the ratio, and the commit's own figures."""
    full = ((module.path, module.full_bytes or 0) for module in sizes.top_full(top))
    split = ((module.path, module.split_bytes) for module in sizes.top_split(top))
    yield from _table("FULL BTF", sizes.full_bytes, full)
    yield ""
    yield from _table("SPLIT BTF", sizes.split_bytes, split)
    yield ""
    yield (
        f"{len(sizes.counted)} modules: {sizes.full_bytes:,} bytes of full BTF, "
        f"{sizes.split_bytes:,} bytes of split BTF, ratio {_ratio(sizes.ratio)}"
    )
    yield from _remarks(sizes)
    yield ""
    yield from _commit_table(sizes)


def document(encoding: Encoding, sizes: Sizes, stamps: Mapping[str, str], ended: str = "") -> dict[str, Any]:
    """Return sizes.json as a value; sizes in bytes.

    ``stamps`` maps files to what tells whether a module is still the one that was encoded; ``ended`` says why
    the encoding ended before its last module.
    """
    return {
        "schema": SIZES_SCHEMA,
        "kernel": {"release": encoding.release},
        "pahole": {"version": encoding.pahole, "program": encoding.program, "flags": list(encoding.flags)},
        "ended": ended or None,
        "totals": {
            "modules": len(sizes.modules),
            "counted": len(sizes.counted),
            "full_bytes": sizes.full_bytes,
            "split_bytes": sizes.split_bytes,
            "ratio": sizes.ratio,
        },
        "commit": _commit_document(sizes),
        "modules": [_entry(module, stamps.get(module.file)) for module in sizes.modules],
    }


def load_previous(
    values: Any, program: str, flags: Sequence[str], stamps: Mapping[str, str]
) -> tuple[str, dict[str, int]]:
    """Return pahole's version and, by file, the bytes of full BTF that an earlier sizes.json holds.

    Only modules with the same stamp are in it. What is no sizes.json, or one of another program or other
    flags, holds nothing: ``("", {})``.
    """
    try:
        how = values["pahole"]
        if (values["schema"], how["program"], how["flags"]) != (SIZES_SCHEMA, program, list(flags)):
            return "", {}
        return str(how["version"]), {
            entry["file"]: entry["full_bytes"]
            for entry in values["modules"]
            if isinstance(entry["full_bytes"], int) and entry["stamp"] == stamps.get(entry["file"])
        }
    except (LookupError, TypeError):
        return "", {}


def read(values: Any) -> Sizes | None:
    """Return the sizes in a sizes.json, None for what is none."""
    try:
        if values["schema"] != SIZES_SCHEMA:
            return None
        return Sizes(tuple(_module(entry) for entry in values["modules"]))
    except (LookupError, TypeError, ValueError):
        return None


def _module(entry: Any) -> ModuleSizes:
    full = entry["full_bytes"]
    return ModuleSizes(
        name=str(entry["name"]),
        file=str(entry["file"]),
        split_bytes=int(entry["split_bytes"]),
        full_bytes=None if full is None else int(full),
        base_bytes=int(entry["base_bytes"]),
        fault=str(entry["fault"] or ""),
    )


def _table(title: str, total: int, lines: Iterable[tuple[str, int]]) -> Iterator[str]:
    yield from (title, "=" * len(title), "", str(total), "")
    yield from (f"{path} {size}" for path, size in lines)


def _remarks(sizes: Sizes) -> Iterator[str]:
    distilled = [module for module in sizes.counted if module.base_bytes]
    if distilled:
        size = sum(module.base_bytes for module in distilled)
        yield f"with a .BTF.base: {len(distilled)} modules; its {size:,} bytes count as split BTF"
    if sizes.uncounted:
        yield f"not counted on either side: {len(sizes.uncounted)} modules"
        yield from (f"    {module.path}: {module.fault}" for module in sizes.uncounted)


def _commit_table(sizes: Sizes) -> Iterator[str]:
    rows = [
        (f"all modules: about 700, here {len(sizes.counted)}",
         COMMIT_FULL_BYTES, sizes.full_bytes, COMMIT_SPLIT_BYTES, sizes.split_bytes),
        *((module.path, figure.full_bytes, module.full_bytes, figure.split_bytes, module.split_bytes)
          for figure, module in beside_commit(sizes)),
    ]  # fmt: skip
    title = f"BESIDE COMMIT {COMMIT}"
    yield from (title, "=" * len(title), "")
    width = max(len(row[0]) for row in rows)
    heads = ("full: commit", "here", "split: commit", "here", "ratio: commit", "here")
    yield f"{'':<{width}}" + _cells(heads)
    for name, full, full_here, split, split_here in rows:
        sizes_here = (_size(full), _size(full_here), _size(split), _size(split_here))
        ratios = (_ratio(ratio(full, split)), _ratio(ratio(full_here, split_here)))
        yield f"{name:<{width}}" + _cells((*sizes_here, *ratios))


def _cells(texts: Iterable[str]) -> str:
    widths = (13, 10, 14, 9, 14, 6)
    return "".join(f" {text:>{width}}" for text, width in zip(texts, widths, strict=True))


def _size(value: int | None) -> str:
    return "-" if value is None else str(value)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _commit_document(sizes: Sizes) -> dict[str, Any]:
    return {
        "id": COMMIT,
        "full_bytes": COMMIT_FULL_BYTES,
        "split_bytes": COMMIT_SPLIT_BYTES,
        "modules": [
            {
                "path": figure.path,
                "file": module.file,
                "full_bytes": figure.full_bytes,
                "split_bytes": figure.split_bytes,
            }
            for figure, module in beside_commit(sizes)
        ],
    }


def _entry(module: ModuleSizes, stamp: str | None) -> dict[str, Any]:
    return {
        "name": module.name,
        "file": module.file,
        "full_bytes": module.full_bytes,
        "split_bytes": module.split_bytes,
        "base_bytes": module.base_bytes,
        "fault": module.fault or None,
        "stamp": stamp,
    }
