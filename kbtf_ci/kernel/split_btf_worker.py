# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs in the toolchain container, not in kbtf-ci: modules get their split BTF, some at a time.

    python3 split_btf_worker.py WORK JOBS whole|detached FOLDER... -- PAHOLE...

``WORK/list`` has two words a module, a zero byte behind each: the number of its folder among ``FOLDER...``,
and its path there. The modules are only read: of number N a copy with its BTF becomes ``WORK/N.ko``, or its
BTF alone ``WORK/N.btf``. For each that ends a line ``N<tab>FAULT<tab>WORDS`` is printed: why it has none, and
what pahole said besides. It imports only what the images' python3-minimal holds.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path


def main(work: Path, jobs: int, *, detached: bool, folders: list[str], call: list[str]) -> None:
    """Give the modules of the list their BTF, in its order."""
    running: dict[int, int] = {}
    for number, source in enumerate(_listed(work / "list", folders)):
        if len(running) == jobs:
            _reap(running, work)
        try:
            running[_start(call, work, number, source, detached=detached)] = number
        except OSError as error:
            if error.filename == call[0]:
                raise
            _tell(number, f"cannot be copied: {error.strerror}", "")
    while running:
        _reap(running, work)


def _listed(path: Path, folders: list[str]) -> Iterator[str]:
    words = path.read_bytes().split(b"\0")[:-1]
    for folder, file in zip(words[::2], words[1::2], strict=True):
        yield str(Path(folders[int(folder)], os.fsdecode(file)))


def _start(call: list[str], work: Path, number: int, source: str, *, detached: bool) -> int:
    module = work / f"{number}.ko"
    if detached:
        call = [*call, f"--btf_encode_detached={work / str(number)}.btf"]
        module.symlink_to(source)
    else:
        shutil.copyfile(source, module)
    words = work / f"{number}.txt"
    return os.posix_spawnp(
        call[0],
        [*call, str(module)],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, str(words), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )


def _reap(running: dict[int, int], work: Path) -> None:
    pid, status = os.wait()
    number = running.pop(pid)
    words = work / f"{number}.txt"
    said = " ".join(words.read_text(errors="replace").split())
    words.unlink()
    code = os.waitstatus_to_exitcode(status)
    fault = ""
    if code:
        fault = f"killed by signal {-code}" if code < 0 else said or f"exit status {code}"
        for left in (work / f"{number}.ko", work / f"{number}.btf"):
            left.unlink(missing_ok=True)
    _tell(number, fault, "" if fault == said else said)


def _tell(number: int, fault: str, said: str) -> None:
    sys.stdout.write(f"{number}\t{fault}\t{said}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _end = sys.argv.index("--")
    main(
        Path(sys.argv[1]),
        int(sys.argv[2]),
        detached=sys.argv[3] == "detached",
        folders=sys.argv[4:_end],
        call=sys.argv[_end + 1 :],
    )
