# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Archives that mean harm, and what of a good one is laid out."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.objfile.archive import reader, worker
from kbtf_ci.objfile.archive.kernel_files import WANTED, KernelFiles
from kbtf_ci.objfile.archive.kinds import Kind, kind_of
from kbtf_ci.objfile.archive.reader import has_libarchive, members
from tests.conftest import unavailable
from tests.support.packages import RELEASE, cpio, deb, link, rpm, special, tarball

PLACE = f"lib/modules/{RELEASE}"
GOOD = {f"{PLACE}/kernel/a.ko": b"a", f"boot/vmlinuz-{RELEASE}": b"image"}
Content = Mapping[str, bytes | tarfile.TarInfo]


@pytest.fixture(autouse=True)
def libarchive() -> None:
    has_libarchive() or unavailable("libarchive", "this machine has no libarchive")


def laid_out(tmp_path: Path, *archives: bytes) -> Path:
    """Lay archives out in a folder that lies in another one, of which nothing else may change."""
    folder = tmp_path / "around/tree"
    folder.mkdir(parents=True)
    files = KernelFiles(folder)
    try:
        for number, content in enumerate(archives):
            path = tmp_path / f"{number}.archive"
            path.write_bytes(content)
            files.add(path, kind_of(path) or Kind.TAR)
        files.finish()
    finally:
        assert [path.name for path in folder.parent.iterdir()] == ["tree"]
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_what_a_kernel_does_not_need_is_left_out(tmp_path: Path) -> None:
    wanted = {
        f"usr/lib/modules/{RELEASE}/kernel/a.ko.zst": b"",
        f"usr/lib/modules/{RELEASE}/modules.dep": b"",
        f"usr/lib/modules/{RELEASE}/vmlinuz": b"",
        f"lib/modules/{RELEASE}/config": b"",
        f"boot/System.map-{RELEASE}": b"",
        "usr/lib/depmod.d/dist.conf": b"",
        "etc/depmod.d/own.conf": b"",
        "bzImage": b"",
    }
    others: Content = {
        f"boot/initrd.img-{RELEASE}": b"",
        f"usr/lib/debug/lib/modules/{RELEASE}/kernel/a.ko": b"",
        f"usr/lib/debug/boot/vmlinux-{RELEASE}": b"",
        f"usr/src/linux-headers-{RELEASE}/scripts/a.ko": b"",
        "etc/passwd": b"",
        "dev/console": special(tarfile.CHRTYPE),
        f"{PLACE}/build": link("/usr/src/linux"),
        f"{PLACE}/kernel": special(tarfile.DIRTYPE),
    }
    content: Content = {**wanted, **others}
    tree = laid_out(tmp_path, tarball(content))
    assert names(tree) == sorted(name.replace("usr/lib", "lib") for name in wanted)


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"/etc/passwd": b"x"}, "'/etc/passwd' leads out of it"),
        ({f"/{PLACE}/x.ko": b"x"}, "leads out of it"),
        ({"../x": b"x"}, "'../x' leads out of it"),
        ({f"{PLACE}/../../../../x.ko": b"x"}, "leads out of it"),
        ({f"{PLACE}/x.ko": link("../../../../x")}, r"a link that leads out of it, to "),
        ({f"{PLACE}/x.ko": link("/../x")}, "a link that leads out of it"),
        ({"boot/vmlinuz-x": special(tarfile.CHRTYPE)}, "neither a file nor a link"),
        ({"boot/vmlinuz-x": special(tarfile.BLKTYPE)}, "neither a file nor a link"),
        ({f"{PLACE}/x.ko": special(tarfile.FIFOTYPE)}, "neither a file nor a link"),
        ({f"{PLACE}/x.ko": link("../../etc/passwd", tarfile.LNKTYPE)}, "a link that leads out|not before it"),
        ({f"{PLACE}/x.ko": link("/etc/passwd", tarfile.LNKTYPE)}, "which is not before it"),
        ({f"{PLACE}/kernel/a.ko/b.ko": b"x"}, "cannot be written: Not a directory"),
        ({f"{PLACE}/{'x' * 300}.ko": b"x"}, "cannot be written: File name too long"),
        ({"../\x1b[2Jx\n": b"x"}, r"'\.\./\\x1b\[2Jx\\n' leads out of it"),
    ],
)
def test_what_leads_out_or_is_no_file_is_refused_in_one_line(
    tmp_path: Path, odd: Content, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        laid_out(tmp_path, tarball({**GOOD, **odd}))
    assert caught.value.message.startswith(f"{tmp_path}/0.archive: ")
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"/etc/passwd": b"x"}, "'/etc/passwd' leads out"),
        ({"boot/vmlinuz-x": special(tarfile.CHRTYPE)}, "neither a file nor a link"),
    ],
)
def test_an_rpm_is_held_to_the_same(tmp_path: Path, odd: Content, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        laid_out(tmp_path, rpm({**GOOD, **odd}))


def test_nothing_is_written_through_a_folder_that_is_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = laid_out(tmp_path, tarball({"lib": link(str(outside)), "boot": link(str(outside)), **GOOD}))
    assert list(outside.iterdir()) == []
    assert names(tree) == sorted(GOOD)


def test_a_link_becomes_the_file_that_it_leads_to_wherever_that_comes(tmp_path: Path) -> None:
    first = {
        f"boot/vmlinuz-{RELEASE}": link(f"../{PLACE}/vmlinuz"),
        f"boot/config-{RELEASE}": link(f"/{PLACE}/config"),
        "vmlinuz": link(f"boot/vmlinuz-{RELEASE}"),
        f"{PLACE}/vmlinux": link("vmlinux"),
        f"{PLACE}/weak-updates/gone.ko": link("../kernel/gone.ko"),
    }
    second = {f"usr/{PLACE}/vmlinuz": b"image", f"usr/{PLACE}/config": b"config"}
    tree = laid_out(tmp_path, tarball(first), tarball(second))
    assert (tree / "vmlinuz").read_bytes() == b"image"
    assert (tree / f"boot/config-{RELEASE}").read_bytes() == b"config"
    assert not (tree / f"{PLACE}/vmlinux").is_symlink()
    # A module that is not there is not passed over.
    gone = tree / PLACE / "weak-updates/gone.ko"
    assert gone.is_symlink()
    assert not gone.exists()
    assert [path for path in tree.rglob("*") if path.is_symlink()] == [gone]


def test_hard_links_are_one_file_and_a_later_member_goes_before_an_earlier(tmp_path: Path) -> None:
    hard = {f"{PLACE}/kernel/b.ko": link(f"./{PLACE}/kernel/a.ko", tarfile.LNKTYPE)}
    tree = laid_out(tmp_path, tarball({**GOOD, **hard}), tarball({f"{PLACE}/kernel/a.ko": b"later"}))
    assert (tree / PLACE / "kernel/a.ko").read_bytes() == b"later"
    assert (tree / PLACE / "kernel/b.ko").read_bytes() == b"a"


def test_of_hard_links_in_an_rpm_the_last_has_the_content(tmp_path: Path) -> None:
    names_of_one = [f"./{PLACE}/kernel/{name}.ko" for name in "ab"]
    data = bytearray(cpio({names_of_one[0]: b"", names_of_one[1]: b"module"}))
    second = data.index(b"070701", 6)
    for at in (0, second):
        data[at + 6 : at + 14] = b"0000002A"  # inode
        data[at + 38 : at + 46] = b"00000002"  # links
    package = rpm({}, "")
    tree = laid_out(tmp_path, package[: package.index(b"070701")] + bytes(data))
    assert [(tree / name).read_bytes() for name in names_of_one] == [b"module"] * 2


def test_a_file_that_a_link_takes_the_place_of_is_gone(tmp_path: Path) -> None:
    tree = laid_out(tmp_path, tarball(GOOD), tarball({f"{PLACE}/kernel/a.ko": link("b.ko")}))
    assert not (tree / PLACE / "kernel/a.ko").exists()


# ---- bombs


@pytest.mark.parametrize("name", [f"{PLACE}/big.ko", "usr/share/doc/big"])
def test_an_archive_of_far_more_than_its_own_size_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="holds more than 64 MiB"):
        laid_out(tmp_path, gzip.compress(tarball({name: bytes(80 << 20)}), compresslevel=1))


