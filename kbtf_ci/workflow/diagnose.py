# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci diagnose``: a person's texts read, judged, and held against the files where there are some."""

from __future__ import annotations

import io
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from kbtf_ci.errors import ExitCode, UsageError, file_error
from kbtf_ci.infra.record import Reporter
from kbtf_ci.model.outcome import Outcome, errno_text
from kbtf_ci.model.prediction import Prediction
from kbtf_ci.model.symptom import Conclusion, Diagnosis, Line, Proof
from kbtf_ci.objfile import compression
from kbtf_ci.report import diagnose as report
from kbtf_ci.symptoms.evidence import gather, spans
from kbtf_ci.symptoms.judge import judge
from kbtf_ci.symptoms.lines import NotTextError, joined, log_lines
from kbtf_ci.workflow.check import CheckOptions, check

STDIN: Final = "-"
_WHAT_TO_GIVE: Final = "give text: dmesg, journalctl -k, a console's or build's log, the text of a report"
_UNPACKED: Final = 512 << 20


@dataclass(frozen=True)
class DiagnoseOptions:
    """What the user asked for: texts, and the files that prove what they suggest."""

    files: tuple[str, ...]
    vmlinux: Path | None = None
    modules: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Diagnosed:
    """The diagnosis, and how it is shown."""

    diagnosis: Diagnosis

    @property
    def exit_code(self) -> ExitCode:
        """0 where a BTF failure was found, explained or in doubt; 1 where nothing shows one."""
        found = self.diagnosis.conclusion in (Conclusion.EXPLAINED, Conclusion.IN_DOUBT)
        return ExitCode.VERIFIED if found else ExitCode.NOT_VERIFIED

    def text(self, *, brief: bool = False) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return report.text(self.diagnosis, brief=brief)

    def document(self) -> Mapping[str, object]:
        """Return the JSON document."""
        return report.document(self.diagnosis)


def diagnose(options: DiagnoseOptions, reporter: Reporter) -> Diagnosed:
    """Return what the texts show.

    Raises UsageError for a text that cannot be read or is none, and for files that cannot be checked.
    """
    if bool(options.modules) != (options.vmlinux is not None):
        raise UsageError(
            "the offline check wants both a kernel and its modules", hint="--vmlinux FILE --modules FILE|DIR"
        )
    counted = _Counted()
    evidence = gather(joined(counted.through(_lines(options.files)), spans))
    found = judge(evidence, counted.boots)
    if options.vmlinux is not None:
        checked = check(CheckOptions(options.modules, options.vmlinux), reporter)
        found = _proven(found, checked.predictions)
    return Diagnosed(found)


class _Counted:
    """Counts the boots that pass through."""

    def __init__(self) -> None:
        self.boots = 0

    def through(self, lines: Iterator[Line]) -> Iterator[Line]:
        for line in lines:
            self.boots = max(self.boots, line.boot)
            yield line


def _lines(files: Sequence[str]) -> Iterator[Line]:
    """Yield the lines of all texts; each text is another boot's."""
    boot = 0
    for file in files or (STDIN,):
        name = "<stdin>" if file == STDIN else file
        with _opened(file) as stream:
            empty = True
            try:
                for line in log_lines(stream, name, boot + 1):
                    empty = False
                    boot = max(boot, line.boot)
                    yield line
            except NotTextError as error:
                raise UsageError(f"{name}: {error} is no log", hint=_WHAT_TO_GIVE) from error
        if empty:
            raise UsageError(f"{name}: it is empty", hint=_WHAT_TO_GIVE)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """Open a text, unpacked where it is compressed. Raises UsageError."""
    if file == STDIN:
        if sys.stdin.isatty():
            raise UsageError("no text to diagnose", hint=f"name files, or pipe one in; {_WHAT_TO_GIVE}")
        yield sys.stdin.buffer
        return
    path = Path(file)
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise UsageError(f"{file}: it is a folder", hint=_WHAT_TO_GIVE)
        with path.open("rb") as stream:
            packed = stream.seekable() and compression.format_of(stream.read(16)) is not None
            if packed:
                yield io.BytesIO(compression.load(path, _UNPACKED))
                return
            if stream.seekable():
                stream.seek(0)
            yield stream
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error


def _proven(found: Diagnosis, predictions: Sequence[Prediction]) -> Diagnosis:
    """Put the offline check's word beside the text's."""
    proofs = tuple(_proof(found, one) for one in predictions)
    faults = [one for one in predictions if _is_fault(one)]
    if found.conclusion in (Conclusion.EXPLAINED, Conclusion.IN_DOUBT) or not faults:
        return replace(found, proofs=proofs)
    names = ", ".join(one.name for one in faults[:3])
    return replace(
        found,
        proofs=proofs,
        conclusion=Conclusion.EXPLAINED,
        summary=f"The text shows no BTF failure, and the files do: {names}: {faults[0].cause}",
    )


def _is_fault(one: Prediction) -> bool:
    return one.outcome in (Outcome.REJECTED, Outcome.DROPPED) or bool(one.base_mismatch)


def _proof(found: Diagnosis, one: Prediction) -> Proof:
    module = one.name.replace("-", "_")
    said = [refusal for refusal in found.refusals if refusal.module.replace("-", "_") == module]
    fault = _is_fault(one)
    errno = f" {errno_text(one.errno)}" if one.errno else ""
    rule = f" by {one.rule}" if one.rule else ""
    cause = f"; {one.cause}: {one.advice}" if one.cause else ""
    text = f"{one.outcome.value}{errno}{rule}{cause}" if fault or one.cause else "the kernel takes its BTF"
    if not said:
        return Proof(one.name, one.file, text, None)
    same_errno = not one.errno or any(refusal.errno in (0, one.errno) for refusal in said)
    return Proof(one.name, one.file, text, fault and same_errno)
