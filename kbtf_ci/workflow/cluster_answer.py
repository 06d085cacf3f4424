# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What comes back of a cell from a worker: held to the cell that was asked for, its files written."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kbtf_ci import __version__
from kbtf_ci.errors import file_error
from kbtf_ci.infra.whole import whole_file
from kbtf_ci.model.matrix import Cell
from kbtf_ci.model.matrix_results import CellResult
from kbtf_ci.report.matrix import result_of
from kbtf_ci.workflow import cluster_task

_MOST_FILES: Final = 32 << 20  # bytes of all files of one cell
_NAMES: Final = (cluster_task.LOG, *cluster_task.FILES)


@dataclass(frozen=True)
class Answer:
    """A cell's result with its worker's name, its files by name, and which stayed there as too large."""

    result: CellResult
    files: Mapping[str, bytes]
    left_out: tuple[str, ...]

    @classmethod
    def parse(cls, cell: Cell, text: str) -> Answer:
        """Return the answer in a document. Raises ValueError or KeyError for one that is not this cell's."""
        values = json.loads(text)
        result = result_of(values["result"])
        if (result.name, result.digest) != (cell.name, cell.digest):
            raise ValueError(f"the answer is another cell's: {result.name}")
        if result.kbtf_ci != __version__:
            raise ValueError(f"it was run by kbtf-ci {result.kbtf_ci}, and this is {__version__}")
        files = _files(values["files"])
        left = {*values["files"], *values["left_out"]} - files.keys()
        known = tuple(name for name in _NAMES if name in left)
        return cls(replace(result, run="", worker=str(values["worker"])), files, known)

    def kept(self, folder: Path) -> CellResult:
        """Write the files in the place of what lies in a cell's folder, and return the result with its run.

        Raises InfrastructureError or UsageError where they cannot be written.
        """
        run = folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            for name, data in self.files.items():
                with whole_file((folder if name == cluster_task.LOG else run) / name) as file:
                    file.write(data)
        except OSError as error:
            raise file_error(error, folder, "cannot be written") from error
        return replace(self.result, run=str(run) if run.is_dir() else "")


def _files(values: Mapping[str, Mapping[str, str]]) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for name in _NAMES:
        if name not in values:
            continue
        data = base64.b64decode(values[name]["base64"], validate=True)
        if hashlib.sha256(data).hexdigest() != values[name]["sha256"]:
            raise ValueError(f"{name} is not whole")
        if sum(map(len, found.values())) + len(data) <= _MOST_FILES:
            found[name] = data
    return found
