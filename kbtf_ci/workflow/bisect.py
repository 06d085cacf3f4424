# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci bisect``: the first commit, of the kernel or of pahole, at which modules' BTF is not VERIFIED.

git bisect chooses, ``kbtf-ci run`` tries. What was found is kept after every commit: the same command goes on
where an interrupt, or the machine, ended one before.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kbtf_ci.errors import BuildError, ExitCode, InfrastructureError, KbtfError, UsageError
from kbtf_ci.infra import rundir
from kbtf_ci.infra.locks import exclusive, lock_of
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.profiles import profile_of
from kbtf_ci.infra.record import Reporter
from kbtf_ci.kernel.history import Clone, History
from kbtf_ci.model.bisect import (
    Commit,
    Ends,
    Findings,
    Found,
    Judgement,
    Mark,
    Standing,
    Step,
    Subject,
    Words,
    judge,
    newest,
)
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.report import bisect as report
from kbtf_ci.workflow import run as runs
from kbtf_ci.workflow.bundle import make_bundle
from kbtf_ci.workflow.guests import GuestOptions

_STATE: Final = "state.json"
_CLONE: Final = "tree"
_BUNDLE: Final = "bundle.tar.gz"

# Tries the commit that is checked out in the first folder; its run goes to the second.
Tester = Callable[[Path, Path], Judgement]