def test_an_archive_of_very_many_empty_files_is_refused(tmp_path: Path) -> None:
    one = tarball({f"{PLACE}/a.ko": b""})[:512]
    with pytest.raises(UsageError, match="holds more than 64 MiB"):
        laid_out(tmp_path, gzip.compress(one * 20_000, compresslevel=1))


def test_a_size_that_no_archive_has_room_for_is_refused_before_it_is_read(tmp_path: Path) -> None:
    huge = bytearray(tarball({f"{PLACE}/a.ko": b"a"}))
    huge[124:136] = b"77777777777\0"
    huge[148:156] = b"        "
    huge[148:156] = b"%06o\0 " % sum(huge[:512])
    with pytest.raises(UsageError, match="holds more than 64 MiB"):
        laid_out(tmp_path, bytes(huge))


def test_zeros_packed_many_times_over_cost_no_more_than_their_own_time(tmp_path: Path) -> None:
    packed = tarball({f"{PLACE}/big.ko": bytes(80 << 20)})
    for _ in range(3):
        packed = gzip.compress(packed, compresslevel=1)
    with pytest.raises(UsageError):
        laid_out(tmp_path, packed)


# ---- damage


@pytest.mark.parametrize("make", [lambda: deb(GOOD), lambda: rpm(GOOD), lambda: gzip.compress(tarball(GOOD))])
def test_no_cut_or_flipped_archive_ends_otherwise_than_in_one_line(
    tmp_path: Path, make: Callable[[], bytes]
) -> None:
    whole = make()
    step = len(whole) // 16
    cuts = [whole[: len(whole) * part // 7] for part in range(1, 7)]
    flips = [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), step)]
    for number, data in enumerate([*cuts, *flips]):
        place = tmp_path / str(number)
        place.mkdir()
        try:
            laid_out(place, data)
        except UsageError as error:
            assert error.message.isprintable()  # noqa: PT017 - it need not be raised


