# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a run needs of this machine, looked at one by one, with the way out of each fault."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kbtf_ci.container import base, image
from kbtf_ci.container.daemon import is_private
from kbtf_ci.container.engine import Engine
from kbtf_ci.container.places import own_socket, url_of
from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.guest.accel import kvm_works, remembered
from kbtf_ci.host import needs
from kbtf_ci.host.programs import kept_runner
from kbtf_ci.host.runner import search_path
from kbtf_ci.infra.cachedirs import disk_bytes
from kbtf_ci.infra.engines import EngineKind, chosen
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.runner import Command, Mount, Runner, run
from kbtf_ci.objfile.archive.reader import WAY_OUT, has_libarchive

State = Literal["ok", "warn", "bad"]

_GB = 10**9
_PARTS = ("source", "build", "packages", "ccache", "btf")
# Measured: images 0.9 GB, a kernel's source 1.7 GB, its build 1 GB (smoke) to several GB (all modules with
# debug information), and ccache keeps the objects once more.
_DISK_BAD = 5 * _GB
_DISK_WARN = 15 * _GB
# pahole holds all types of vmlinux at once, beside a guest of 1 to 2 GB in a later stage.
_MEMORY_WARN = 4 * _GB
_GROUPS_KEPT = (
    'with Podman before 5.1 put annotations = ["run.oci.keep_original_groups=1"] below [containers] into '
    "~/.config/containers/containers.conf, and have crun"
)


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``bad`` keeps a run from working, ``warn`` makes it slower or riskier."""

    subject: str
    state: State
    detail: str
    remedy: str = ""


def _kvm_runs(runner: Runner) -> str:
    return remembered() or kvm_works(runner)


def examine(kvm: Callable[[Runner], str] = _kvm_runs) -> list[Finding]:
    """Return all findings. Nothing is installed, started or built.

    ``kvm`` runs a guest in KVM and returns "" or why it did not.
    """
    look = _host if chosen() is EngineKind.HOST else _engine
    return [*look(kvm), *_cache(), _libarchive(), examine_memory(), _cores()]


def _libarchive() -> Finding:
    if has_libarchive():
        return Finding("libarchive", "ok", "there: packages of every distribution are read")
    return Finding("libarchive", "warn", "not there: of packages only Debian's are read", WAY_OUT)


def _host(kvm: Callable[[Runner], str]) -> Iterator[Finding]:
    yield Finding("engine", "ok", "host: this machine's own programs, not isolated")
    found = needs.examine(search_path())
    yield from (_program(one) for one in found)
    if any(one.bars for one in found):
        return
    versions = {one.need.name: one.version for one in found if one.version}
    with suppress(UsageError):  # said of the cache itself
        runner = kept_runner(versions, cache_root() / "programs")
        if runner is None:
            yield Finding("own programs", "warn", "not made yet", "run `kbtf-ci setup --engine host`")
            return
        yield Finding("own programs", "ok", "there")
        yield _kvm(kvm(runner))
        if "ccache" in versions:
            yield _ccache(runner, cache_root() / "ccache")


def _program(found: needs.Found) -> Finding:
    state: State = "bad" if found.bars else "warn" if found.fault else "ok"
    remedy = f"apt-get install {found.need.package}" if found.fault else ""
    return Finding(found.need.name, state, found.fault or found.version, remedy)


def _cache() -> Iterator[Finding]:
    try:
        root = cache_root()
        yield _held(root)
        yield _disk(root)
    except UsageError as error:
        yield Finding("cache", "bad", error.message, error.hint)


def _held(root: Path) -> Finding:
    """Return the finding on what the cache holds; images are the engine's."""
    sizes = {name: disk_bytes(root / name) for name in _PARTS}
    parts = ", ".join(f"{name} {size / _GB:.1f}" for name, size in sizes.items() if size)
    detail = f"{sum(sizes.values()) / _GB:.1f} GB in {root}" + (f" ({parts})" if parts else "")
    return Finding("cache", "ok", f"{detail}; `kbtf-ci prune` frees what is no longer used")


