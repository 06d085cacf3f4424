# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Files that cannot be read or written: the user's fault, or the machine's."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError, UsageError, file_error


def test_a_file_that_is_not_there_is_the_users(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "no").read_bytes()
    error = file_error(caught.value, tmp_path / "no", "cannot be read", hint="name another")
    assert isinstance(error, UsageError)
    assert error.message == f"{tmp_path}/no: cannot be read: No such file or directory"
    assert error.hint == "name another"


def test_a_full_disk_is_the_machines() -> None:
    with pytest.raises(OSError, match="No space left") as caught, Path("/dev/full").open("wb", 0) as file:
        file.write(b"x")
    assert isinstance(file_error(caught.value, "x", "cannot be written"), InfrastructureError)


# Readers of files that a user names.
READERS = {
    "module": "from kbtf_ci.objfile.compression import load; load(p, 1)",
    "image": "from kbtf_ci.objfile.boot_image import read_release; read_release(p)",
    "package": "from kbtf_ci.kernel.packages import is_package; is_package(p)",
    "makefile": "from kbtf_ci.kernel.modfinal import read_rule; read_rule(p.parent)",
    "tarball": "from kbtf_ci.kernel.source import from_tarball; from_tarball(p, p.parent / 'cache')",
    "run": "from kbtf_ci.infra.rundir import RunDirectory; RunDirectory(p.parent).read_record()",
}


@pytest.mark.parametrize("reader", READERS)
def test_a_process_out_of_descriptors_is_not_the_users_fault(reader: str, tmp_path: Path) -> None:
    path = tmp_path / ("run.json" if reader == "run" else "x")
    path.write_text("x")
    call, _, use = READERS[reader].partition("; ")
    script = (
        f"import os, sys; from pathlib import Path; from kbtf_ci.errors import KbtfError; {call}\n"
        "p = Path(sys.argv[1])\n"
        "try:\n    while True: os.dup(1)\n"
        "except OSError: pass\n"
        f"try: {use}\n"
        "except KbtfError as error: os.write(1, f'{int(error.exit_code)} {error.message}'.encode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )  # fmt: skip
    assert done.stdout.startswith("5 "), done.stdout + done.stderr
    assert done.stdout.endswith("Too many open files")
