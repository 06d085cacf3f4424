# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The guest's initramfs: the image's root archive, the modules, and the keys of this run."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.guest.cpio import CpioWriter
from kbtf_ci.guest.keys import GuestKeys
from kbtf_ci.guest.modprobe import (
    MODULES,
    carrier_file,
    guest_file,
    modules_alias,
    modules_dep,
    with_soft_dependencies,
)
from kbtf_ci.infra.runner import Command, Runner, run
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadMode
from kbtf_ci.objfile.elf import modinfo_values

ROOT_ARCHIVE = "/usr/lib/kbtf-ci/guest-root.cpio"
NEEDED = PurePosixPath("lib/needed")


@dataclass(frozen=True)
class EarlyModule:
    """A module that the guest loads for real before it has a network; ``content`` is plain ELF."""

    name: str
    content: bytes


@dataclass(frozen=True)
class GuestImage:
    """What a guest boots from, next to its kernel, and the keys it knows.

    ``present`` names the modules that are loaded when it answers.
    """

    initramfs: Path
    keys: GuestKeys
    present: frozenset[str] = frozenset()


def root_archive(runner: Runner) -> bytes:
    """Return the archive of the guest's own programs, out of the toolchain image.

    Raises InfrastructureError for an image without one.
    """
    done = run(runner, Command(("cat", ROOT_ARCHIVE), label="guest root archive"))
    if done.status != 0:
        raise InfrastructureError(
            f"the toolchain image has no {ROOT_ARCHIVE} (cat ended with status {done.status})",
            hint="remove the image, so that it is made anew",
        )
    return done.output


def make_image(
    root: bytes,
    folder: Path,
    modules_dir: Path = Path(),
    modules: Sequence[Module] = (),
    early_modules: Sequence[EarlyModule] = (),
    *,
    archives: Sequence[Path] = (),
    release: str = "",
) -> GuestImage:
    """Write ``initramfs.cpio`` and the client key ``ssh-key`` into ``folder``.

    ``root`` is root_archive()'s. ``modules_dir`` holds each module at its ``file``, stripped of what the
    kernel does not read; ``archives`` are cpio archives with more of them. ``early_modules`` come in the
    order they are loaded in. With a ``release`` the modules lie below its folder, for modprobe; the probe
    finds those of an image without. Raises UsageError for a module that is not there, InfrastructureError
    for a full disk.
    """
    keys = GuestKeys.generate()
    target = folder / "initramfs.cpio"
    try:
        with _made_whole(target) as stream:
            _append(stream, io.BytesIO(root))
            for archive in archives:
                with archive.open("rb") as content:
                    _append(stream, content)
            _write_modules(stream, modules_dir, modules, MODULES / release)
            if release:
                _write_for_modprobe(stream, modules_dir, modules, MODULES / release)
            _write_early_modules(stream, early_modules)
            _write_keys(stream, keys)
        keys.write_client(folder / "ssh-key")
    except OSError as error:
        raise InfrastructureError(f"cannot write the guest's initramfs {target}: {error.strerror}") from error
    return GuestImage(target, keys, frozenset(one.name for one in early_modules))


def guest_path(mode: LoadMode, module: Module) -> PurePosixPath:
    """Return where the guest finds the module, or with mode ``carrier`` its carrier."""
    file = carrier_file(module) if mode is LoadMode.CARRIER else guest_file(module)
    return PurePosixPath("/") / MODULES / file


@contextmanager
def _made_whole(target: Path) -> Iterator[BinaryIO]:
    """Give a file to write to that becomes ``target``, which need not outlive a crash of the machine."""
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as stream:
            yield stream
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _append(stream: BinaryIO, archive: BinaryIO) -> None:
    shutil.copyfileobj(archive, stream, 1 << 20)
    stream.write(bytes(-stream.tell() % 4))


def _write_modules(
    stream: BinaryIO, modules_dir: Path, modules: Sequence[Module], tree: PurePosixPath
) -> None:
    archive = CpioWriter(stream)
    for module in modules:
        source = modules_dir / module.file
        if not source.is_file():
            raise UsageError(f"the module {module.name} is not there: {source}")
        path = tree / guest_file(module)
        archive.folder(path.parent)
        archive.file(path, source)
    archive.close()


def _write_for_modprobe(
    stream: BinaryIO, modules_dir: Path, modules: Sequence[Module], tree: PurePosixPath
) -> None:
    archive = CpioWriter(stream)
    aliases = {module.name: modinfo_values(modules_dir / module.file, "alias") for module in modules}
    soft = {module.name: modinfo_values(modules_dir / module.file, "softdep") for module in modules}
    modules = with_soft_dependencies(modules, soft, aliases)
    archive.folder(tree)
    archive.data(tree / "modules.dep", modules_dep(modules).encode(), 0o644)
    archive.data(tree / "modules.alias", modules_alias(aliases).encode(), 0o644)
    archive.close()


def _write_early_modules(stream: BinaryIO, early_modules: Iterable[EarlyModule]) -> None:
    archive = CpioWriter(stream)
    archive.folder(NEEDED)
    for number, one in enumerate(early_modules):
        # The order in the name: init loads them as its shell sorts them.
        archive.data(NEEDED / f"{number:03}-{one.name}.ko", one.content, 0o644)
    archive.close()


def _write_keys(stream: BinaryIO, keys: GuestKeys) -> None:
    archive = CpioWriter(stream)
    archive.folder(PurePosixPath("etc/dropbear"))
    archive.data(PurePosixPath("etc/dropbear/host_key"), keys.host, 0o600)
    # dropbear refuses authorized_keys below a folder that others may write to.
    archive.folder(PurePosixPath("root/.ssh"), 0o700)
    archive.data(PurePosixPath("root/.ssh/authorized_keys"), keys.client_public.encode() + b"\n", 0o600)
    archive.close()


def check_memory(initramfs: Path, memory_mib: int) -> None:
    """Raise UsageError when the guest's memory cannot hold the initramfs twice, packed and unpacked."""
    size_mib = initramfs.stat().st_size >> 20
    needed = 2 * size_mib + _KERNEL_MIB
    if memory_mib < needed:
        raise UsageError(
            f"a guest of {memory_mib} MiB cannot unpack an initramfs of {size_mib} MiB",
            hint=f"give it {needed} MiB or more (-m {needed})",
        )


def default_memory_mib(initramfs: Path) -> int:
    """Return a guest's memory in MiB that holds the initramfs twice, and as much again of loaded modules."""
    return max(_LEAST_MIB, 3 * (initramfs.stat().st_size >> 20) + _LEAST_MIB)


_KERNEL_MIB = 160
_LEAST_MIB = 1024