# ---- the process that reads


def test_the_reader_opens_writes_and_starts_nothing_once_it_is_confined() -> None:
    script = f"""
        import os, runpy, socket, subprocess, tempfile
        confine = runpy.run_path({worker.__file__!r})["confine"]
        confine()
        for tried in (
            lambda: open("/etc/passwd"), lambda: open("/tmp/new", "w"), socket.socket, os.pipe,
            lambda: subprocess.run(["true"]), lambda: bytearray(2 << 30),
        ):
            try:
                tried()
            except (OSError, MemoryError) as error:
                print(type(error).__name__, getattr(error, "strerror", ""))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["OSError Too many open files"] * 5 + ["MemoryError "], done.stderr


def test_it_is_confined_before_it_tells_of_the_first_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = reader._start

    def remembered(*args: Any, **more: Any) -> subprocess.Popen[bytes]:
        started.append(start(*args, **more))
        return started[-1]

    monkeypatch.setattr(reader, "_start", remembered)
    path = written(tmp_path, {f"{PLACE}/{n}.ko": os.urandom(1 << 16) for n in range(200)})
    with members(path, Kind.TAR, WANTED) as told:
        next(told)
        limits = Path(f"/proc/{started[0].pid}/limits").read_text()
    for name, value in (("open files", 0), ("file size", 0), ("processes", 0), ("address space", 1 << 30)):
        assert re.search(rf"^Max {name} +{value} +{value} ", limits, re.MULTILINE), limits


def written(tmp_path: Path, content: Content = GOOD) -> Path:
    path = tmp_path / "a.tar"
    path.write_bytes(tarball(content))
    return path


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("", "its reader ended over it"),
        ("print('no json')", "went astray"),
        ("print('[]')", "went astray"),
        ("print('{}')", "went astray"),
        ("""print('{"name": "x", "type": "odd", "target": ""}')""", "went astray"),
        ("""print('{"name": "../x", "type": "file", "target": ""}')""", "leads out"),
        ("print('x' * 100000)", "ended over it"),
        (
            """
            import sys
            print('{"name": "boot/config", "type": "file", "target": ""}', flush=True)
            for _ in range(70):
                sys.stdout.buffer.write((1 << 20).to_bytes(4, "big") + bytes(1 << 20))
            """,
            "went astray",
        ),
        (
            """
            import sys
            print('{"name": "boot/config", "type": "file", "target": ""}', flush=True)
            sys.stdout.buffer.write((1 << 31).to_bytes(4, "big"))
            """,
            "went astray",
        ),
        ("import os; os.kill(os.getpid(), 11)", r"ended over it \(SIGSEGV\)"),
        ("import os; os.kill(os.getpid(), 24)", "takes longer than any package does"),
    ],
)
def test_of_a_reader_that_was_taken_over_nothing_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, words: str
) -> None:
    fake = tmp_path / "worker.py"
    fake.write_text(textwrap.dedent(told))
    monkeypatch.setattr(worker, "__file__", str(fake))
    with pytest.raises(UsageError, match=words):
        laid_out(tmp_path, tarball(GOOD))


def test_a_libarchive_that_cannot_be_loaded_is_no_fault_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "libarchive.so"
    text.write_text("no library")
    monkeypatch.setenv("LIBARCHIVE", str(text))
    assert has_libarchive()
    with pytest.raises(InfrastructureError, match=r"wants libarchive, which cannot be loaded: .*") as caught:
        laid_out(tmp_path, tarball(GOOD))
    assert "kbtf-ci setup" in caught.value.hint


def test_libarchive_stays_out_of_this_process(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from kbtf_ci.objfile.archive.kernel_files import KernelFiles
        from kbtf_ci.objfile.archive.kinds import Kind
        KernelFiles(Path(sys.argv[1])).add(Path(sys.argv[2]), Kind.TAR)
        print("libarchive" in sys.modules)
    """
    (tmp_path / "tree").mkdir()
    words = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "tree"), str(written(tmp_path))]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "False\n"


def test_what_is_left_in_the_middle_leaves_no_process(tmp_path: Path) -> None:
    path = written(tmp_path, {f"{PLACE}/{n}.ko": os.urandom(1 << 16) for n in range(200)})
    started: list[subprocess.Popen[bytes]] = []
    start = reader._start

    def remembered(*args: Any, **more: Any) -> subprocess.Popen[bytes]:
        started.append(start(*args, **more))
        return started[-1]

    def interrupted() -> None:
        with members(path, Kind.TAR, WANTED) as told:
            next(told)
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_start", remembered)
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    assert started[0].returncode is not None


def test_what_lies_in_the_current_directory_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libarchive.py").write_text("raise SystemExit('taken over')")
    path = written(tmp_path)
    monkeypatch.chdir(tmp_path)
    with members(path, Kind.TAR, WANTED) as told:
        assert [member.name for member, _ in told] == list(GOOD)
