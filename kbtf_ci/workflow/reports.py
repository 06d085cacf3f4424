# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The reports of a run directory, all made from its results.json."""

from __future__ import annotations

import json

from kbtf_ci.infra import rundir
from kbtf_ci.infra.paths import shown_path
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.results import Results
from kbtf_ci.model.run_record import RunRecord
from kbtf_ci.model.sizes import Sizes
from kbtf_ci.report.html.run_page import run_page
from kbtf_ci.report.junit import junit
from kbtf_ci.report.ktap import ktap
from kbtf_ci.report.markdown import markdown
from kbtf_ci.report.sizes import read as read_sizes


def write_reports(directory: RunDirectory, results: Results) -> None:
    """Write what people and CI systems read beside results.json.

    Raises UsageError for a run.json that cannot be read.
    """
    record = _record(directory)
    note = _note(record)
    page = run_page(results, record, _sizes(directory), shown_path(directory.path), note)
    rundir.write_text(directory.report_html, page)
    rundir.write_text(directory.file("results.ktap"), ktap(results))
    text = markdown(results, record.stages if record else {}, note)
    rundir.write_text(directory.file("summary.md"), text)
    rundir.write_text(directory.file("junit.xml"), junit(results))


def toolchain_note(directory: RunDirectory) -> str:
    """Return what reports say of the toolchain besides, "" for nothing.

    Raises UsageError for a run.json that cannot be read.
    """
    return _note(_record(directory))


def _record(directory: RunDirectory) -> RunRecord | None:
    return directory.read_record() if directory.run_json.is_file() else None


def _note(record: RunRecord | None) -> str:
    return record.toolchain.note if record and record.toolchain else ""


def _sizes(directory: RunDirectory) -> Sizes | None:
    """Return what kbtf-ci sizes found; the report does without where that is nothing."""
    try:
        return read_sizes(json.loads(directory.file("sizes.json").read_bytes()))
    except (OSError, ValueError):
        return None
