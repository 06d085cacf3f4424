# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Pruning of real folders, with locks that other processes hold."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner, Result

from kbtf_ci.commands.main import main
from kbtf_ci.container import images
from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.errors import EngineError
from kbtf_ci.infra import cachedirs
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow.prune import Pruned, PruneOptions, prune
from tests.support.packages import tarball
from tests.support.schemas import valid

DAY = 86400
_IMPORTS = "import sys; from pathlib import Path; from kbtf_ci.infra.locks import *; p = Path(sys.argv[1]); "
EARLIER = "trixie-aaaaaaaaaaaa"


class Cache:
    """A cache folder with pieces of a given age."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, name: str, age: float, *marks: str) -> Path:
        """Make a folder whose ``marks`` (.lock, .used) lie beside it, all ``age`` days old."""
        folder = self.root / name
        folder.mkdir(parents=True)
        (folder / "content").write_bytes(bytes(50_000))
        files = [folder.with_name(folder.name + mark) for mark in marks]
        for file in files:
            file.touch()
        for file in (folder, *files):
            os.utime(file, (time.time() - age * DAY,) * 2)
        return folder

    def source(self, name: str, age: float) -> Path:
        folder = self.add(f"source/{name}", age, ".lock", ".used")
        (folder / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 12\n")
        (folder / "Kconfig").touch()
        os.utime(folder, (time.time() - age * DAY,) * 2)
        return folder

    def build(self, name: str, age: float) -> Path:
        return self.add(f"build/{name}", age, ".lock")

    @property
    def times(self) -> dict[Path, float]:
        """When each piece and each of its files and locks was changed."""
        return {path: path.stat().st_mtime for path in self.root.glob("*/**/*")}

    @property
    def names(self) -> set[str]:
        """What is below its folders, but for locks."""
        return {
            path.name for folder in self.root.iterdir() if folder.is_dir() and folder.name != "locks"
            for path in folder.iterdir() if path.suffix not in (".lock", ".used")
        }  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    (tmp_path / "cache").mkdir()
    return Cache(tmp_path / "cache")


def pruned(keep_days: float = 30, **options: bool) -> Pruned:
    return prune(PruneOptions(timedelta(days=keep_days), **options), TerminalReporter(quiet=True))


def removed(found: Pruned) -> set[str]:
    return {one.item.name for one in found.decisions if one.remove}


def test_old_pieces_go_with_their_locks_and_the_rest_stays(cache: Cache) -> None:
    cache.source(EARLIER, 90)
    cache.source("trixie-bbbbbbbbbbbb", 2)
    cache.build(f"{EARLIER}-smoke-trixie", 60)
    cache.build("trixie-bbbbbbbbbbbb-config-6.12.107-trixie", 50)
    cache.build("trixie-bbbbbbbbbbbb-smoke-trixie", 1)
    cache.add("packages/0123456789abcdef", 99, ".used")
    cache.add("packages/fedcba9876543210", 3, ".used")
    cache.add("ccache/0", 99)
    found = pruned()
    dotted = "trixie-bbbbbbbbbbbb-config-6.12.107-trixie"
    gone = {EARLIER, f"{EARLIER}-smoke-trixie", dotted, "0123456789abcdef"}
    assert removed(found) == gone
    assert cache.names == {
        "trixie-bbbbbbbbbbbb", "trixie-bbbbbbbbbbbb-smoke-trixie", "fedcba9876543210", "0",
    }  # fmt: skip
    assert not [path for path in cache.root.rglob("*") if path.stem in gone]
    assert pruned().document()["freed_bytes"] == 0


def test_paholes_that_were_built_and_clones_that_were_bisected_go_too(cache: Cache) -> None:
    for age in (90, 2):
        cache.add(f"pahole/{age:016}", age, ".lock", ".used")
        cache.add(f"bisect/kernel-{age:012}", age, ".lock")
    found = pruned()
    assert removed(found) == {f"{90:016}", f"kernel-{90:012}"}
    assert cache.names == {f"{2:016}", f"kernel-{2:012}"}
    purposes = {one.item.purpose for one in found.decisions}
    assert purposes == {"pahole built of a source", "clone of a tree that was bisected"}


def test_what_a_worker_ran_of_a_matrix_goes_too(cache: Cache) -> None:
    for age in (90, 2):
        cache.add(f"cells/{age:016}-gcc", age, ".lock")
    cache.add("cells/dask-scratch-space", 90)
    found = pruned()
    assert removed(found) == {f"{90:016}-gcc"}
    assert {one.item.purpose for one in found.decisions} == {"what a worker ran of a matrix"}
    valid("prune", json.loads(json.dumps(found.document())))


def test_a_dry_run_changes_nothing_and_tells_the_same(cache: Cache) -> None:
    cache.source(EARLIER, 90)
    cache.source("trixie-bbbbbbbbbbbb", 2)
    cache.build(f"{EARLIER}-smoke-trixie", 60)
    cache.build("x-smoke-trixie", 1)
    before = cache.times
    dry = pruned(dry_run=True)
    assert cache.times == before
    wet = pruned()
    assert removed(dry) == removed(wet) == {EARLIER, f"{EARLIER}-smoke-trixie"}
    freed = wet.document()["freed_bytes"]
    assert dry.document()["freed_bytes"] == freed
    assert isinstance(freed, int)
    assert freed > 100_000


@contextmanager
def held(code: str, path: Path) -> Iterator[None]:
    """Let another process hold a lock for as long as this lasts."""
    script = f"{_IMPORTS}{code}"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate()


BUILDS = "e = exclusive(lock_of(p)); e.__enter__(); print('held', flush=True); sys.stdin.read()"
USES = "keep_in_use(p); print('held', flush=True); sys.stdin.read()"


def test_what_another_process_builds_or_reads_stays_even_with_all(cache: Cache) -> None:
    build, source = cache.build(f"{EARLIER}-smoke-trixie", 99), cache.source(EARLIER, 99)
    other, read = cache.build("other", 99), cache.source("read", 99)
    with held(BUILDS, build), held(USES, read):
        found = pruned(everything=True)
    assert removed(found) == {"other"}
    assert {path.exists() for path in (build, source, read)} == {True}
    assert not other.exists()
    reasons = {one.item.name: one.reason for one in found.decisions}
    assert reasons[EARLIER] == f"{EARLIER}-smoke-trixie needs it"
    assert removed(pruned(everything=True)) == {EARLIER, f"{EARLIER}-smoke-trixie", "read"}


def test_what_came_into_use_since_it_was_looked_at_stays(cache: Cache) -> None:
    build = cache.build("old", 99)
    packages = cache.add("packages/0123456789abcdef", 99)
    entries = list(cachedirs.entries(cache.root))
    assert [entry.path for entry in entries] == [build, packages]
    with held(BUILDS, build), held(USES, packages):
        assert [entry.remove() for entry in entries] == ["in use", "in use"]
        assert build.exists()
        assert packages.exists()
    assert [entry.remove() for entry in entries] == ["", ""]
    assert cache.names == set()


def test_an_interrupt_leaves_nothing_half_and_the_next_prune_finds_the_rest(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.build("old", 99)
    cache.build("new", 1)

    def interrupted(path: Path) -> None:
        next(Path(path).iterdir()).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pruned()
    assert cache.names == {".pruned-old", "new"}
    assert removed(pruned(dry_run=True)) == {".pruned-old"}
    pruned()
    assert cache.names == {"new"}


def test_what_kbtf_ci_did_not_make_is_left_alone(cache: Cache) -> None:
    mine = [cache.add(name, 999) for name in ("build/mine", "source/mine", "packages/mine", "mine/0")]
    assert pruned(everything=True).decisions == ()
    assert all(path.exists() for path in mine)


def test_what_killed_commands_left_goes_after_a_day(cache: Cache) -> None:
    for name in ("source/.unpack-x", "packages/.unpack-x", "build/.pahole-x", "build/.encode-x"):
        cache.add(name, 2)
    young = cache.add("source/.unpack-young", 0)
    assert removed(pruned()) == {".unpack-x", ".pahole-x", ".encode-x"}
    assert cache.names == {young.name}


def test_each_piece_says_what_it_is_for_and_how_much_it_holds(cache: Cache) -> None:
    cache.source(EARLIER, 3)
    build = cache.build(f"{EARLIER}-smoke-trixie", 3)
    (build / "include/config").mkdir(parents=True)
    (build / "include/config/kernel.release").write_text("6.12.0-x\n")
    packages = cache.add("packages/0123456789abcdef", 3, ".used")
    (packages / "lib/modules/6.1-test").mkdir(parents=True)
    pieces = {one.item.name: one.item for one in pruned(dry_run=True).decisions}
    assert {item.purpose for item in pieces.values()} == {
        "source of Linux 6.12", "build of 6.12.0-x", "packages of 6.1-test",
    }  # fmt: skip
    assert all(50_000 <= item.size < 200_000 for item in pieces.values())


def test_a_cache_that_is_not_there_holds_nothing(cache: Cache) -> None:
    cache.root.rmdir()
    assert pruned(dry_run=True).decisions == ()
    assert not cache.root.exists()


def cli(*words: str) -> Result:
    return CliRunner().invoke(main, ["prune", *words])


def test_the_command_line_tells_it_in_lines_and_as_json(cache: Cache) -> None:
    cache.build("old", 20)
    cache.build("new", 1)
    done = cli("--dry-run", "--keep", "2w")
    assert done.exit_code == 0, done.output
    assert "would go build" in done.stdout
    assert "old: unfinished build; not used for 14 d" in done.stdout
    assert "would be freed" in done.stdout.splitlines()[-1]
    document = json.loads(cli("--keep", "12h", "--json", "-q").stdout)
    valid("prune", document)
    assert (document["keep_s"], document["dry_run"]) == (12 * 3600, False)
    assert {item["name"]: item["removed"] for item in document["items"]} == {"old": True, "new": False}
    assert cli("--keep", "soon").exit_code == 2


def test_a_cache_that_is_a_file_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KBTF_CI_CACHE", f"{tmp_path}/file")
    done = cli()
    assert done.exit_code == 2
    assert done.stderr.splitlines()[0] == f"kbtf-ci: KBTF_CI_CACHE={tmp_path}/file: not a folder"


@pytest.mark.engine
class TestImages:
    @pytest.fixture
    def own(self, engine: Engine, toolchain: Toolchain) -> Iterator[str]:
        """An image of ours by a recipe that was never shipped, one layer above the toolchain."""
        name = f"kbtf-ci/toolchain:trixie-test{os.getpid()}"
        with closing(engine.address.open()) as client:
            made = client.create_container(toolchain.image, ["true"])["Id"]
            client.put_archive(made, "/", tarball({"one": bytes(100_000)}))
            repository, tag = name.split(":")
            client.commit(made, repository, tag)
            client.remove_container(made)
            yield name
            if client.images(name=name):
                client.remove_image(name)

    def test_an_image_by_an_earlier_recipe_is_found_and_goes(
        self, engine: Engine, toolchain: Toolchain, own: str, cache: Cache
    ) -> None:
        found = {item.name: item for item in images.stored(engine.address)}
        assert found[toolchain.image].current
        assert found[toolchain.image].needed_by >= {own}
        assert not found[own].current
        assert found[own].purpose == "toolchain of trixie, by an earlier recipe"
        assert found[own].size < found[toolchain.image].size
        assert images.remove(engine.address, own) == ""
        assert own not in {item.name for item in images.stored(engine.address)}

    def test_an_image_that_a_container_or_a_process_has_stays(
        self, engine: Engine, own: str, cache: Cache
    ) -> None:
        with closing(engine.address.open()) as client:
            made = client.create_container(own, ["true"])["Id"]
            try:
                assert {item.name: item.in_use for item in images.stored(engine.address)}[own]
                assert images.remove(engine.address, own) != ""
            finally:
                client.remove_container(made)
        with held(USES, cache.root / "locks" / own.replace("/", "-").replace(":", "-")):
            assert {item.name: item.in_use for item in images.stored(engine.address)}[own]
            assert images.remove(engine.address, own) == "in use"

    def test_a_dry_run_tells_of_images_as_well(self, engine: Engine, own: str, cache: Cache) -> None:
        found = prune(
            PruneOptions(everything=True, dry_run=True), TerminalReporter(quiet=True), lambda: engine
        )
        assert own in removed(found)


def test_folders_are_pruned_though_no_engine_answers(cache: Cache) -> None:
    cache.build("old", 99)
    cache.build("new", 1)

    def nobody() -> Engine:
        raise EngineError("no container engine answers")

    assert removed(prune(PruneOptions(), TerminalReporter(quiet=True), nobody)) == {"old"}


def test_on_the_host_no_engine_is_asked(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBTF_CI_ENGINE", "host")

    def connect() -> NoReturn:
        pytest.fail("an engine was looked for")

    with TerminalReporter(quiet=True) as reporter:
        assert prune(PruneOptions(dry_run=True), reporter, connect).decisions == ()