@dataclass(frozen=True)
class BisectOptions:
    """What the user asked for: the history of ``build.pahole_tree`` if there, else of ``build.directory``.

    ``broken`` is what git is told of a commit that does not build. ``command`` repeats the call.
    """

    good: str
    bad: str
    build: BuildOptions
    guest: GuestOptions
    module: str = ""
    broken: Mark = Mark.SKIP
    command: str = ""

    @property
    def subject(self) -> Subject:
        """Whose history it is."""
        return Subject.PAHOLE if self.build.pahole_tree else Subject.KERNEL

    @property
    def history(self) -> History:
        """The user's tree. Raises UsageError for one that cannot be bisected."""
        if self.build.pahole_tree:
            return History(self.build.pahole_tree, "--pahole-tree")
        if not self.build.directory:
            raise UsageError("bisect wants a git tree: -C of the kernel, or --pahole-tree of pahole")
        return History(Path(self.build.directory), "-C")

    @property
    def digest(self) -> str:
        """What tells results of other options apart: all but ends, module, and what decides no verdict."""
        directory = "" if self.subject is Subject.KERNEL else self.build.directory
        build = asdict(replace(self.build, directory=directory, pahole_tree=None, jobs=1))
        guest = {"append": self.guest.append, "load": self.guest.load, "fail_on": sorted(self.guest.fail_on)}
        return hashlib.sha256(json.dumps([build, guest, self.broken], default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Bisected:
    """The end: which commit it was, or may have been, and what each one tried said."""

    subject: Subject
    tree: Path
    standing: Standing
    found: Found
    before: Words | None
    after: Words | None
    module: str
    bundle: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """0 where the first bad commit is known, 1 where commits that cannot be tried hide it."""
        return ExitCode.VERIFIED if self.found.first_bad else ExitCode.NOT_VERIFIED

    def text(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return report.text(self._page())

    def document(self) -> Mapping[str, object]:
        """Return the JSON document."""
        return report.document(self._page())

    def _page(self) -> report.Page:
        return report.Page(
            self.subject,
            str(self.tree),
            self.standing,
            self.found,
            self.module,
            self.before,
            self.after,
            self.bundle,
        )


def bisect(
    options: BisectOptions, output: Path | None, reporter: Reporter, tester: Tester | None = None
) -> Bisected:
    """Find the first bad commit between two.

    ``tester`` tries what is checked out in the clone, by default with ``kbtf-ci run``. Raises UsageError for
    ends that are none, InterruptError and InfrastructureError with what was found so far kept.
    """
    history = options.history
    good, bad = history.commit(options.good, "--good"), history.commit(options.bad, "--bad")
    if told := history.check_ends(good, bad):
        reporter.note(told)
    profile_of(options.build)
    _warn_of_changes(history, reporter)
    place = _place(options.subject, history.path)
    ends = Ends(good=good, bad=bad, module=options.module, options=options.digest)

    def waits() -> None:
        reporter.note(f"another bisect of {history.path} is under way; waiting for it")

    with exclusive(lock_of(place), waits):
        reporter.stage("clone")
        clone = Clone(history, place / _CLONE)
        diary = _Diary(place / _STATE, ends, output, options, reporter)
        search = _Search(clone, diary, tester or _Tester(options, reporter), reporter)
        with _resumable(diary):
            found = search.run()
        done = _concluded(options, history.path, clone, diary.standing, found)
        done = replace(done, bundle=_bundle(done, diary.folder, reporter))
        diary.finish(clone.log(), done.document())
    return done


def _bundle(done: Bisected, folder: Path, reporter: Reporter) -> str:
    """Bundle the module as the first bad commit has it; return the archive's path, "" where there is none."""
    if done.found.first_bad is None or done.after is None or not done.module:
        return ""
    try:
        return str(make_bundle(Path(done.after.folder), done.module, folder / _BUNDLE, reporter).path)
    except (UsageError, InfrastructureError) as error:  # of a module whose fault is not of its BTF, say
        reporter.note(f"no bundle of {done.module}: {error.message}")
        return ""


def _warn_of_changes(history: History, reporter: Reporter) -> None:
    if changed := history.uncommitted:
        reporter.warn(f"{history.path}: its uncommitted changes (files: {changed}) are left out")


def _place(subject: Subject, tree: Path) -> Path:
    """Return the folder of a tree's bisections: one path a tree, for which its build directory is kept."""
    return cache_root() / "bisect" / f"{subject}-{hashlib.sha256(str(tree).encode()).hexdigest()[:12]}"


@contextmanager
def _resumable(diary: _Diary) -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except KbtfError as error:
        tried = f"{len(diary.standing.steps)} commits tried are kept: the same command goes on from there"
        error.hint = f"{error.hint}; {tried}" if error.hint else tried
        raise


class _Diary:
    """What is kept between two calls, and the folder that the results go to."""

    def __init__(
        self, path: Path, ends: Ends, output: Path | None, options: BisectOptions, reporter: Reporter
    ) -> None:
        self._path = path
        kept = _read(path)
        if kept is not None and kept.ends == ends and _same_folder(kept, output):
            reporter.note(f"going on after {len(kept.steps)} commits that were tried: {kept.folder}")
            self.standing = kept
            return
        if kept is not None:
            self._set_aside(kept, reporter)
        folder = rundir.new_folder(output, f"bisect-{profile_of(options.build).name}")
        self._keep(Standing(ends=ends, folder=str(folder)))
        rundir.write_text(folder / "command.txt", f"{options.command}\n")

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return Path(self.standing.folder)

    def add(self, step: Step) -> None:
        """Keep what one commit said, before git is told of it."""
        self._keep(self.standing.with_step(step))

    def finish(self, log: str, document: Mapping[str, object]) -> None:
        """Write the results; the next call begins anew."""
        rundir.write_text(self.folder / "git-bisect.log", f"{log}\n")
        rundir.write_json(self.folder / "bisect.json", document)
        self._path.unlink(missing_ok=True)

    def _keep(self, standing: Standing) -> None:
        rundir.write_json(self._path, standing.model_dump(mode="json"))
        self.standing = standing

    def _set_aside(self, kept: Standing, reporter: Reporter) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = self._path.with_name(f"left-over-{stamp}.json")
        self._path.replace(aside)
        reporter.warn(
            f"an unfinished bisect of this tree, {kept.ends.good.short} to {kept.ends.bad.short} with"
            f" {len(kept.steps)} commits tried, is not this one: it is set aside as {aside}"
        )


def _read(path: Path) -> Standing | None:
    with suppress(OSError, ValueError):
        return Standing.model_validate_json(path.read_bytes())
    return None


def _same_folder(kept: Standing, output: Path | None) -> bool:
    return Path(kept.folder).is_dir() and (output is None or output.resolve() == Path(kept.folder))


class _Search:
    """The walk itself: both ends first, then what git bisect chooses."""

    def __init__(self, clone: Clone, diary: _Diary, tester: Tester, reporter: Reporter) -> None:
        self._clone = clone
        self._diary = diary
        self._test = tester
        self._reporter = reporter

    def run(self) -> Found:
        """Return the end. Raises UsageError where an end is not what it is said to be."""
        ends = self._diary.standing.ends
        self._prove_ends(ends)
        self._clone.begin(ends.good, ends.bad)
        while isinstance(commit := self._clone.next(), Commit):
            step = self._step(commit, f"about {self._clone.left()} commits left")
            self._clone.mark(commit.sha, step.judgement.mark)
        return commit

    def _prove_ends(self, ends: Ends) -> None:
        good = self._step(ends.good, "said to be good").judgement
        bad = self._step(ends.bad, "said to be bad").judgement
        if (good.mark, bad.mark) == (Mark.BAD, Mark.GOOD):
            raise UsageError(
                "good and bad are swapped: "
                f"at {ends.good.short} {good.reason}, at {ends.bad.short} {bad.reason}"
            )
        _require(Mark.GOOD, ends.good, good)
        _require(Mark.BAD, ends.bad, bad)

    def _step(self, commit: Commit, told: str) -> Step:
        """Return what is known of a commit, or try it."""
        standing = self._diary.standing
        if known := standing.step_of(commit.sha):
            return known
        number = len(standing.steps) + 1
        self._reporter.note(f"[{number}] {commit}, {told}")
        folder = self._diary.folder / "steps" / f"{number:02}-{commit.short}"
        shutil.rmtree(folder, ignore_errors=True)  # of a call that was interrupted
        folder.parent.mkdir(exist_ok=True)
        began = time.monotonic()
        self._clone.check_out(commit.sha)
        judgement = self._test(self._clone.path, folder)
        step = Step(commit, judgement, round(time.monotonic() - began, 1), str(folder))
        self._diary.add(step)
        word = f"{commit.short} is {judgement.mark}: {judgement.reason}"
        self._reporter.note(f"[{number}] {word} ({step.seconds:g} s)")
        _spare_disk(self._diary.standing)
        return step


def _require(wanted: Mark, commit: Commit, seen: Judgement) -> None:
    if seen.mark is Mark.SKIP:
        hint = "--broken bad counts what does not build as bad" if wanted is Mark.BAD else ""
        raise UsageError(f"--{wanted} {commit} cannot be tried: {seen.reason}", hint=hint)
    if seen.mark is not wanted:
        raise UsageError(f"--{wanted} {commit} is {seen.mark}: {seen.reason}")


def _spare_disk(standing: Standing) -> None:
    """Keep the kernels of the two runs that the search goes on between; of the others what they said."""
    kept = {step.folder for mark in (Mark.GOOD, Mark.BAD) if (step := newest(standing.steps, mark))}
    for step in standing.steps:
        if step.folder not in kept:
            for heavy in ("kernel", "guest"):
                shutil.rmtree(Path(step.folder) / heavy, ignore_errors=True)


@dataclass(frozen=True)
class _Tester:
    """Tries what is checked out with ``kbtf-ci run``."""

    options: BisectOptions
    reporter: Reporter

    def __call__(self, tree: Path, folder: Path) -> Judgement:
        """Return what the run says. Raises what is no commit's fault: an interrupt, or the machine's."""
        asked = self.options
        if asked.subject is Subject.PAHOLE:
            build = replace(asked.build, pahole_tree=tree)
        else:
            build = replace(asked.build, directory=str(tree))
        try:
            verdict = runs.run(build, asked.guest, folder, asked.command, self.reporter)
        except BuildError as error:
            return Judgement(asked.broken, error.message, asked.module)
        except UsageError as error:  # this commit lacks a module, a symbol or a file that others have
            return Judgement(Mark.SKIP, error.message, asked.module)
        if verdict.error is not None and verdict.error.exit_code is not ExitCode.GUEST_DIED:
            raise verdict.error
        counted = verdict.findings & verdict.fail_on
        found = Findings(verdict.results, verdict.predictions, counted, verdict.fail_on, verdict.error)
        return judge(found, asked.module)


def _concluded(
    options: BisectOptions, tree: Path, clone: Clone, standing: Standing, found: Found
) -> Bisected:
    bad = standing.step_of(found.first_bad.sha) if found.first_bad else newest(standing.steps, Mark.BAD)
    module = options.module or (bad.judgement.module if bad else "")
    good = _good_before(found, clone, standing)
    before, after = (_words(step, module) if step else None for step in (good, bad))
    return Bisected(options.subject, tree, standing, found, before, after, module)


def _good_before(found: Found, clone: Clone, standing: Standing) -> Step | None:
    """Return the good commit right before the first bad one, or the newest good one if that was not tried."""
    parents = clone.parents(found.first_bad.sha) if found.first_bad else ()
    tried = [step for sha in parents if (step := standing.step_of(sha)) and step.judgement.mark is Mark.GOOD]
    return tried[0] if tried else newest(standing.steps, Mark.GOOD)


def _words(step: Step, module: str) -> Words:
    """Return what the run of a step said of the module, from its results.json."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        results = json.loads((Path(step.folder) / "results.json").read_bytes())
        entry = next(entry for entry in results["modules"] if entry["name"] == module)
        return Words(step.commit, step.folder, entry["outcome"], tuple(entry["kernel_log"]))
    return Words(step.commit, step.folder, "")
