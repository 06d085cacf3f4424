# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import json
from pathlib import Path

from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.results import Results
from kbtf_ci.workflow.reports import toolchain_note, write_reports

RESULTS = Results.of({"schema": "kbtf-ci/results/1", "kernel": {"release": "6.12.3"}, "modules": []})


def written(folder: Path, image: str) -> RunDirectory:
    folder.mkdir()
    toolchain = {"image": image, "suite": image, "packages": {"gcc": "14.2.0"}}
    (folder / "run.json").write_text(json.dumps({"schema": "kbtf-ci/run/1", "toolchain": toolchain}))
    directory = RunDirectory(folder)
    write_reports(directory, RESULTS)
    return directory


def test_reports_say_where_nothing_was_isolated(tmp_path: Path) -> None:
    directory = written(tmp_path / "host", "host")
    assert toolchain_note(directory).startswith("not isolated: ")
    assert directory.file("summary.md").read_text().endswith(f"\n\n{toolchain_note(directory)}\n")
    page = directory.report_html.read_text()
    assert "host (not isolated: " in page
    assert "14.2.0" in page


def test_of_a_container_nothing_is_said(tmp_path: Path) -> None:
    directory = written(tmp_path / "image", "kbtf-ci/toolchain:trixie-0")
    assert toolchain_note(directory) == ""
    assert "isolated" not in directory.file("summary.md").read_text() + directory.report_html.read_text()
