# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whose fault a failed make is, told from the words of the programs that it runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kbtf_ci.kernel.diagnostics import Diagnostics

_BELOW = (
    "make[1]: *** [/src/Makefile:236: __sub-make] Error 2\nmake: *** [Makefile:236: __sub-make] Error 2\n"
)


@pytest.mark.parametrize(
    "line",
    [
        "gcc: fatal error: Killed signal terminated program cc1",
        "collect2: fatal error: ld terminated with signal 9 [Killed]",
        "clang-19: error: unable to execute command: Killed",
        "Killed",
        "scripts/link-vmlinux.sh: line 161: 40210 Killed                  ${PAHOLE} -J ${PAHOLE_FLAGS} ${1}",
        "/bin/sh: line 1: 40210 Killed                  ld -r -o fs/xfs/xfs.ko",
        "make[3]: *** [/src/scripts/Makefile.build:229: fs/xfs/xfs_aops.o] Killed",
        "make[1]: *** [/src/Makefile:1167: vmlinux] Error 137",
        "xargs: sh: terminated by signal 9",
        "cc1: out of memory allocating 65536 bytes after a total of 0 bytes",
        "ld: final link failed: memory exhausted",
        "sh: 0: Cannot fork: Cannot allocate memory",
    ],
)
def test_a_program_that_was_killed_is_the_machines_fault(line: str) -> None:
    fault = Diagnostics(f"  CC      fs/xfs/xfs_aops.o\n{line}\n{_BELOW}").machine_fault(2, "/cache")
    assert fault is not None
    assert "killed or got no memory: " in fault.message
    assert "-j" in fault.hint


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "/src/a.c:1:1: fatal error: error writing to /build/x.s: No space left on device",
            "no space",
        ),
        ("ld: final link failed: Disk quota exceeded", "disk quota exceeded"),
        ("as: BFD: read failed: Input/output error", "input/output error"),
        ("make[2]: fs/xfs: Too many open files", "too many open files"),
    ],
)
def test_what_the_disk_or_a_limit_refused_names_the_place(line: str, reason: str) -> None:
    fault = Diagnostics(f"{line}\n{_BELOW}").machine_fault(2, "/cache/build", " (log: x)")
    assert fault is not None
    assert fault.message.startswith(f"/cache/build: {reason}")
    assert fault.message.endswith("(log: x)")


@pytest.mark.parametrize(
    "text",
    [
        "/src/mm/oom_kill.c:9:3: error: 'oops' undeclared\n    9 |  pr_err(\"Out of memory\");\n",
        ' pr_err("No space left on device")\n/src/fs/x.c:9:3: error: no\n',
        "  CC      mm/oom_kill.o\nld: x.o: undefined reference to `Killed'\n",
        "gcc: internal compiler error: Segmentation fault signal terminated program cc1\n",
        "make[3]: *** [/src/scripts/Makefile.build:229: mm/oom_kill.o] Error 1\n",
    ],
)
def test_what_the_kernel_did_wrong_stays_its_own(text: str) -> None:
    assert Diagnostics(text + _BELOW).machine_fault(2, "/cache") is None


def test_make_itself_ended_by_a_signal_is_the_machines_fault() -> None:
    fault = Diagnostics("  CC      init/main.o\n").machine_fault(137, "/cache")
    assert fault is not None
    assert fault.message == "make was ended by signal 9"


@pytest.mark.parametrize(
    ("first", "missing"),
    [
        ("/bin/sh: 1: clang: not found", "clang"),
        ("sh: line 1: clang: command not found", "clang"),
        ("scripts/Kconfig.include:40: C compiler 'clang' not found", "clang"),
        ("scripts/Kconfig.include:41: linker 'nold' not found", "nold"),
        ('ccache: error: Could not find compiler "nogcc" in PATH', "nogcc"),
        ("/src/Makefile:700: /src/arch/foo/Makefile: No such file or directory", ""),
        ("scripts/Kconfig.include:45: Sorry, this C compiler is not supported.", ""),
        ("fs/xfs/Kconfig:3: syntax error", ""),
    ],
)
def test_the_first_error_stands_before_makes_own_and_names_what_is_missing(first: str, missing: str) -> None:
    found = Diagnostics(f"{first}\n{_BELOW}")
    assert found.first_error == first.replace("/src/", "")
    assert found.missing == missing


def test_a_real_make_that_lacks_a_program_names_it(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(
        "shell:\n\t@no-such-clang --version; true && exit 127\nown:\n\tno-such-cc a.c\n"
    )
    for target, missing in (("shell", "no-such-clang"), ("own", "no-such-cc")):
        done = subprocess.run(
            ["make", "-C", str(tmp_path), target],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert Diagnostics(done.stdout).missing == missing, done.stdout


def test_silence_is_said_to_be_such() -> None:
    assert Diagnostics("").first_error == "make said no reason"
