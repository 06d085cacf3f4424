# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The plugin in sessions of pytest, on run directories that no guest was needed for."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from kbtf_ci.errors import GuestError
from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.vmlinux_seen import VmlinuxSeen
from kbtf_ci.pytest_plugin import fixtures  # noqa: F401 - or each session would read all of it anew
from tests.support import runs

pytest_plugins = ["pytester"]
# Whether it is installed or not: the one that is looked for, and no other.
PLUGIN = ("-p", "no:kbtf-ci", "-p", "kbtf_ci.pytest_plugin.entry")
BAD = "<script>\n\x1b[31m::[x]"
Session = Callable[..., pytest.RunResult]


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.delenv("KBTF_CI_REQUIRE", raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
    return lambda *words: pytester.runpytest_inprocess(*PLUGIN, "-p", "no:cov", *words)


@pytest.fixture
def red(tmp_path: Path) -> str:
    """The option for a run of two good modules and two bad ones, one by its name, too."""
    results = (
        runs.good("snd"),
        runs.good("snd_pcm"),
        runs.refused("xfs", "BPF: Invalid name"),
        runs.refused(BAD, BAD),
    )
    return f"--kbtf-run={runs.written(tmp_path / 'run', *results)}"


@pytest.fixture
def green(tmp_path: Path) -> str:
    return f"--kbtf-run={runs.written(tmp_path / 'run', runs.good('snd'), runs.good('snd_pcm'))}"


OWN = "def test_a(): pass\ndef test_b(): pass\n"
BAD_ID = "kbtf::%3Cscript%3E%0A%1B%5B31m%3A%3A%5Bx%5D"


def test_in_an_empty_folder_every_module_is_a_test(session: Session, red: str) -> None:
    done = session(red)
    assert done.ret == 1
    done.assert_outcomes(passed=2, failed=2)
    done.stdout.fnmatch_lines(
        [
            "kbtf-ci: kernel 6.12.3, 4 modules, *",
            "*__ module xfs __*",
            "REJECTED: the kernel refused the BTF: EINVAL (-22)",
            "kernel/xfs.ko, loaded real",
            "    BPF: Invalid name",
            "    failed to validate module [[]xfs[]] BTF: -22",
            r"*__ module <script>\n\x1b[[]31m::[[]x[]] __*",
            "kernel 6.12.3: 2 VERIFIED, 1 REJECTED, 1 LOAD_FAILED; *",
            "FAILED kbtf::xfs - *REJECTED: the kernel refused the BTF: EINVAL (-22)",
            f"FAILED {BAD_ID} - *LOAD_FAILED*",
        ]
    )
    assert "\x1b" not in done.stdout.str()
    assert "Traceback" not in done.stdout.str()
    assert "cases.py" not in done.stdout.str()


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        ((), 4),
        (("test_own.py",), 4),
        (("test_own.py", "kbtf::snd"), 3),
        (("kbtf::snd",), 1),
        (("kbtf::snd", "kbtf::snd_pcm"), 2),
        (("kbtf",), 2),
        (("kbtf::snd", "test_own.py::test_a"), 2),
        (("test_own.py::test_a",), 1),
        (("-k", "pcm"), 1),
        (("-k", "snd and not pcm"), 1),
        (("-k", "verified"), 2),
        (("-m", "kbtf"), 2),
        (("--deselect", "kbtf::snd"), 3),
        (("--deselect", "test_own.py::test_a", "--deselect=kbtf::snd_pcm"), 2),
    ],
)
def test_tests_are_chosen_as_any_others_are(
    session: Session, pytester: pytest.Pytester, green: str, words: tuple[str, ...], passed: int
) -> None:
    pytester.makepyfile(test_own=OWN)
    done = session(green, *words)
    assert done.ret == 0, done.stdout.str()
    assert done.parseoutcomes()["passed"] == passed


