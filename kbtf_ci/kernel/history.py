# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A git history: the user's tree, which is only read, and a clone of it that is bisected in its place.

The clone shares the tree's objects (``git clone --shared``). ``git bisect`` runs in it without a checkout of
its own (``--no-checkout``): which commit is next, and which is the first bad one, is git's word; what is
checked out and tried is ours, so that an interrupt leaves nothing half told.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.model.bisect import Commit, Found, Mark

# Nothing of the user's own configuration runs a program here, and nothing is written to look something up.
_SETTINGS: Final = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0",
    "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false",
)  # fmt: skip
_FORMAT: Final = "%H%x00%s%x00%an <%ae>%x00%aI"
# bisect_log of git's builtin/bisect.c, the same in every language.
_FIRST_BAD: Final = re.compile(r"^# first bad commit: \[([0-9a-f]+)\]", re.MULTILINE)
_POSSIBLE: Final = re.compile(r"^# possible first bad commit: \[([0-9a-f]+)\]", re.MULTILINE)
_LIBBPF: Final = "lib/bpf"


@dataclass(frozen=True)
class _Answer:
    status: int
    text: str
    complaint: str

    @property
    def reason(self) -> str:
        """Its last words."""
        words = (self.complaint or self.text).splitlines()
        return words[-1] if words else "no reason given"


def _git(folder: Path, *arguments: str) -> _Answer:
    """Run git in ``folder``. Raises InfrastructureError where there is none."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *_SETTINGS, *arguments],
            env={**env, "LC_ALL": "C.UTF-8", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise InfrastructureError(f"git does not run: {error.strerror}", hint="install git") from error
    complaint = done.stderr.decode(errors="replace").strip()
    return _Answer(done.returncode, done.stdout.decode(errors="replace").strip(), complaint)


def _must(folder: Path, *arguments: str) -> str:
    """Return what git prints. Raises InfrastructureError with its last words where it fails."""
    done = _git(folder, *arguments)
    if done.status != 0:
        raise InfrastructureError(f"{folder}: git {arguments[0]}: {done.reason}")
    return done.text


def uncommitted(path: Path) -> int:
    """Return how many files of a git tree differ from its newest commit; 0 for what is no git tree."""
    if shutil.which("git") is None or not (path / ".git").exists():
        return 0
    done = _git(path, "status", "--porcelain", "--ignore-submodules=none")
    return len(done.text.splitlines()) if done.status == 0 else 0


class History:
    """The user's git tree. Nothing here writes to it."""

    def __init__(self, path: Path, option: str) -> None:
        """Raise UsageError for a folder that is no git tree of its own, or a shallow one."""
        self.path = path.resolve()
        name = f"{option} {path}"
        if not path.is_dir():
            raise UsageError(f"{name}: not a git tree: no such folder", hint="bisect takes a git clone")
        inside = _git(self.path, "rev-parse", "--is-bare-repository", "--is-shallow-repository")
        if inside.status != 0:
            raise UsageError(f"{name}: not a git tree: {inside.reason}", hint="bisect takes a git clone")
        bare, shallow = inside.text.split()
        if shallow == "true":
            raise UsageError(f"{name}: a shallow clone, whose history ends early",
                             hint=f"git -C {path} fetch --unshallow")  # fmt: skip
        if bare == "false" and Path(_must(self.path, "rev-parse", "--show-toplevel")) != self.path:
            raise UsageError(f"{name}: a folder inside of a git tree", hint="name the tree's top folder")

    @property
    def uncommitted(self) -> int:
        """How many of its files differ from its newest commit."""
        return uncommitted(self.path)

    def commit(self, revision: str, option: str) -> Commit:
        """Return the commit that the user calls ``revision``. Raises UsageError where there is none."""
        wanted = f"{revision}^{{commit}}"
        done = _git(self.path, "rev-parse", "--verify", "--quiet", "--end-of-options", wanted)
        if done.status != 0 or not revision:
            raise UsageError(f"{option} {revision}: no such commit in {self.path}",
                             hint=f"git -C {self.path} log --oneline shows them")  # fmt: skip
        return _commit(self.path, done.text)

    def check_ends(self, good: Commit, bad: Commit) -> str:
        """Return a line on what git will do where good is no ancestor of bad, "" where it is.

        Raises UsageError where nothing lies between them.
        """
        if good.sha == bad.sha:
            raise UsageError(f"--good and --bad are the same commit, {good}")
        if self._is_ancestor(good, bad):
            return ""
        if self._is_ancestor(bad, good):
            raise UsageError(
                f"good and bad are swapped: bad {bad} is an ancestor of good {good}",
                hint="bisect finds what broke, not what mended it",
            )
        base = _git(self.path, "merge-base", good.sha, bad.sha)
        if base.status != 0:
            raise UsageError(f"good {good} and bad {bad} have no common history")
        return f"good {good} is no ancestor of bad: what they have in common is tried first"

    def _is_ancestor(self, older: Commit, newer: Commit) -> bool:
        return _git(self.path, "merge-base", "--is-ancestor", older.sha, newer.sha).status == 0


