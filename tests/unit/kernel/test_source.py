# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import socketserver
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.infra.locks import if_free, use_mark_of
from kbtf_ci.kernel.source import from_directory, from_tarball, from_url
from tests.conftest import unavailable
from tests.support import faketree


def tarball(path: Path, tree: Path | None = None, members: Iterable[tarfile.TarInfo] = ()) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        if tree is not None:
            archive.add(tree, "linux-6.12.3")
        for member in members:
            archive.addfile(member, io.BytesIO(b""))
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "www"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
    ) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def test_a_tree_tells_its_version(tmp_path: Path) -> None:
    source = from_directory(faketree.plant(tmp_path))
    assert (source.version, source.fixed) == ("6.12.3-fake", False)


def test_a_folder_that_is_no_kernel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n")
    with pytest.raises(UsageError, match="not a kernel source tree"):
        from_directory(tmp_path)


def test_a_tree_that_was_built_in_place_is_refused_with_the_way_out(tmp_path: Path) -> None:
    tree = faketree.plant(tmp_path)
    (tree / ".config").touch()
    with pytest.raises(UsageError, match="built in place") as caught:
        from_directory(tree)
    assert "make mrproper" in caught.value.hint


def test_a_tarball_is_unpacked_once(tmp_path: Path) -> None:
    path = tarball(tmp_path / "linux.tar.xz", faketree.plant(tmp_path))
    source = from_tarball(path, tmp_path / "cache")
    assert (source.version, source.fixed) == ("6.12.3-fake", True)
    (source.path / "mark").touch()
    assert (from_tarball(path, tmp_path / "cache").path / "mark").exists()


def _empty(target: Path) -> None:
    target.mkdir(parents=True)


def _other_layout(target: Path) -> None:
    (target / "linux-6.12").mkdir(parents=True)
    (target / "linux-6.12/Makefile").write_text("VERSION = 6\n")


