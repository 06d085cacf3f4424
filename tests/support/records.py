# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Records of runs, by what run.json would hold."""

from __future__ import annotations

import json
from typing import Any

from kbtf_ci.model.run_record import RUN_SCHEMA, RunRecord


def run_record(**values: Any) -> RunRecord:
    """Return the record that a run.json of these keys is read as."""
    return RunRecord.parse(json.dumps({"schema": RUN_SCHEMA, **values}).encode())
