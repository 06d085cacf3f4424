# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Full BTF: the DWARF of each module encoded again with no base, only to learn how large it becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.infra.runner import SCRATCH, Command, Mount, Runner
from kbtf_ci.kernel import encode_worker
from kbtf_ci.kernel.pahole import ALLOCATION, Pahole

_MODULES = "/modules"
_WORKER = "/opt/kbtf-ci/encode_worker.py"


@dataclass(frozen=True)
class Encoded:
    """One module's full BTF: its size in bytes, or 0 and pahole's word for why there is none."""

    file: str
    full_bytes: int
    fault: str = ""


def encode(
    runner: Runner,
    tree: Path,
    files: Iterable[str],
    pahole: Pahole,
    *,
    jobs: int,
    on_encoded: Callable[[Encoded], None],
) -> None:
    """Encode ``files`` (paths below ``tree``) with ``jobs`` paholes at a time and tell each as it ends.

    The modules are only read. A module that pahole refuses is told with its fault, and the rest goes on.
    Raises InfrastructureError when the work itself cannot be done.
    """
    # The largest first: none of them is then left over to run alone at the end.
    ordered = sorted(files, key=lambda file: ((tree / file).stat().st_size, file), reverse=True)
    if not ordered:
        return
    call = (pahole.program, "-J", *pahole.flags)
    command = Command(
        ("python3", "-I", _WORKER, SCRATCH, str(jobs), *call, "--", *ordered),
        (Mount(tree, _MODULES), Mount(Path(encode_worker.__file__), _WORKER), *pahole.mounts),
        ALLOCATION,
        workdir=_MODULES,
        label="encode",
    )
    lines = _Lines(on_encoded)
    with runner.start(command) as process:
        while piece := process.read():
            lines.feed(piece)
        status = process.wait()
    if status != 0:
        raise InfrastructureError(f"{tree}: encoding ended with exit status {status}: {lines.last_words}")


class _Lines:
    """Takes the worker's output apart; what is no line of its own is kept as its last words."""

    def __init__(self, on_encoded: Callable[[Encoded], None]) -> None:
        self._on_encoded = on_encoded
        self._rest = b""
        self.last_words = "it said nothing"

    def feed(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._line(line.decode(errors="replace"))

    def _line(self, line: str) -> None:
        size, *rest = line.split("\t")
        if size.isdecimal() and len(rest) == 2:
            self._on_encoded(Encoded(rest[0], int(size), rest[1]))
        else:
            self.last_words = line
