# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs in the toolchain container, not in kbtf-ci: pahole over many modules, as many at a time as asked for.

    python3 encode_worker.py SCRATCH JOBS PAHOLE... -- MODULE...

For each module that ends it prints a line ``BYTES<tab>MODULE<tab>FAULT``: the size of its full BTF, or 0 and
what pahole said in place of it. It starts nothing but pahole; a shell and a ``wc`` for every module cost a
tenth of pahole's own time. It imports only what the images' python3-minimal holds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(scratch: Path, jobs: int, call: list[str], modules: list[str]) -> None:
    """Encode ``modules`` in their order; the bytes are gone when it ends, only their number is told.

    ``scratch`` is a folder for them, taken away at the end.
    """
    scratch.mkdir(exist_ok=True)
    free = [scratch / str(number) for number in range(jobs)]
    running: dict[int, tuple[str, Path]] = {}
    try:
        for module in modules:
            if not free:
                free.append(_reap(running))
            slot = free.pop()
            running[_start(call, module, slot)] = (module, slot)
        while running:
            _reap(running)
    finally:
        for left_over in scratch.iterdir():
            left_over.unlink()
        scratch.rmdir()


def _start(call: list[str], module: str, slot: Path) -> int:
    output = slot.with_suffix(".btf")
    # pahole 1.30 opens it without O_TRUNC: behind a smaller module's BTF stood what the last one left.
    output.unlink(missing_ok=True)
    words = slot.with_suffix(".txt")
    return os.posix_spawnp(
        call[0],
        [*call, f"--btf_encode_detached={output}", module],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, str(words), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )


def _reap(running: dict[int, tuple[str, Path]]) -> Path:
    pid, status = os.wait()
    module, slot = running.pop(pid)
    size, fault = _outcome(os.waitstatus_to_exitcode(status), slot)
    sys.stdout.write(f"{size}\t{module}\t{fault}\n")
    sys.stdout.flush()
    return slot


def _outcome(code: int, slot: Path) -> tuple[int, str]:
    output = slot.with_suffix(".btf")
    size = output.stat().st_size if output.exists() else 0
    if code == 0 and size:
        return size, ""
    if code < 0:
        return 0, f"killed by signal {-code}"
    words = slot.with_suffix(".txt").read_text(errors="replace").split()
    return 0, " ".join(words) or ("it wrote no BTF" if code == 0 else f"exit status {code}")


if __name__ == "__main__":
    _end = sys.argv.index("--")
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:_end], sys.argv[_end + 1 :])