def _engine(kvm: Callable[[Runner], str]) -> Iterator[Finding]:
    try:
        engine = Engine.connect()
    except UsageError:  # said of the cache itself, where our own daemon's socket would be
        yield Finding("container engine", "bad", "none answers outside of the cache, which is none")
        return
    except InfrastructureError as error:
        yield Finding("container engine", "bad", error.message, error.hint)
        return
    version = f"{engine.name} {engine.version}, API {engine.address.api_version}, {engine.address.url}"
    yield Finding("container engine", "ok", f"{version}{' (rootless)' if engine.rootless else ''}")
    yield from _own_daemon(engine)
    yield from judge_storage(engine)
    name = image.image_name(image.DEFAULT_SUITE)
    if not base.present(engine.address, name):
        yield Finding("toolchain image", "warn", f"{name} is not built yet", "run `kbtf-ci setup`")
        return
    yield Finding("toolchain image", "ok", name)
    runner = engine.runner(name)
    yield _kvm(kvm(runner))
    with suppress(UsageError):  # said of the cache itself
        yield _ccache(runner, cache_root() / "ccache")


def _own_daemon(engine: Engine) -> Iterator[Finding]:
    with suppress(UsageError):
        socket = own_socket()
        if engine.address.url == url_of(socket) and not is_private(socket.parent):
            detail = f"{socket.parent} is open to other users, and its socket makes them root"
            yield Finding("engine's folder", "warn", detail, "run `kbtf-ci setup`, which closes it")


def judge_storage(engine: Engine) -> Iterator[Finding]:
    """Yield the finding on an engine that shares no file between an image and its containers."""
    if engine.storage != "vfs":
        return
    way_out = "another storage driver"
    if engine.name == "Podman":
        file = "~/.config/containers/storage.conf" if engine.rootless else "/etc/containers/storage.conf"
        way_out = f'put driver = "overlay" below [storage] into {file}, then run `podman system reset`'
    detail = f"{engine.name} stores with vfs, which begins each container with a copy of the whole image"
    yield Finding("engine's storage", "warn", detail, way_out)


def _kvm(reason: str) -> Finding:
    if not reason:
        return Finding("KVM", "ok", "a guest runs in it")
    return Finding("KVM", "warn", f"guests are emulated, which is slower: {reason}", _kvm_remedy(reason))


def _kvm_remedy(reason: str) -> str:
    device = Path("/dev/kvm")
    open_to_group = device.exists() and stat.filemode(device.stat().st_mode)[4:6] == "rw"
    if open_to_group and not os.access(device, os.R_OK | os.W_OK):
        return f"join the group {device.group()} that {device} belongs to"
    if "Permission denied" in reason and os.access(device, os.R_OK | os.W_OK) and os.geteuid() != 0:
        return _GROUPS_KEPT  # this user may open it, the user's containers may not
    return ""


def _ccache(runner: Runner, folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding("ccache", "ok", "empty: the first build fills it")
    command = Command(
        ("ccache", "--print-stats"),
        mounts=(Mount(folder, "/ccache"),),
        env={"CCACHE_DIR": "/ccache"},
        label="ccache statistics",
    )
    try:
        output = run(runner, command).text
    except InfrastructureError as error:
        return Finding("ccache", "warn", error.message)
    counts = {name: int(count) for name, count in re.findall(r"^(\w+)\t(\d+)$", output, re.MULTILINE)}
    hits = counts.get("direct_cache_hit", 0) + counts.get("preprocessed_cache_hit", 0)
    calls = hits + counts.get("cache_miss", 0)
    size = counts.get("cache_size_kibibyte", 0) * 1024
    return Finding("ccache", "ok", f"{size / _GB:.1f} GB, {hits} of {calls} compilations found in it")


def _disk(folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    return judge_disk(shutil.disk_usage(existing).free, existing)


def judge_disk(free: int, folder: Path) -> Finding:
    """Return the finding on ``free`` bytes in ``folder``."""
    state: State = "bad" if free < _DISK_BAD else "warn" if free < _DISK_WARN else "ok"
    remedy = "" if state == "ok" else "run `kbtf-ci prune`, or set KBTF_CI_CACHE to a folder on a larger disk"
    return Finding("disk", state, f"{free / _GB:.0f} GB free in {folder}", remedy)


def examine_memory(meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """Return the finding on the memory that proc(5)'s ``meminfo`` calls available."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo.read_text(), re.MULTILINE)
    available = int(found[1]) * 1024 if found else 0
    detail = f"{available / _GB:.1f} GB available"
    if available < _MEMORY_WARN:
        return Finding(
            "memory", "warn", detail, f"linking vmlinux and its BTF wants {_MEMORY_WARN // _GB} GB"
        )
    return Finding("memory", "ok", detail)


def _cores() -> Finding:
    return Finding("cores", "ok", str(len(os.sched_getaffinity(0))))
