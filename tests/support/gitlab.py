# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs the script of a GitLab job as its runner does: all lines in one bash, which the first failure ends.

Read in gitlab-runner: shells/bash.go (set -eo pipefail, the lines of before_script and script in a row).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.composite import read_yaml


def job(file: Path, name: str, project: Path, env: Mapping[str, str], *, parts: tuple[str, ...]) -> str:
    """Run ``parts`` (before_script, script) of a job in ``project`` and return what it printed.

    ``env`` goes before the job's own variables. Raises CalledProcessError, with its output, where it fails.
    """
    document = read_yaml(file)[name]
    given = document["variables"].items()
    own = {name: value.replace("$CI_PROJECT_DIR", str(project)) for name, value in given}
    lines = ["set -eo pipefail", *(line for part in parts for line in document[part])]
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", "\n".join(lines)],
        cwd=project, env={"CI_PROJECT_DIR": str(project), **own, **env}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True, text=True,
    )  # fmt: skip
    return done.stdout