def _file(target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(b"\0garbage")


def _link(target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.symlink_to("nowhere")


@pytest.mark.parametrize("made", [_empty, _other_layout, _file, _link])
def test_what_a_restored_cache_has_in_a_trees_place_and_is_none_is_unpacked_again(
    tmp_path: Path, made: Callable[[Path], None]
) -> None:
    path = tarball(tmp_path / "linux.tar.xz", faketree.plant(tmp_path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    target = tmp_path / "cache" / f"tarball-{digest[:12]}"
    made(target)
    source = from_tarball(path, tmp_path / "cache")
    assert (source.path, source.version) == (target, "6.12.3-fake")
    assert (target / "Kconfig").is_file()


@pytest.mark.parametrize("name", ["../escape", "/etc/escape"])
def test_an_archive_member_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = tarball(
        tmp_path / "evil.tar.xz", faketree.plant(tmp_path), [tarfile.TarInfo(f"linux/../../{name}")]
    )
    with pytest.raises(UsageError, match="unsafe archive member"):
        from_tarball(path, tmp_path / "cache")
    assert not list(tmp_path.rglob("escape"))
    assert not [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("linux-6.12.3/link")
    link.type, link.linkname = tarfile.SYMTYPE, "../../../etc/passwd"
    with pytest.raises(UsageError, match="unsafe archive member"):
        from_tarball(tarball(tmp_path / "evil.tar.xz", None, [link]), tmp_path / "cache")


@pytest.mark.parametrize("data", [b"", b"no archive", b"\xfd7zXZ\0 cut"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.tar.xz"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"x.tar.xz: not a readable tar archive"):
        from_tarball(path, tmp_path / "cache")


def test_a_tarball_without_a_kernel_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="not a kernel source tree"):
        from_tarball(tarball(tmp_path / "x.tar.xz", tmp_path / "empty"), tmp_path / "cache")
    assert not [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]


def test_a_download_is_held_to_its_digest(tmp_path: Path, server: tuple[Path, str]) -> None:
    folder, url = server
    path = tarball(folder / "linux.tar.xz", faketree.plant(tmp_path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    cache = tmp_path / "cache"
    with pytest.raises(UsageError, match=f"its sha256 is {digest}"):
        from_url(f"{url}/linux.tar.xz", "0" * 64, cache, lambda _: None)
    source = from_url(f"{url}/linux.tar.xz", digest.upper(), cache, lambda _: None)
    assert source.version == "6.12.3-fake"
    path.unlink()
    assert from_url(f"{url}/linux.tar.xz", digest, cache, lambda _: None).path == source.path


@pytest.mark.parametrize(
    "spoil", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data + b"x"]
)
def test_a_damaged_download_in_the_cache_is_fetched_again(
    tmp_path: Path, server: tuple[Path, str], spoil: Callable[[bytes], bytes]
) -> None:
    folder, url = server
    path = tarball(folder / "linux.tar.xz", faketree.plant(tmp_path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    cache = tmp_path / "cache"
    said: list[str] = []
    cache.mkdir()
    (cache / f"download-{digest}").write_bytes(spoil(path.read_bytes()))
    assert from_url(f"{url}/linux.tar.xz", digest, cache, said.append).version == "6.12.3-fake"
    assert [words.split()[-1] for words in said] == ["damaged", f"{url}/linux.tar.xz"]
    assert (cache / f"download-{digest}").read_bytes() == path.read_bytes()


def test_a_sound_download_in_the_cache_is_taken(tmp_path: Path) -> None:
    path = tarball(tmp_path / "linux.tar.xz", faketree.plant(tmp_path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "cache").mkdir()
    path.rename(tmp_path / "cache" / f"download-{digest}")
    source = from_url("http://nowhere.invalid/linux.tar.xz", digest, tmp_path / "cache", lambda _: None)
    assert source.version == "6.12.3-fake"


def test_a_download_that_is_cut_off_leaves_nothing_behind(tmp_path: Path) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), Cut) as serving:
        thread = threading.Thread(target=serving.handle_request)
        thread.start()
        with pytest.raises(InfrastructureError, match="cannot be downloaded"):
            from_url(f"http://127.0.0.1:{serving.server_address[1]}/x", "0" * 64, tmp_path, lambda _: None)
        thread.join()
    assert sorted(entry.suffix for entry in tmp_path.iterdir()) == [".lock", ".lock"]


class Cut(socketserver.StreamRequestHandler):
    """Promises more than it sends."""

    def handle(self) -> None:
        self.request.recv(4096)
        self.wfile.write(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf")


def limited_unpacking(
    tmp_path: Path, path: Path, limits: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    """Unpack ``path`` in a process of its own under ``limits``; return its exit code and message."""
    script = (
        "import sys; from pathlib import Path; from kbtf_ci.errors import KbtfError\n"
        "from kbtf_ci.kernel.source import from_tarball\n"
        "try: from_tarball(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except KbtfError as error: print(int(error.exit_code), error.message)\n"
    )
    argv = [*limits, sys.executable, "-c", script, str(path), str(tmp_path / "cache")]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_a_disk_that_is_full_while_unpacking_is_no_fault_of_the_tarball(tmp_path: Path) -> None:
    tree = faketree.plant(tmp_path)
    (tree / "large").write_bytes(bytes(1 << 20))
    path = tarball(tmp_path / "linux.tar.xz", tree)
    (tmp_path / "cache").mkdir()
    small = (
        "unshare",
        "-rm",
        "sh",
        "-c",
        f'mount -t tmpfs -o size=256k none {tmp_path}/cache && exec "$@"',
        "sh",
    )
    if subprocess.run([*small, "true"], capture_output=True, check=False).returncode != 0:
        unavailable("namespaces", "this machine gives no user namespace to mount a small tmpfs in")
    done = limited_unpacking(tmp_path, path, small)
    assert done.stdout == f"5 {path}: cannot be unpacked: No space left on device\n", done.stderr


def test_a_file_that_a_limit_cuts_short_is_no_fault_of_the_tarball(tmp_path: Path) -> None:
    tree = faketree.plant(tmp_path)
    (tree / "large").write_bytes(bytes(1 << 20))
    done = limited_unpacking(tmp_path, tarball(tmp_path / "linux.tar.xz", tree), ("prlimit", "--fsize=65536"))
    assert done.stdout.startswith("5 "), done.stderr
    assert done.stdout.endswith("File too large\n")
    assert [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()] == []


def test_what_a_killed_process_left_half_unpacked_is_swept(tmp_path: Path) -> None:
    path = tarball(tmp_path / "linux.tar.xz", faketree.plant(tmp_path))
    key = f"tarball-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    left_over, of_another = (tmp_path / "cache" / f".unpack-{name}-x" for name in (key, "other"))
    for folder in (left_over, of_another):
        (folder / "linux").mkdir(parents=True)
    from_tarball(path, tmp_path / "cache")
    assert not left_over.exists()
    assert of_another.exists()


def test_a_tree_in_use_is_marked_until_its_process_ends(tmp_path: Path) -> None:
    path = tarball(tmp_path / "linux.tar.xz", faketree.plant(tmp_path))
    limited_unpacking(tmp_path, path, ())
    (tree,) = (entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir())
    with if_free(use_mark_of(tree)) as got:
        assert got
    from_tarball(path, tmp_path / "cache")
    with if_free(use_mark_of(tree)) as got:
        assert not got


def test_a_url_without_a_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs --sha256"):
        from_url("https://example.invalid/linux.tar.xz", "", tmp_path, lambda _: None)


def test_a_download_that_fails_says_so(tmp_path: Path, server: tuple[Path, str]) -> None:
    with pytest.raises(InfrastructureError, match=r"gone.tar.xz: cannot be downloaded"):
        from_url(f"{server[1]}/gone.tar.xz", "0" * 64, tmp_path / "cache", lambda _: None)
