# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The reports of a run directory, all made from its results.json."""

from __future__ import annotations

from collections.abc import Mapping

from kbtf_ci.infra import rundir
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.results import Results
from kbtf_ci.report.junit import junit
from kbtf_ci.report.ktap import ktap
from kbtf_ci.report.markdown import markdown


def write_reports(directory: RunDirectory, results: Results, stages: Mapping[str, float]) -> None:
    """Write what people and CI systems read beside results.json; ``stages`` are in seconds."""
    rundir.write_text(directory.file("results.ktap"), ktap(results))
    rundir.write_text(directory.file("summary.md"), markdown(results, stages))
    rundir.write_text(directory.file("junit.xml"), junit(results))
