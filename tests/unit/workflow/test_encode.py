# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The story of encode over small modules, with a pahole that only leaves a mark."""

from __future__ import annotations

import lzma
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from kbtf_ci.container.image import Toolchain
from kbtf_ci.errors import InterruptError, KbtfError, UsageError
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.runner import SCRATCH
from kbtf_ci.kernel import split_btf
from kbtf_ci.model.encoded import Route
from kbtf_ci.objfile.files import SIGNATURE
from kbtf_ci.workflow import workspace
from kbtf_ci.workflow.encode import EncodeOptions, EncodeResult, encode
from tests.support import images, paholes
from tests.support.elf import make_elf
from tests.support.images import Part
from tests.support.local import LocalRunner
from tests.support.schemas import valid
from tests.support.waiting import wait_until
from tests.unit.workflow.test_sizes import Told

BTF = b"\x9f\xeb\x01\0rest"
MARK = b"encoded"


def module(name: str = "m", *, btf: bytes | None = BTF, do: str = "", size: int = 0) -> bytes:
    info = f"name={name}\0vermagic=6.12.107+deb13-amd64 SMP\0".encode()
    debug = b"DWARF" + bytes(size) + (f"\ndo: {do}\n".encode() if do else b"")
    parts = [(".modinfo", info), (".debug_info", debug)]
    return make_elf([*parts, *([(".BTF", btf)] if btf is not None else [])])


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.vmlinux = folder / "vmlinux"
        self.vmlinux.write_bytes(images.vmlinux())
        self.told = Told()
        self.plant("1.30")

    def plant(self, version: str) -> None:
        self.pahole = paholes.plant(self.folder, version, paholes.MARK)

    def put(self, file: str, content: bytes | None = None) -> Path:
        path = self.tree / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(module() if content is None else content)
        return path

    @property
    def calls(self) -> list[list[str]]:
        return [line.split() for line in paholes.calls(self.folder)]

    def options(self, *modules: Path) -> EncodeOptions:
        return EncodeOptions(
            self.vmlinux, modules or (self.tree,), "trixie", pahole=self.pahole, server=False
        )

    def encode(self, *modules: Path, **changes: object) -> EncodeResult:
        done = encode(replace(self.options(*modules), **changes), self.told)  # type: ignore[arg-type]
        valid("encode", done.document())
        return done


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / "cache"))
    runner = LocalRunner({SCRATCH: tmp_path / "scratch"})
    tools = workspace.Tools(Toolchain("none", "trixie", {}), runner)
    monkeypatch.setattr(workspace, "toolchain", lambda suite, reporter: tools)
    return Bench(tmp_path)


def faults(done: EncodeResult) -> dict[str, str]:
    return {Path(one.file).name: one.fault for one in done.modules if one.fault}


def left_over(bench: Bench) -> list[str]:
    """Return whatever is no module of the tree, and what the cache still holds of a call."""
    of_tree = [str(path) for path in bench.tree.rglob(".*")]
    return of_tree + [str(path) for path in (cache_root() / "build").glob(".*")]


def test_every_module_of_folders_and_files_gets_its_btf_the_largest_first(bench: Bench) -> None:
    files = [bench.put("kernel/a.ko"), bench.put("kernel/fs/b.ko", module(size=99)), bench.put("other/c.ko")]
    before = [path.read_bytes() for path in files]
    done = bench.encode(bench.tree / "kernel", files[2], files[0])
    assert [path.read_bytes() for path in files] == [one + MARK for one in before]
    assert [(one.file, one.btf_bytes, one.route) for one in done.modules] == [
        (str(path), len(BTF), Route.ALONE) for path in files
    ]
    assert [call[-1].rpartition("/")[2] for call in bench.calls] == ["0.ko", "1.ko", "2.ko"]
    assert bench.calls[0][:2] == ["-J", "-j"]
    assert bench.calls[0][-3] == "--btf_base"
    assert done.exit_code == 0
    assert "3 of 3 modules: 24 bytes of split BTF, 3 by pahole alone" in list(done.text())[-1]
    assert left_over(bench) == []


def test_a_module_keeps_its_mode_and_is_newer(bench: Bench) -> None:
    path = bench.put("a.ko")
    path.chmod(0o640)
    os.utime(path, (1, 1))
    os.setxattr(path, "user.kept", b"yes")
    bench.encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_mtime > 1
    assert os.getxattr(path, "user.kept") == b"yes"


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ('echo "pahole: $module: Invalid argument" >&2; exit 1', "pahole: {file}: Invalid argument"),
        ("exit 3", "exit status 3"),
        ("kill -9 $$", "killed by signal 9"),
        ('printf cut > "$module"; exit 1', "exit status 1"),
        ('printf cut > "$module"', "pahole left no module: "),
    ],
)
def test_one_failure_leaves_that_module_as_it_was_and_the_others_go_on(
    bench: Bench, command: str, fault: str
) -> None:
    good, bad = bench.put("a.ko"), bench.put("b.ko", module(do=command, size=9))
    before = bad.read_bytes()
    done = bench.encode()
    assert bad.read_bytes() == before
    assert good.read_bytes().endswith(MARK)
    assert faults(done)["b.ko"].startswith(fault.format(file=bad))
    assert done.exit_code == 1
    assert list(done.text())[1] == f"    {bad}"
    assert left_over(bench) == []