def _commit(path: Path, sha: str) -> Commit:
    fields = _must(path, "log", "-1", f"--format={_FORMAT}", sha, "--").split("\0")
    return Commit(*fields)


class Clone:
    """A clone of our own, in which commits are checked out and bisected."""

    def __init__(self, history: History, path: Path) -> None:
        """Make it, unless it is there. Raises InfrastructureError where git fails."""
        self.path = path
        self._origin = history.path
        # Another tree may have come to the path of the one that this was a clone of.
        if not (path / ".git").is_dir() or _git(path, "cat-file", "-e", "HEAD^{tree}").status != 0:
            shutil.rmtree(path, ignore_errors=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            staging = path.with_name(f".{path.name}-new")
            shutil.rmtree(staging, ignore_errors=True)
            _must(path.parent, "clone", "--quiet", "--shared", "--no-checkout", "--no-tags", "--template=",
                  "--", str(history.path), str(staging))  # fmt: skip
            staging.rename(path)
        # Of a git that was killed: whoever is here holds the clone's lock.
        for lock in (path / ".git").glob("*.lock"):
            lock.unlink(missing_ok=True)

    def commit(self, sha: str) -> Commit:
        """Return a commit by its hash."""
        return _commit(self.path, sha)

    def parents(self, sha: str) -> tuple[str, ...]:
        """Return the hashes of a commit's parents."""
        return tuple(_must(self.path, "log", "-1", "--format=%P", sha, "--").split())

    def check_out(self, sha: str) -> None:
        """Let the files be those of a commit, and no others. What is the same keeps its time stamp."""
        _must(self.path, "checkout", "--quiet", "--force", "--detach", sha, "--")
        _must(self.path, "clean", "--quiet", "-ffdx", "--exclude", f"/{_LIBBPF}")
        self._check_out_libbpf()

    def _check_out_libbpf(self) -> None:
        """Bring pahole's copy of libbpf to the commit's, from the user's tree; without it there leave none.

        A commit of libbpf that is not in there leaves none either: pahole is then built against the system's.
        """
        source, target = self._origin / _LIBBPF, self.path / _LIBBPF
        entry = _git(self.path, "ls-files", "--stage", "--", _LIBBPF).text.split()
        if entry[:1] == ["160000"] and (source / ".git").exists():
            if not (target / ".git").exists():
                _git(self.path, "clone", "--quiet", "--shared", "--no-checkout", "--template=", "--",
                     str(source), str(target))  # fmt: skip
            if _git(target, "checkout", "--quiet", "--force", "--detach", entry[1], "--").status == 0:
                return
        if entry[:1] in ([], ["160000"]):
            shutil.rmtree(target, ignore_errors=True)
        if entry[:1] == ["160000"]:
            target.mkdir()  # as git leaves a submodule that nobody asked for

    def begin(self, good: Commit, bad: Commit) -> None:
        """Begin a bisection, in the place of any other. Raises InfrastructureError where git refuses."""
        _must(self.path, "bisect", "start", "--no-checkout", bad.sha, good.sha)

    def mark(self, sha: str, mark: Mark) -> None:
        """Tell git bisect of a commit.

        Raises UsageError where that is what good and bad have in common, and it is bad.
        """
        done = _git(self.path, "bisect", mark.value, sha)
        if _found(self.log()) is not None:
            return
        if mark is Mark.BAD and self._below_good(sha, done.complaint):
            raise UsageError(
                f"{self.commit(sha)}, which good and bad have in common, is bad already: good has it mended",
                hint="name a --good that is an ancestor of --bad",
            )
        if done.status != 0:
            raise InfrastructureError(f"{self.path}: git bisect {mark}: {done.reason}")

    def _below_good(self, sha: str, complaint: str) -> bool:
        """Whether git refused a bad merge base (check_merge_bases() of its bisect.c names it)."""
        return "merge base" in complaint and sha in complaint

    def next(self) -> Commit | Found:
        """Return the commit to try next, or the end."""
        found = _found(self.log())
        if found is not None:
            first_bad, possible = found
            return Found(self.commit(first_bad) if first_bad else None, tuple(map(self.commit, possible)))
        return self.commit(_must(self.path, "rev-parse", "--verify", "BISECT_HEAD"))

    def left(self) -> int:
        """Return about how many commits are left to choose from."""
        refs = _must(self.path, "for-each-ref", "--format=%(refname)", "refs/bisect").split()
        good = [f"^{ref}" for ref in refs if ref.startswith("refs/bisect/good-")]
        return int(_must(self.path, "rev-list", "--count", "refs/bisect/bad", *good)) - 1

    def log(self) -> str:
        """Return git's own log of the bisection, which ``git bisect replay`` takes."""
        return _must(self.path, "bisect", "log")


def _found(log: str) -> tuple[str, Iterable[str]] | None:
    if first := _FIRST_BAD.search(log):
        return first[1], ()
    possible = _POSSIBLE.findall(log)
    return ("", possible) if possible else None
