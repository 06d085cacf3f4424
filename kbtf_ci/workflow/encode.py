# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci encode``: many modules get their split BTF, outside of a kernel build."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kbtf_ci.errors import ExitCode, UsageError, file_error
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.whole import put_in_place
from kbtf_ci.kernel import split_btf
from kbtf_ci.kernel.btfcache import Wrapper
from kbtf_ci.kernel.kbuild import PAHOLE
from kbtf_ci.kernel.pahole import Pahole, flags_of_6_12, version
from kbtf_ci.kernel.split_btf import Place, SplitBtf, Written
from kbtf_ci.model.encoded import EncodedModule, Encoding, Route
from kbtf_ci.model.names import some
from kbtf_ci.objfile.encodable import section_bytes
from kbtf_ci.objfile.files import KernelFile, read_kernel_file
from kbtf_ci.report import encode as report
from kbtf_ci.workflow import workspace
from kbtf_ci.workflow.encodables import Candidate, candidates, examined, none_fit, places_of, stamp_of

_DISTILLED_SINCE: Final = 128  # pahole before ignores a feature that it does not know
_SPLIT_SINCE: Final = 119  # PAHOLE_HAS_SPLIT_BTF of lib/Kconfig.debug


@dataclass(frozen=True)
class EncodeOptions:
    """What the user asked for; ``detached`` is the folder for files of BTF alone, None for in place.

    ``flags`` are pahole's, None for those of Linux 6.12, and ``pahole`` is one of this machine's.
    """

    vmlinux: Path
    modules: tuple[Path, ...]
    suite: str
    detached: Path | None = None
    jobs: int = 1
    pahole: Path | None = None
    flags: tuple[str, ...] | None = None
    distilled: bool = False
    server: bool = True


@dataclass(frozen=True)
class EncodeResult:
    """What came of each module, by which pahole, in how many seconds of encoding."""

    encoding: Encoding
    modules: tuple[EncodedModule, ...]
    seconds: float

    @property
    def exit_code(self) -> ExitCode:
        """0 where every module has its BTF, else 1."""
        failed = any(module.fault for module in self.modules)
        return ExitCode.NOT_VERIFIED if failed else ExitCode.VERIFIED

    def text(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return report.text(self.encoding, self.modules, self.seconds)

    def document(self) -> Mapping[str, Any]:
        """Return the JSON document."""
        return report.document(self.encoding, self.modules, self.seconds)


def encode(options: EncodeOptions, reporter: Reporter) -> EncodeResult:
    """Give every module its split BTF against ``vmlinux``, in place or beside, each whole or not at all.

    Raises UsageError for a vmlinux without BTF, where no module can be given any, and where two of them would
    be written to one file.
    """
    reporter.stage("modules")
    modules = examined(
        candidates(options.modules, options.detached, reporter), in_place=options.detached is None
    )
    fit = sorted(
        (one for one in modules if not one.known.fault), key=lambda one: (-one.stamp[1], str(one.path))
    )
    if not fit:
        raise none_fit(modules)
    kernel = read_kernel_file(options.vmlinux)
    _warn(fit, kernel, options, reporter)
    tools = workspace.toolchain(options.suite, reporter)
    pahole, encoding = _pahole(options, kernel, tools)
    with _work_folder(kernel) as work:
        wrapper = Wrapper(server=True) if options.server else None
        how = SplitBtf(tools.runner, work, pahole, options.jobs, options.detached is not None, wrapper)
        began = time.monotonic()
        ended = _Writing(how, fit, places_of(fit, options.modules), reporter).run()
        seconds = round(time.monotonic() - began, 2)
    return EncodeResult(encoding, tuple(ended.get(one.path, one.ended) for one in modules), seconds)


def _warn(fit: Sequence[Candidate], kernel: KernelFile, options: EncodeOptions, reporter: Reporter) -> None:
    others = [one for one in fit if kernel.release and one.known.release not in ("", kernel.release)]
    if others:
        reporter.warn(
            f"{len(others)} modules are not of {kernel.release}, which {options.vmlinux} is: "
            f"{others[0].file} is of {others[0].known.release}"
        )
    ids = [one.file for one in fit if one.known.btf_ids]
    if ids and options.detached is None:
        reporter.warn(
            f"{len(ids)} modules have .BTF_ids, which the kernel's resolve_btfids fills once there is BTF "
            f"(resolve_btfids -b vmlinux MODULE): {some(ids, 3)}"
        )


def _pahole(options: EncodeOptions, kernel: KernelFile, tools: workspace.Tools) -> tuple[Pahole, Encoding]:
    found = Pahole("pahole" if options.pahole is None else PAHOLE, (), options.pahole)
    number = version(tools.runner, found)
    if int(number) < _SPLIT_SINCE:
        raise UsageError(f"pahole {report.dotted(number)} writes no split BTF: 1.19 or newer wanted")
    if options.distilled and int(number) < _DISTILLED_SINCE:
        raise UsageError(f"pahole {report.dotted(number)} writes no .BTF.base: 1.28 or newer wanted")
    more = ("--btf_features=distilled_base",) if options.distilled else ()
    flags = flags_of_6_12(int(number)) if options.flags is None else options.flags
    whose = "of Linux 6.12" if options.flags is None else "as given"
    encoding = Encoding(
        vmlinux=str(options.vmlinux),
        release=kernel.release,
        version=number,
        program=str(options.pahole or "pahole"),
        flags=(*flags, *more),
        flags_of=whose,
        detached=str(options.detached or ""),
        server=options.server,
    )
    return replace(found, flags=encoding.flags), encoding


@contextmanager
def _work_folder(kernel: KernelFile) -> Iterator[Path]:
    """Give a folder with the base's BTF in it; pahole takes that for a vmlinux."""
    scratch = cache_root() / "build"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch, prefix=".encode-") as name:
            (Path(name) / split_btf.BASE).write_bytes(kernel.btf)
            yield Path(name)
    except OSError as error:
        raise file_error(error, error.filename or scratch, "cannot be used") from error