def test_as_many_at_a_time_as_asked_for_and_no_more(bench: Bench) -> None:
    # Each waits for two more, if they ever come, before it counts those that run.
    wait = 'while [ "$(ls "$0".up.* | wc -l)" -lt 3 ] && [ $n -lt 600 ]; do n=$((n + 1)); sleep 0.05; done'
    count = f': > "$0.run.$$"; : > "$0.up.$$"; n=0; {wait}; ls "$0".run.* | wc -l >> "$0.seen"; sleep 0.3'
    for number in range(6):
        bench.put(f"{number}.ko", module(do=f'{count}; rm "$0.run.$$"'))
    bench.encode(jobs=3)
    assert max(map(int, (bench.folder / "pahole.seen").read_text().split())) == 3


def hard_link(path: Path) -> None:
    os.link(path, path.with_name("other name"))


REFUSED: list[tuple[bytes, Callable[[Path], None] | None, str]] = [
    (make_elf([(".BTF", BTF)]), None, "no debug information (.debug_info) in it"),
    (lzma.compress(module()), None, "compressed (xz): unpack it first"),
    (module() + SIGNATURE, None, "signed, and the signature holds for no other content: --detached"),
    (module(), hard_link, "one of 2 names of a file (hard links)"),
    (b"no ELF", None, "not a readable ELF file"),
    (images.vmlinux(), None, "not a kernel module: its ELF type is ET_EXEC"),
    (module(btf=None), None, "pahole wrote no BTF"),
]


@pytest.mark.parametrize(("content", "make", "fault"), REFUSED, ids=[fault for _, _, fault in REFUSED])
def test_what_cannot_be_given_btf_is_told_and_left_alone(
    bench: Bench, content: bytes, make: Callable[[Path], None] | None, fault: str
) -> None:
    good, bad = bench.put("a.ko"), bench.put("b.ko", content)
    if make is not None:
        make(bad)
    done = bench.encode()
    assert list(faults(done)) == ["b.ko"]
    assert faults(done)["b.ko"].startswith(fault)
    assert bad.read_bytes() == content
    assert good.read_bytes().endswith(MARK)
    if not fault.startswith("pahole"):
        with pytest.raises(UsageError) as refused:
            bench.encode(bad)
        assert refused.value.message.startswith(f"{bad}: {fault}")


def test_a_folder_of_packed_modules_is_refused_in_a_line(bench: Bench) -> None:
    for name in "abc":
        bench.put(f"{name}.ko.xz", lzma.compress(module()))
    with pytest.raises(UsageError) as refused:
        bench.encode()
    assert refused.value.message == f"{bench.tree}/a.ko.xz: compressed (xz): unpack it first"
    assert refused.value.hint == "so are 3 of 3 modules, and none can be given BTF"


@pytest.mark.parametrize("what", ["signed", "hard link"])
def test_detached_leaves_modules_as_they_are_and_keeps_their_paths(bench: Bench, what: str) -> None:
    first, second = bench.put("kernel/a.ko"), bench.put("kernel/fs/a.ko")
    before = first.read_bytes()
    if what == "signed":
        second.write_bytes(module() + SIGNATURE)
    else:
        hard_link(second)
    out = bench.folder / "out"
    done = bench.encode(detached=out)
    assert first.read_bytes() == before
    assert [path.read_bytes() for path in (out / "kernel/a.btf", out / "kernel/fs/a.btf")] == [MARK, MARK]
    assert [one.output for one in done.modules] == [f"{out}/kernel/a.btf", f"{out}/kernel/fs/a.btf"]
    assert [one.btf_bytes for one in done.modules] == [len(MARK)] * 2
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["a.btf", "a.btf"]
    with pytest.raises(UsageError, match="both would become"):
        bench.encode(first, second, detached=out)


def test_a_link_is_followed_where_it_is_named_and_not_where_it_is_found(bench: Bench) -> None:
    real = bench.put("other/real.ko")
    bench.put("updates/a.ko")
    link = bench.tree / "updates/weak.ko"
    link.symlink_to(real)
    bench.encode(bench.tree / "updates")
    assert not real.read_bytes().endswith(MARK)
    assert bench.told.notes == ["left alone: 1 symbolic links in the folders that are named"]
    bench.encode(link)
    assert real.read_bytes().endswith(MARK)
    assert link.is_symlink()


