# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci prune``: what the cache and the engine hold for kbtf-ci, and removing what is no longer used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kbtf_ci.container import images
from kbtf_ci.container.engine import Engine
from kbtf_ci.errors import EngineError
from kbtf_ci.infra import cachedirs
from kbtf_ci.infra.engines import EngineKind, chosen
from kbtf_ci.infra.locks import exclusive
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.record import Reporter
from kbtf_ci.kernel.source import version_of
from kbtf_ci.model.prune import Decision, Item, Kind, decide
from kbtf_ci.report import prune as report

DEFAULT_KEEP = timedelta(days=30)
# Largest last: a name in the engine goes before the layers below it do.
_ORDER = (
    Kind.LEFT_OVER, Kind.DOWNLOAD, Kind.BUILD, Kind.BISECT, Kind.PAHOLE, Kind.PROGRAMS, Kind.CELLS,
    Kind.SOURCE, Kind.PACKAGES, Kind.TOOLCHAIN, Kind.BASE,
)  # fmt: skip

_WORDS = {
    Kind.DOWNLOAD: "tarball from a URL",
    Kind.PAHOLE: "pahole built of a source",
    Kind.PROGRAMS: "kbtf-ci's own programs, made for --engine host",
    Kind.CELLS: "what a worker ran of a matrix",
    Kind.BISECT: "clone of a tree that was bisected",
}


@dataclass(frozen=True)
class PruneOptions:
    """What the user asked for: how long after its last use a piece stays, or that everything is to go."""

    keep: timedelta = DEFAULT_KEEP
    everything: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Pruned:
    """What was there, and what became of it; with ``dry_run`` what would have."""

    folder: Path
    decisions: tuple[Decision, ...]
    caches: Mapping[str, int]
    options: PruneOptions

    def text(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return report.text(self.decisions, self.caches, dry_run=self.options.dry_run)

    def document(self) -> Mapping[str, object]:
        """Return the JSON document."""
        keep_s = 0.0 if self.options.everything else self.options.keep.total_seconds()
        return report.document(
            self.folder, self.decisions, self.caches, keep_s=keep_s, dry_run=self.options.dry_run
        )


@dataclass(frozen=True)
class _Piece:
    item: Item
    remove: Callable[[], str]


def prune(
    options: PruneOptions, reporter: Reporter, connect: Callable[[], Engine] = Engine.connect
) -> Pruned:
    """Remove what is no longer used, or with ``dry_run`` only tell of it.

    Images stay when no engine answers, or another one is chosen. Raises UsageError for a cache that is no
    folder.
    """
    root = cache_root()

    def waits() -> None:
        reporter.note("another kbtf-ci prune is at work; waiting for it")

    with nullcontext() if options.dry_run else exclusive(root / "locks" / "prune.lock", waits):
        reporter.stage("survey")
        images_too = _images(reporter, connect) if chosen() is EngineKind.CONTAINER else ()
        pieces = [*_folders(root, reporter), *images_too]
        decisions = decide(
            [piece.item for piece in pieces], options.keep, datetime.now(UTC), everything=options.everything
        )
        if not options.dry_run:
            reporter.stage("remove")
            decisions = tuple(_carry_out(decisions, pieces, reporter))
    sizes = {name: cachedirs.disk_bytes(root / name) for name in report.BOUNDED}
    return Pruned(root, decisions, sizes, options)


def _folders(root: Path, reporter: Reporter) -> Iterator[_Piece]:
    entries = list(cachedirs.entries(root))
    builds = [entry.path.name for entry in entries if entry.kind is Kind.BUILD]
    for number, entry in enumerate(entries):
        reporter.progress(entry.path.name, number, len(entries))
        # A build directory's name begins with its source's (workspace.build_folder).
        made_of_it = (name for name in builds if name.startswith(f"{entry.path.name}-"))
        item = Item(
            kind=entry.kind,
            name=entry.path.name,
            size=cachedirs.disk_bytes(entry.path),
            last_used=entry.last_used,
            purpose=_purpose(entry),
            in_use=entry.in_use,
            discarded=entry.discarded,
            needed_by=frozenset(made_of_it if entry.kind is Kind.SOURCE else ()),
        )
        yield _Piece(item, entry.remove)


def _purpose(entry: cachedirs.Entry) -> str:
    match entry.kind:
        case Kind.SOURCE:
            return f"source of Linux {version_of(entry.path) or 'unknown'}"
        case Kind.BUILD:
            release = entry.path / "include/config/kernel.release"
            return f"build of {release.read_text().strip()}" if release.is_file() else "unfinished build"
        case Kind.PACKAGES:
            releases = {
                path.name for place in ("lib", "usr/lib") for path in entry.path.glob(f"{place}/modules/*")
            }
            return f"packages of {', '.join(sorted(releases)) or 'unknown'}"
        case _:
            return _WORDS.get(entry.kind, "half done")


def _images(reporter: Reporter, connect: Callable[[], Engine]) -> Iterator[_Piece]:
    try:
        address = connect().address
        found = images.stored(address)
    except EngineError as error:
        reporter.warn(f"images are left out: {error.message}")
        return
    for item in found:
        yield _Piece(item, lambda name=item.name: images.remove(address, name))  # type: ignore[misc]


def _carry_out(
    decisions: Sequence[Decision], pieces: Sequence[_Piece], reporter: Reporter
) -> Iterator[Decision]:
    removers = {id(piece.item): piece.remove for piece in pieces}
    going, gone = sum(decision.remove for decision in decisions), 0
    for decision in sorted(decisions, key=lambda one: _ORDER.index(one.item.kind)):
        if not decision.remove:
            yield decision
            continue
        reporter.progress(decision.item.name, gone, going)
        gone += 1
        left = removers[id(decision.item)]()
        if left:
            reporter.warn(f"{decision.item.name} was not removed: {left}")
        yield replace(decision, remove=not left, reason=left or decision.reason)