class _Writing:
    """Has the BTF written, and puts each result in its place as it comes."""

    def __init__(
        self, how: SplitBtf, fit: Sequence[Candidate], places: Sequence[Place], reporter: Reporter
    ) -> None:
        self._how = how
        self._fit = fit
        self._places = places
        self._reporter = reporter
        self._ended: list[EncodedModule | None] = [None] * len(fit)
        self._done = 0

    def run(self) -> dict[Path, EncodedModule]:
        """Return what came of each, by its file."""
        self._reporter.stage("encode")
        self._how.write(self._places, self._take)
        routes = self._how.routes(len(self._fit))
        ended = {}
        for number, (one, module) in enumerate(zip(self._fit, self._ended, strict=True)):
            ended[one.path] = replace(module or one.ended, route=routes.get(number))
        self._tell_fallbacks(list(ended.values()))
        return ended

    def _take(self, written: Written) -> None:
        one = self._fit[written.number]
        fault, said = (
            split_btf.by_name(written.number, words, one.file) for words in (written.fault, written.said)
        )
        module = replace(one.ended, fault=fault, said=said)
        if not fault:
            module = self._put(written.result, one, module)
        self._ended[written.number] = module
        self._done += 1
        self._reporter.progress(one.file, self._done, len(self._fit))

    def _put(self, result: Path, one: Candidate, module: EncodedModule) -> EncodedModule:
        try:
            module = self._weighed(result, module)
            if not module.btf_bytes:
                return replace(module, fault="pahole wrote no BTF")
            if not self._how.detached and stamp_of(one.path) != one.stamp:
                return replace(module, btf_bytes=0, fault="changed while it was encoded, and left alone")
            one.output.parent.mkdir(parents=True, exist_ok=True)
            put_in_place(result, one.output, like_target=not self._how.detached)
        except OSError as error:
            return replace(one.ended, fault=f"{one.output} cannot be written: {error.strerror}")
        except UsageError as error:
            return replace(one.ended, fault=f"pahole left no module: {error.message}")
        finally:
            result.unlink(missing_ok=True)
        return module

    def _weighed(self, result: Path, module: EncodedModule) -> EncodedModule:
        if self._how.detached:
            return replace(module, btf_bytes=result.stat().st_size if result.exists() else 0)
        btf, base = section_bytes(result)
        return replace(module, btf_bytes=btf, base_bytes=base)

    def _tell_fallbacks(self, ended: Sequence[EncodedModule]) -> None:
        left = [one for one in ended if one.route is Route.FALLBACK]
        if left:
            why = left[0].said.rpartition("not by a server: ")[2]
            self._reporter.warn(f"{len(left)} modules were written by pahole itself, not by a server: {why}")
        others = [one for one in ended if one.said and not one.fault and one.route is not Route.FALLBACK]
        if others:
            self._reporter.warn(
                f"pahole had something to say of {len(others)} modules; of {others[0].file}: {others[0].said}"
            )