def test_a_module_that_changes_meanwhile_is_left_as_it_is_then(bench: Bench) -> None:
    path = bench.tree / "a.ko"
    bench.put("a.ko", module(do=f"echo changed > {path}"))
    done = bench.encode()
    assert faults(done) == {"a.ko": "changed while it was encoded, and left alone"}
    assert path.read_text() == "changed\n"


def test_an_interrupt_leaves_every_module_whole_and_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = bench.folder / "pid"
    done = bench.put("a.ko", module(size=99))
    waits = bench.put("b.ko", module(do=f"echo $$ > {pid}; sleep 600"))
    before = waits.read_bytes()

    def interrupted(text: str, done: int = 0, total: int | None = None) -> NoReturn:
        wait_until(lambda: pid.exists() and pid.read_text())
        raise InterruptError("interrupted by SIGINT")

    monkeypatch.setattr(bench.told, "progress", interrupted)
    with pytest.raises(InterruptError):
        bench.encode(jobs=2)
    assert done.read_bytes().endswith(MARK)
    assert waits.read_bytes() == before
    assert left_over(bench) == []
    number = int(pid.read_text())
    wait_until(lambda: not Path(f"/proc/{number}").exists())


def test_names_are_only_names(bench: Bench) -> None:
    names = ["a b.ko", "a\tb.ko", "a\nb.ko", "$(touch owned).ko", os.fsdecode(b"\xff.ko"), "-J.ko"]
    paths = [bench.put(f"x/{name}") for name in names]
    done = bench.encode()
    assert all(path.read_bytes().endswith(MARK) for path in paths)
    assert len(done.modules) == len(names)


def test_flags_are_those_of_a_kernel_or_as_given(bench: Bench) -> None:
    bench.put("a.ko")
    features = "--btf_features=distilled_base"
    assert bench.encode(distilled=True).encoding.flags[-1] == features
    given = bench.encode(flags=("-j", "--skip_encoding_btf_enum64"), distilled=True).encoding
    assert (given.flags, given.flags_of) == (("-j", "--skip_encoding_btf_enum64", features), "as given")
    assert bench.calls[-1][1:4] == list(given.flags)
    bench.plant("1.25")
    with pytest.raises(UsageError, match=r"pahole 1\.25 writes no \.BTF\.base: 1\.28 or newer wanted"):
        bench.encode(distilled=True)
    bench.plant("1.18")
    with pytest.raises(UsageError, match=r"pahole 1\.18 writes no split BTF"):
        bench.encode()


def refused(call: Callable[[], object]) -> KbtfError:
    with pytest.raises(KbtfError) as found:
        call()
    return found.value


def test_what_cannot_be_done_at_all_is_one_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.tree.mkdir()
    assert refused(bench.encode).message == f"{bench.tree}: no .ko file in it"
    path = bench.put("a.ko")
    no_btf = bench.folder / "no-btf"
    no_btf.write_bytes(images.build([Part(".text", b"x")], kind=images.EXEC))
    assert (
        refused(lambda: bench.encode(vmlinux=no_btf)).message
        == f"{no_btf}: a kernel without BTF: it has no .BTF section"
    )
    monkeypatch.setattr("kbtf_ci.workflow.encodables.MAX_FOLDERS", 1)
    other = bench.put("x/b.ko")
    several = refused(lambda: bench.encode(other, bench.put("y/c.ko")))
    assert several.message == "modules in 2 folders, and the toolchain can be given 1 at a time"
    assert not path.read_bytes().endswith(MARK)


def test_modules_of_another_release_and_with_ids_are_warned_of(bench: Bench) -> None:
    info = b"vermagic=6.1.0 SMP\0"
    parts = [(".modinfo", info), (".debug_info", b"x"), (".BTF_ids", bytes(8)), (".BTF", BTF)]
    bench.put("a.ko", make_elf(parts))
    bench.encode()
    first, second = bench.told.warnings
    assert "1 modules are not of 6.12.107+deb13-amd64" in first
    assert first.endswith("a.ko is of 6.1.0")
    assert "resolve_btfids" in second


def test_what_pahole_says_has_the_users_name_in_it() -> None:
    said = split_btf.by_name(12, "pahole: /work/12.ko: cut, /work/112.ko", r"/a \1/x.ko")
    assert said == r"pahole: /a \1/x.ko: cut, /work/112.ko"


def test_a_folder_that_cannot_be_written_to_is_told_before(bench: Bench, tmp_path: Path) -> None:
    path = bench.put("a.ko")
    if os.access("/", os.W_OK) and os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    path.parent.chmod(0o555)
    try:
        assert "its folder cannot be written to" in refused(bench.encode).message
    finally:
        path.parent.chmod(0o755)
