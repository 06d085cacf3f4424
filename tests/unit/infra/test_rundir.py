# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.infra import rundir
from kbtf_ci.model.options import BuildOptions
from tests.support.records import run_record


def test_a_folder_that_holds_something_is_never_overwritten(tmp_path: Path) -> None:
    rundir.create(tmp_path / "run").write_record(run_record(command="a"))
    with pytest.raises(UsageError, match="never overwritten"):
        rundir.create(tmp_path / "run")
    assert json.loads((tmp_path / "run/run.json").read_text())["command"] == "a"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/run: cannot be written: Not a directory"):
        rundir.create(tmp_path / "file" / "run")


NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def test_runs_of_one_second_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = [rundir.create_default("smoke", NOON).path for _ in range(3)]
    plain = tmp_path / "runs/20260102T120000Z-smoke"
    assert made == [plain, plain.with_name(f"{plain.name}-2"), plain.with_name(f"{plain.name}-3")]


def test_no_two_runs_get_one_folder_however_close_they_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    together = threading.Barrier(8)
    made: list[Path] = []

    def start() -> None:
        together.wait()
        made.append(rundir.create_default("smoke", NOON).path)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8


@pytest.mark.parametrize("link", [True, False])
def test_a_place_for_runs_that_is_no_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    if link:
        runs.symlink_to("nowhere")
    else:
        runs.touch()
    with pytest.raises(UsageError, match=r"-o runs/20260102T120000Z-smoke: cannot be written: File exists"):
        rundir.create_default("smoke", NOON)


def test_latest_points_at_the_newest(tmp_path: Path) -> None:
    for name in ("one", "two"):
        rundir.point_latest(rundir.create(tmp_path / name))
    assert (tmp_path / "latest").resolve() == tmp_path / "two"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        rundir.RunDirectory(tmp_path).read_record()
    (tmp_path / "run.json").write_text('{"schema": "other"}')
    with pytest.raises(UsageError, match="not the record of a run: key 'schema'"):
        rundir.RunDirectory(tmp_path).read_record()


SCHEMA = b'"schema":"kbtf-ci/run/1"'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[]", "not the record of a run"),
        (b"null", "not the record of a run"),
        (b'"x"', "not the record of a run"),
        (b"[" * 100_000, "recursion limit"),
        (b"\xff\xfe", "not the record of a run"),
        (b"{}", "key 'schema': Field required"),
        (b"{%s}" % SCHEMA, "never built to the end"),
        (b'{%s,"kernel":{}}' % SCHEMA, "key 'kernel.release': Field required"),
        (b'{%s,"kernel":7}' % SCHEMA, "key 'kernel'"),
        (b'{%s,"kernel":{"release":"6.12"},"wishes":[]}' % SCHEMA, "key 'wishes'"),
        (b'{%s,"kernel":{"release":"6.12"},"stages":{"build":"long"}}' % SCHEMA, "key 'stages.build'"),
        (b'{%s,"kernel":{"release":"6.12"},"skipped_btf":null}' % SCHEMA, "key 'skipped_btf'"),
    ],
)
def test_a_record_that_is_none_is_refused_by_key(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        rundir.RunDirectory(tmp_path).read_built()
    assert words in caught.value.message
    assert str(tmp_path) in caught.value.message


def test_an_earlier_versions_record_reads_and_keeps_what_this_one_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b'{%s,"kernel":{"release":"6.12"},"later":[1]}' % SCHEMA)
    record = rundir.RunDirectory(tmp_path).read_built()
    assert (record.facts.pahole, record.skipped_btf, record.architecture) == ("", {}, "x86_64")
    assert record.document()["later"] == [1]


def test_options_read_as_they_were_written(tmp_path: Path) -> None:
    options = BuildOptions("smoke", 2, added=("CONFIG_X=m",), pahole=Path("/opt/pahole"), variables=("V=1",))
    directory = rundir.create(tmp_path / "run")
    directory.write_record(run_record(kernel={"release": "6.12"}).amended({"options": options}))
    assert directory.read_build().build_options == options
    values = json.loads(directory.run_json.read_text())["wishes"]
    assert (values["pahole"], values["added"]) == ("/opt/pahole", ["CONFIG_X=m"])


def test_a_path_that_was_not_given_is_written_as_none(tmp_path: Path) -> None:
    directory = rundir.create(tmp_path / "run")
    directory.write_record(run_record().amended({"options": BuildOptions("smoke", 2)}))
    assert json.loads(directory.run_json.read_text())["wishes"]["pahole"] == ""


def test_a_kernel_that_others_built_has_no_build(tmp_path: Path) -> None:
    wishes = b'{"kernel":["linux.deb"],"modules":"","suite":"trixie"}'
    (tmp_path / "run.json").write_bytes(b'{%s,"kernel":{"release":"6.12"},"wishes":%s}' % (SCHEMA, wishes))
    directory = rundir.RunDirectory(tmp_path)
    assert directory.read_built().suite == "trixie"
    with pytest.raises(UsageError, match="there is no build of it"):
        directory.read_build()


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    rundir.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        rundir.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_kernel_of_a_run_is_what_its_record_and_folder_say(tmp_path: Path) -> None:
    directory = rundir.create(tmp_path / "run")
    directory.file("kernel.config").write_text("# CONFIG_B is not set\nCONFIG_A=y\n")
    kernel = directory.kernel_of(
        run_record(
            kernel={"release": "6.12"},
            profile={"name": "prebuilt", "memory_mib": 512, "cpus": 3},
            prebuilt={"origin": "linux.deb", "builtin": ["ext4"]},
            skipped_btf={"kernel/a.ko": "why"},
        )
    )
    assert (kernel.image, kernel.modules) == (directory.kernel / "bzImage", directory.kernel / "modules")
    assert (kernel.facts.release, kernel.config, kernel.origin) == ("6.12", {"CONFIG_A": "y"}, "linux.deb")
    assert (kernel.builtin, kernel.memory_mib, kernel.cpus) == (frozenset({"ext4"}), 512, 3)
    assert kernel.skipped_btf == {"kernel/a.ko": "why"}
    built = directory.kernel_of(
        run_record(kernel={"release": "6.12"}, source={"version": "6", "origin": "o"})
    )
    assert (built.builtin, built.memory_mib, built.origin) == (None, None, "o")
