# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The story of sizes over a small run directory, with a pahole that only counts bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from kbtf_ci.container.image import Toolchain
from kbtf_ci.errors import InterruptError, UsageError
from kbtf_ci.infra import rundir
from kbtf_ci.infra.runner import SCRATCH
from kbtf_ci.workflow import workspace
from kbtf_ci.workflow.sizes import Sized, measure_sizes
from tests.support import paholes
from tests.support.elf import make_module
from tests.support.local import LocalRunner
from tests.support.records import run_record


class Told:
    """A Reporter that keeps what it is told, and breaks off when ``end`` are done."""

    def __init__(self, end: int = 0) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.stages: list[str] = []
        self._end = end

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def progress(self, text: str, done: int = 0, total: int | None = None) -> None:
        if self._end and (done, total) == (self._end, 3):
            raise InterruptError("interrupted by SIGINT")

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class Run:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directory = rundir.create(folder / "run")
        self.modules = self.directory.modules / "kernel"
        self.modules.mkdir(parents=True)
        program = paholes.plant(folder)
        self.facts: dict[str, Any] = {
            "kernel": {"release": "6.12.3", "pahole": "130"},
            "wishes": {"config": "smoke", "jobs": 1, "suite": "trixie", "pahole": "", "variables": []},
            "pahole": {"program": str(program), "flags": ["-j"]},
            "skipped_btf": {},
        }
        for name, btf in {"a": b"x" * 10, "b": b"x" * 20, "c": b"x" * 30}.items():
            self.put(name, btf)
        self.write()

    def put(self, name: str, btf: bytes | None, extra: bytes = b"") -> None:
        (self.modules / f"{name}.ko").write_bytes(make_module(name, btf) + extra)

    def write(self, **facts: Any) -> None:
        self.facts.update(facts)
        self.directory.write_record(run_record(**self.facts))

    def full(self, name: str) -> int:
        return 2 * (self.modules / f"{name}.ko").stat().st_size

    def measure_sizes(self, told: Told | None = None) -> Sized:
        return measure_sizes(self.directory.path, 1, told or Told())

    @property
    def json(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads((self.directory.path / "sizes.json").read_text())
        return values

    @property
    def encoded(self) -> list[str]:
        return [call.split("/")[-1] for call in paholes.calls(self.folder)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    runner = LocalRunner({SCRATCH: tmp_path / "scratch"})
    tools = workspace.Tools(Toolchain("none", "trixie", {}), runner)
    monkeypatch.setattr(workspace, "toolchain", lambda suite, reporter: tools)
    return Run(tmp_path)


def test_full_and_split_sizes_stand_in_sizes_json(run: Run) -> None:
    sized = run.measure_sizes()
    assert sized.values == run.json
    assert {entry["name"]: (entry["full_bytes"], entry["split_bytes"]) for entry in run.json["modules"]} == {
        "a": (run.full("a"), 10), "b": (run.full("b"), 20), "c": (run.full("c"), 30),
    }  # fmt: skip
    assert run.json["pahole"]["version"] == "130"
    assert run.json["totals"]["split_bytes"] == 60


def test_a_second_call_starts_nothing_and_writes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run.measure_sizes()
    before = written(run.directory.path / "sizes.json")
    monkeypatch.setattr(
        workspace, "toolchain", lambda suite, reporter: pytest.fail("the engine was asked for")
    )
    told = Told()
    assert run.measure_sizes(told).values == first.values
    assert told.notes == ["encoded 0 modules, kept 3"]
    assert written(run.directory.path / "sizes.json") == before


def written(path: Path) -> tuple[int, int, int]:
    """Return which file it is and when it was written: the time of the last read is no part of that."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def test_only_a_module_that_changed_is_encoded_again(run: Run) -> None:
    run.measure_sizes()
    run.put("b", b"x" * 20, extra=b"more")
    run.measure_sizes()
    assert run.encoded == ["c.ko", "b.ko", "a.ko", "b.ko"]
    assert run.json["modules"][1]["full_bytes"] == run.full("b")


def test_a_module_with_another_time_stamp_is_encoded_again(run: Run) -> None:
    run.measure_sizes()
    os.utime(run.modules / "a.ko", ns=(1, 1))
    run.measure_sizes()
    assert run.encoded[3:] == ["a.ko"]


def test_other_flags_make_everything_anew(run: Run) -> None:
    run.measure_sizes()
    run.write(pahole={**run.facts["pahole"], "flags": []})
    run.measure_sizes()
    assert len(run.encoded) == 6


def test_what_was_encoded_before_an_interrupt_is_kept(run: Run) -> None:
    with pytest.raises(InterruptError):
        run.measure_sizes(Told(end=2))
    assert run.json["ended"] == "interrupted by SIGINT"
    assert [entry["full_bytes"] for entry in run.json["modules"]] == [None, run.full("b"), run.full("c")]
    told = Told()
    run.measure_sizes(told)
    assert told.notes == ["encoded 1 modules, kept 2"]
    assert run.json["ended"] is None
    assert run.json["totals"]["counted"] == 3


def test_one_table_is_never_of_two_paholes(run: Run) -> None:
    with pytest.raises(InterruptError):
        run.measure_sizes(Told(end=2))
    paholes.plant(run.folder, "1.31")
    told = Told()
    run.measure_sizes(told)
    assert told.notes == ["encoded 3 modules, kept 0"]
    assert told.warnings == ["pahole is 131 now, it was 130 when the modules got their split BTF"]
    assert run.json["pahole"]["version"] == "131"


def test_a_module_that_pahole_refuses_is_named_and_tried_again_the_next_time(run: Run) -> None:
    run.put("b", b"x" * 20, extra=b"\ndo: echo bad luck; exit 1\n")
    told = Told()
    run.measure_sizes(told)
    assert told.warnings == ["kernel/b.ko was not encoded: bad luck"]
    assert run.json["totals"]["counted"] == 2
    run.measure_sizes()
    assert run.encoded[3:] == ["b.ko"]


def test_a_module_without_btf_is_not_encoded(run: Run) -> None:
    run.put("b", None)
    run.measure_sizes()
    assert run.encoded == ["c.ko", "a.ko"]
    assert run.json["modules"][1]["fault"] == "it has no .BTF section"


def test_modules_without_debug_information_are_one_clear_error(run: Run) -> None:
    for name in "abc":
        run.put(name, b"x", extra=b"\ndo: exit 1\n")
    with pytest.raises(UsageError, match="pahole could encode none of its modules") as caught:
        run.measure_sizes()
    assert "debug information" in caught.value.hint
    assert not (run.directory.path / "sizes.json").exists()


def test_a_tree_without_any_btf_is_one_clear_error(run: Run) -> None:
    for name in "abc":
        run.put(name, None)
    with pytest.raises(UsageError, match=r"none of its 3 modules has a \.BTF section"):
        run.measure_sizes()


def test_a_run_that_was_never_built_to_the_end(run: Run) -> None:
    del run.facts["kernel"]
    run.write()
    with pytest.raises(UsageError, match="its kernel was never built to the end"):
        run.measure_sizes()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b'{"schema": "kbtf-ci/sizes/1"}'])
def test_a_broken_sizes_json_is_made_anew(run: Run, content: bytes) -> None:
    (run.directory.path / "sizes.json").write_bytes(content)
    run.measure_sizes()
    assert run.json["totals"]["counted"] == 3


def test_two_commands_on_one_run_directory_take_turns(run: Run) -> None:
    hold = (
        "import sys; from pathlib import Path; from kbtf_ci.infra.rundir import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).locked(print): print('held', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", hold, str(run.directory.path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin
        assert other.stdout
        stdin: IO[str] = other.stdin
        assert other.stdout.readline() == "held\n"

        class Released(Told):
            """Has the other command write a newer run.json and go, when told that it is waited for."""

            def note(self, text: str) -> None:
                super().note(text)
                run.write(kernel={"release": "6.12.4", "pahole": "130"})
                stdin.close()

        told = Released()
        sized = run.measure_sizes(told)
    assert told.notes[0] == f"another command is using {run.directory.path}; waiting for it"
    assert "6.12.4" in json.dumps(sized.values), "run.json was read before the other command had written it"


def test_a_folder_that_holds_no_run_gets_no_lock(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        measure_sizes(tmp_path, 1, Told())
    assert list(tmp_path.iterdir()) == []
