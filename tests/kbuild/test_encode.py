# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How pahole is called over many modules, by the worker itself and a pahole that only counts bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from kbtf_ci.errors import InfrastructureError, InterruptError
from kbtf_ci.infra.runner import SCRATCH
from kbtf_ci.kernel.encode import Encoded, encode
from kbtf_ci.kernel.pahole import ALLOCATION, Pahole, ask_kbuild, keep_answer
from tests.support import faketree, paholes
from tests.support.local import LocalRunner
from tests.support.waiting import wait_until


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.flags = ("-j", "--btf_features=var,float")
        self.got: list[Encoded] = []
        paholes.plant(folder)

    def module(self, file: str, content: str = "") -> None:
        path = self.tree / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def encode(
        self, jobs: int = 1, on_encoded: Callable[[Encoded], None] | None = None, program: Path | None = None
    ) -> dict[str, Encoded]:
        files = [str(path.relative_to(self.tree)) for path in self.tree.rglob("*.ko")]
        pahole = Pahole(str(program or self.folder / "pahole"), self.flags)
        runner = LocalRunner({SCRATCH: self.folder / "scratch"})
        encode(runner, self.tree, files, pahole, jobs=jobs, on_encoded=on_encoded or self.got.append)
        return {encoded.file: encoded for encoded in self.got}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_every_module_is_encoded_with_kbuilds_flags_and_no_base_the_largest_first(bench: Bench) -> None:
    for file, size in {"kernel/a.ko": 10, "kernel/fs/big.ko": 3000, "kernel/c.ko": 200}.items():
        bench.module(file, "x" * size)
    got = bench.encode()
    assert {file: encoded.full_bytes for file, encoded in got.items()} == {
        "kernel/a.ko": 20, "kernel/fs/big.ko": 6000, "kernel/c.ko": 400,
    }  # fmt: skip
    calls = [call.split() for call in paholes.calls(bench.folder)]
    assert [call[-1] for call in calls] == ["kernel/fs/big.ko", "kernel/c.ko", "kernel/a.ko"]
    assert {tuple(call[:3]) for call in calls} == {("-J", "-j", "--btf_features=var,float")}
    assert not any("--btf_base" in call for call in calls)


def test_as_many_at_a_time_as_asked_for_and_no_more(bench: Bench) -> None:
    # Each waits for two more, if they ever come, before it counts those that run.
    wait = 'while [ "$(ls "$0".up.* | wc -l)" -lt 3 ] && [ $n -lt 600 ]; do n=$((n + 1)); sleep 0.05; done'
    count = f': > "$0.run.$$"; : > "$0.up.$$"; n=0; {wait}; ls "$0".run.* | wc -l >> "$0.seen"; sleep 0.3'
    for number in range(6):
        bench.module(f"kernel/{number}.ko", f'do: {count}; rm "$0.run.$$"\n')
    bench.encode(jobs=3)
    seen = (bench.folder / "pahole.seen").read_text().split()
    assert max(map(int, seen)) == 3


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ('echo "pahole: $module: Invalid argument" >&2; exit 1', "pahole: kernel/b.ko: Invalid argument"),
        ("echo one; echo two; exit 1", "one two"),
        ("exit 3", "exit status 3"),
        ("kill -9 $$", "killed by signal 9"),
        ("exit 0", "it wrote no BTF"),
    ],
)
def test_a_module_that_pahole_refuses_is_named_and_the_rest_goes_on(
    bench: Bench, command: str, fault: str
) -> None:
    bench.module("kernel/a.ko", "x" * 500)
    bench.module("kernel/b.ko", f"do: {command}\n")
    bench.module("kernel/c.ko", "y")
    got = bench.encode()
    assert (got["kernel/b.ko"].full_bytes, got["kernel/b.ko"].fault) == (0, fault)
    assert [got[file].full_bytes for file in ("kernel/a.ko", "kernel/c.ko")] == [1000, 2]


def test_an_interrupt_ends_every_pahole_and_keeps_what_was_told(bench: Bench) -> None:
    bench.module("kernel/a.ko", "x" * 500)
    bench.module("kernel/b.ko", 'do: echo $$ > "$0.pid"; sleep 600\n')
    got = []

    def interrupted(encoded: Encoded) -> NoReturn:
        got.append(encoded.file)
        wait_until((bench.folder / "pahole.pid").exists)
        raise InterruptError("interrupted by SIGINT")

    with pytest.raises(InterruptError):
        bench.encode(jobs=2, on_encoded=interrupted)
    assert got == ["kernel/a.ko"]
    pid = int((bench.folder / "pahole.pid").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_nothing_stays_behind(bench: Bench) -> None:
    bench.module("kernel/a.ko", "x")
    bench.module("kernel/b.ko", "do: exit 1\n")
    bench.encode(jobs=2)
    assert not (bench.folder / "scratch").exists()
    assert sorted(path.name for path in bench.folder.iterdir()) == ["calls", "pahole", "tree"]


def test_a_pahole_that_is_not_there_is_no_fault_of_the_modules(bench: Bench) -> None:
    bench.module("kernel/a.ko", "x")
    with pytest.raises(InfrastructureError, match=r"No such file or directory: '.*/nowhere'"):
        bench.encode(program=bench.folder / "nowhere")


def test_kbuild_itself_tells_its_flags(tmp_path: Path) -> None:
    tree = faketree.plant(tmp_path)
    with (tree / "Makefile").open("a") as makefile:
        makefile.write("export PAHOLE = /somewhere/pahole\n")
        makefile.write("export PAHOLE_FLAGS = -j --btf_features=var,float\n")
        makefile.write("export MODULE_PAHOLE_FLAGS = --btf_features=distilled_base\n")
    assert ask_kbuild(faketree.kbuild(tmp_path)) == Pahole(
        "/somewhere/pahole", ("-j", "--btf_features=var,float", "--btf_features=distilled_base")
    )


def test_a_kernel_that_exports_no_flags_has_none(tmp_path: Path) -> None:
    assert ask_kbuild(faketree.kbuild(tmp_path)) == Pahole("pahole", ())


def test_kbuild_is_asked_once_for_what_decides_its_answer(tmp_path: Path) -> None:
    faketree.plant(tmp_path)
    kbuild = faketree.kbuild(tmp_path)
    runner = kbuild.runner
    assert isinstance(runner, LocalRunner)
    (kbuild.build_dir / ".kbtf-ci").mkdir()
    asked = ask_kbuild(kbuild)

    def asks(stamp: str) -> int:
        before = len(runner.started)
        assert keep_answer(kbuild, stamp) == asked
        return len(runner.started) - before

    assert [asks(stamp) for stamp in ("one", "one", "two", "two", "", "")] == [1, 0, 1, 0, 1, 1]
    (kbuild.build_dir / ".kbtf-ci/pahole.json").write_text('{"stamp": "two"}')
    assert asks("two") == 1


def test_full_encoding_takes_memory_as_is_fastest(bench: Bench) -> None:
    bench.module("kernel/a.ko", 'do: echo "$GLIBC_TUNABLES" > "$0.seen"\n')
    bench.encode()
    assert (bench.folder / "pahole.seen").read_text().strip() == ALLOCATION["GLIBC_TUNABLES"]