def test_from_a_folder_below_a_test_is_named_as_it_is_shown(
    session: Session, pytester: pytest.Pytester, green: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\n")
    monkeypatch.chdir(pytester.mkdir("below"))
    done = session(green, "-v", "../kbtf::snd")
    done.stdout.fnmatch_lines(["../kbtf::snd PASSED*"])
    done.assert_outcomes(passed=1)


def test_what_is_not_in_the_run_is_refused_in_a_line(session: Session, green: str) -> None:
    done = session(green, "kbtf::nope", "kbtf::snd")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: kbtf-ci: */run: has no kbtf::nope"])


def test_the_last_failed_are_run_again(session: Session, pytester: pytest.Pytester, red: str) -> None:
    pytester.makepyfile(test_own=OWN + "def test_c(): assert 0\n")
    session(red).assert_outcomes(passed=4, failed=3)
    session(red, "--lf").assert_outcomes(failed=3)
    session(red, "--lf", "kbtf").assert_outcomes(failed=2)


def test_collection_alone_shows_them(session: Session, red: str) -> None:
    done = session(red, "--collect-only", "-q")
    assert done.ret == 0
    assert [line for line in done.outlines if line.startswith("kbtf::")] == [
        "kbtf::snd", "kbtf::snd_pcm", "kbtf::xfs", BAD_ID,
    ]  # fmt: skip


def test_workers_have_the_same_tests(session: Session, pytester: pytest.Pytester, red: str) -> None:
    pytester.makepyfile(test_own=OWN)
    done = pytester.runpytest_subprocess(*PLUGIN, red, "-n", "2")
    done.assert_outcomes(passed=4, failed=2)
    done.stdout.fnmatch_lines(
        ["*REJECTED: the kernel refused*", "    BPF: Invalid name", "kernel 6.12.3: 2 V*"]
    )


def test_junit_xml_has_outcome_reason_and_facts(
    session: Session, pytester: pytest.Pytester, tmp_path: Path
) -> None:
    folder = runs.written(tmp_path / "run", runs.good("snd"), runs.refused(BAD, BAD), runs.unreached("late"))
    session(f"--kbtf-run={folder}", "--junitxml=junit.xml").assert_outcomes(passed=1, failed=1, errors=1)
    tests = {one.get("name"): one for one in ET.parse(pytester.path / "junit.xml").iter("testcase")}
    facts = {one.get("name"): one.get("value") for one in tests["snd"].iter("property")}
    assert (facts["kbtf_outcome"], facts["kbtf_btf_bytes"]) == ("VERIFIED", "10")
    assert {one.get("classname") for one in tests.values()} == {"kbtf"}
    (failure,) = tests[BAD_ID.removeprefix("kbtf::")].iter("failure")
    assert r"<script>\n\x1b[31m::[x]" in str(failure.text)
    (error,) = tests["late"].iter("error")
    assert "NOT_REACHED: the run ended before this module was loaded" in str(error.get("message"))


def test_what_does_not_count_passes_and_is_shown(session: Session, tmp_path: Path) -> None:
    folder = runs.written(tmp_path / "run", runs.good("snd"), warnings=[runs.warning("snd")])
    done = session(f"--kbtf-run={folder}", "-rP")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines([f"*{runs.HEADLINE}", "does not count: 1 kernel warnings, under snd"])


def test_a_run_that_ended_early_is_an_error_of_its_own(session: Session, tmp_path: Path) -> None:
    folder = runs.written(tmp_path / "run", runs.good("snd"), error=GuestError("it panicked"))
    done = session(f"--kbtf-run={folder}")
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*ERROR kbtf::kernel.run - *", "*1 passed, 1 error*"])
    assert done.outlines.count("the run ended early: it panicked") == 2


def test_findings_on_the_kernel_are_tests_of_their_own(session: Session, tmp_path: Path) -> None:
    folder = runs.written(
        tmp_path / "run",
        runs.good("vmlinux"),
        vmlinux=VmlinuxSeen("aa", "bb", "byte 7"),
        warnings=[runs.warning()],
        fail_on=[FailOn.VMLINUX],
    )
    done = session(f"--kbtf-run={folder}", "-v")
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(["kbtf::vmlinux PASSED*", "kbtf::kernel.vmlinux FAILED*", "*byte 7*"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kbtf-run=nowhere",), "nowhere: holds no run (results.json) (name a run directory of kbtf-ci's)"),
        (("--kbtf-run=built",), "built: has no results yet (kbtf-ci verify built makes them)"),
        (("--kbtf-run=broken",), "*broken/results.json: not the results of a run: *"),
        (("--kbtf-run=a", "--kbtf-config=smoke"), "*one of them at a time"),
        (("--kbtf-output-dir=a",), "*which was not given"),
        (("--kbtf-config=no/such.config",), "*no/such*"),
    ],
)
@pytest.mark.parametrize("more", [(), ("-n", "2")])
def test_what_cannot_begin_is_a_line_and_exit_code_4(
    session: Session, pytester: pytest.Pytester, words: tuple[str, ...], said: str, more: tuple[str, ...]
) -> None:
    (runs.written(pytester.path / "built") / "results.json").unlink()
    (runs.written(pytester.path / "broken") / "results.json").write_text("{}")
    done = session(*words, *more)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in done.errlines if line]
    assert line.startswith("ERROR: kbtf-ci: ")
    done.stderr.fnmatch_lines([f"ERROR: kbtf-ci: {said}".replace("[", "[[]")])


FIXTURES = """
def test_run(kbtf_run):
    assert kbtf_run.outcomes["snd"].value == "VERIFIED"
    assert kbtf_run.module("snd").btf_bytes == 10
    assert kbtf_run.record.options.config == "smoke"

def test_build(kbtf_build):
    assert kbtf_build.release == "6.12.3"
    assert kbtf_build.module("snd").read_bytes() == b"packed"

def test_lacking(kbtf_build):
    kbtf_build.module("lacking")
"""


def test_fixtures_give_run_and_build(session: Session, pytester: pytest.Pytester, tmp_path: Path) -> None:
    folder = runs.written(tmp_path / "run", runs.good("snd"))
    (folder / "kernel/modules/kernel").mkdir(parents=True)
    (folder / "kernel/modules/kernel/snd.ko.xz").write_bytes(b"packed")
    pytester.makepyfile(test_own=FIXTURES)
    done = session(f"--kbtf-run={folder}", "test_own.py")
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines(
        [
            "kbtf-ci: */run: has no module lacking",
            '*/test_own.py:11: kbtf_build.module("lacking")',
        ]
    )
    assert "objects.py" not in done.stdout.str()
    assert "During handling" not in done.stdout.str()


@pytest.mark.parametrize(("required", "outcome"), [("", "skipped"), ("run", "errors"), ("all", "errors")])
def test_without_a_run_a_test_that_asks_for_one_is_skipped_where_it_may_be(
    session: Session,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    required: str,
    outcome: str,
) -> None:
    monkeypatch.setenv("KBTF_CI_REQUIRE", required)
    pytester.makepyfile(test_own="def test_run(kbtf_guest): pass\ndef test_own(): pass\n")
    done = session("-rs")
    done.assert_outcomes(passed=1, **{outcome: 1})
    done.stdout.fnmatch_lines(["*no run directory of kbtf-ci: --kbtf-run names one, --kbtf-config makes one"])


def test_a_guest_that_does_not_come_up_is_a_line(
    session: Session, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, green: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{pytester.path}/no.sock")
    pytester.makepyfile(test_own="def test_run(kbtf_guest): pass\n")
    done = session(green, "test_own.py")
    done.assert_outcomes(passed=2, errors=1)
    done.stdout.fnmatch_lines(["kbtf-ci: *no.sock*"])
    assert "Traceback" not in done.stdout.str()
    assert "live_guest.py" not in done.stdout.str()


def test_without_an_option_it_does_nothing(session: Session, pytester: pytest.Pytester, green: str) -> None:
    pytester.makepyfile(test_own=OWN)
    done = session("-v", "--strict-markers")
    done.assert_outcomes(passed=2)
    assert "kbtf" not in done.stdout.str().replace("kbtf_ci.pytest_plugin.entry", "").replace(
        "no:kbtf-ci", ""
    )
    assert "file or directory not found: kbtf::snd" in session("kbtf::snd").stderr.str()


def test_without_an_option_nothing_of_ours_is_imported(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import sys\n"
        "def test_own():\n"
        "    ours = {name for name in sys.modules if name.startswith('kbtf_ci')}\n"
        "    assert ours == {'kbtf_ci', 'kbtf_ci.pytest_plugin', 'kbtf_ci.pytest_plugin.entry'}\n"
        "    assert not {'pydantic', 'docker', 'paramiko', 'numpy', 'click', 'rich'} & sys.modules.keys()\n"
    )
    call = [sys.executable, "-m", "pytest", *PLUGIN, "-q", "-p", "no:cacheprovider", "test_own.py"]
    done = subprocess.run(
        call, cwd=tmp_path, env=_without_addopts(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def _without_addopts() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}


def test_a_run_named_in_two_words_is_found_and_what_that_does_is_said(
    session: Session, pytester: pytest.Pytester, green: str
) -> None:
    outside = green.partition("=")[2]
    done = session("--kbtf-run", outside)
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["kbtf-ci: in two words, *write --kbtf-run=RUNDIR"])
    runs.written(pytester.path / "inside", runs.good("snd"))
    assert "in two words" not in session("--kbtf-run", "inside").stdout.str()
    assert "in two words" not in session(green).stdout.str()
