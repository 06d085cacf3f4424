# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Completion as shells ask for it: each sources the script and completes a line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from kbtf_ci.btf.cases.catalogue import CASES
from kbtf_ci.commands.main import main
from tests.conftest import unavailable

HEAVY = ("docker", "numpy", "paramiko", "pydantic", "rich", "elftools", "requests")
# bash gives its function the program, the words of the line, and which of them the cursor is at.
BASH = """
source "$1"
shift
compopt() { echo "compopt $1 $2"; }
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_kbtf_ci_completion kbtf-ci
printf '%s\\n' "${COMPREPLY[@]}"
"""
# Two of zsh's own are there only while it completes a line that is typed.
ZSH = """
compdef() { :; }
compadd() { print -rl -- $completions; }
_path_files() { print -r -- "_path_files $*"; }
source "$1"
shift
words=("$@")
CURRENT=$#
_kbtf_ci_completion
"""
FISH = """
source $argv[1]
complete -C $argv[2]
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with kbtf-ci, as pip installs it."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "kbtf-ci"
    script.write_text(f"#!{sys.executable}\nfrom kbtf_ci.commands.main import main\nmain()\n")
    script.chmod(0o755)
    return folder


class Shell:
    """One shell, in a folder of the test's own."""

    def __init__(self, name: str, programs: Path, folder: Path) -> None:
        self.name = name
        self.folder = folder
        path = f"{programs}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "HOME": str(folder)}
        self.script = folder / f"script.{name}"
        self.script.write_text(self.run("kbtf-ci", "completion", name))

    def run(self, *argv: str | Path) -> str:
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def complete(self, line: str) -> list[str]:
        """Return what the shell takes for the last word of ``line``, "" behind a space."""
        if self.name == "fish":
            found = self.run("fish", "--no-config", "-c", FISH, self.script, line)
            return [one.partition("\t")[0] for one in found.splitlines()]  # behind it a line of help
        options, program = (("--norc",), BASH) if self.name == "bash" else (("-f",), ZSH)
        words = line.split(" ")
        return self.run(self.name, *options, "-c", program, self.name, self.script, *words).splitlines()


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest, programs: Path, tmp_path: Path) -> Shell:
    if shutil.which(request.param) is None:
        unavailable("shells", f"there is no {request.param} here")
    return Shell(request.param, programs, tmp_path)


def test_a_shell_completes_what_is_typed(shell: Shell) -> None:
    run_directory(shell.folder, "20260101T000000Z-smoke")
    (shell.folder / "elsewhere").mkdir()
    assert set(shell.complete("kbtf-ci b")) == {"bisect", "build", "btf-cache"}
    assert "base-string-foreign" in shell.complete("kbtf-ci repro show base-s")
    found = shell.complete("kbtf-ci run --config ")
    assert {"smoke", "defconfig"} <= set(found)
    # bash looks for files where nothing else fits.
    assert {"bash": "compopt -o default", "zsh": "_path_files -f", "fish": "elsewhere/"}[shell.name] in found
    assert "runs/20260101T000000Z-smoke" in [
        line.rstrip("/") for line in shell.complete("kbtf-ci verify runs/2")
    ]
    own = {"bash": "compopt -o dirnames", "zsh": "_path_files -/", "fish": "elsewhere/"}[shell.name]
    assert own in shell.complete("kbtf-ci verify el")


def items(line: str) -> list[tuple[str, str]]:
    """Return type and value of what may stand for the last word of ``line``, as click hands it to a shell."""
    *words, word = line.split(" ")[1:]
    found = ShellComplete(main, {}, "kbtf-ci", "").get_completions(words, word)
    return [(item.type, item.value) for item in found]


def values(line: str) -> list[str]:
    return [value for kind, value in items(line) if kind == "plain"]


def run_directory(folder: Path, name: str) -> None:
    (folder / "runs" / name).mkdir(parents=True)
    (folder / "runs" / name / "run.json").write_text("{}")


def test_commands_and_options() -> None:
    assert values("kbtf-ci ver") == ["verify"]
    assert values("kbtf-ci --ver") == ["--version"]
    assert values("kbtf-ci repro re") == ["replay"]
    assert values("kbtf-ci run --fail") == ["--fail-on"]
    assert values("kbtf-ci completion ") == ["bash", "zsh", "fish"]
    assert values("kbtf-ci nosuch") == []


@pytest.mark.parametrize("command", ["run", "build", "bisect", "regen", "repro run"])
def test_profiles_and_files_for_config(command: str) -> None:
    # bash forgets whatever comes before a file.
    assert items(f"kbtf-ci {command} --config ") == [
        ("file", ""),
        ("plain", "defconfig"),
        ("plain", "smoke"),
    ]
    assert items(f"kbtf-ci {command} --config ./mine") == [("file", "./mine")]


def test_names_of_cases() -> None:
    names = [case.name for case in CASES if case.name.startswith("base-")]
    assert values("kbtf-ci repro show base-") == names
    assert values("kbtf-ci repro run --accel tcg runs/latest base-") == names


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("verify", "dir"), ("sizes", "dir"), ("shell", "dir"), ("regen", "dir"), ("report", "dir"),
        ("repro bundle", "dir"), ("repro run", "dir"), ("check", "file"), ("report --compare", "file"),
    ],
)  # fmt: skip
def test_run_directories_the_newest_first(
    command: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert values(f"kbtf-ci {command} runs/") == []
    for name in ("20260101T000000Z-smoke", "20260102T000000Z-smoke"):
        run_directory(tmp_path, name)
    (tmp_path / "runs/no-run").mkdir()
    (tmp_path / "runs/latest").symlink_to("20260102T000000Z-smoke")
    assert items(f"kbtf-ci {command} runs/") == [
        (kind, "runs/"),
        ("plain", "runs/latest"),
        ("plain", "runs/20260102T000000Z-smoke"),
        ("plain", "runs/20260101T000000Z-smoke"),
    ]


@pytest.mark.parametrize("name", ["evil;reboot", "$(reboot)", "two words", "a\nplain,b", "\x1b[31m", "*"])
def test_a_name_that_a_shell_would_read_otherwise_is_left_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_directory(tmp_path, name)
    assert values("kbtf-ci verify ") == []


def test_completing_a_command_reads_no_command() -> None:
    """A shell waits for the answer: of what takes a second to import nothing is."""
    program = f"""
import os, sys
os.environ.update(_KBTF_CI_COMPLETE="bash_complete", COMP_WORDS="kbtf-ci ", COMP_CWORD="1")
from kbtf_ci.commands.main import main
try:
    main(prog_name="kbtf-ci")
except SystemExit:
    print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    *commands, heavy = done.stdout.splitlines()
    assert "plain,run" in commands
    assert heavy == "[]"


def test_another_shell_is_refused(programs: Path) -> None:
    done = subprocess.run(
        [programs / "kbtf-ci", "completion", "tcsh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'bash', 'zsh', 'fish'" in done.stderr
