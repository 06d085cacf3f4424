# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A run as KernelCI's common database takes it: a document of KCIDB's schema 5.3 (kcidb-io). Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.text import printable
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.results import Fault, ModuleEntry, Results
from kbtf_ci.model.run_record import RunRecord
from kbtf_ci.report.kernel_warning import plain
from kbtf_ci.report.more_cases import MoreCase, more_cases

_VERSION: Final = {"major": 5, "minor": 3}
_ORIGIN: Final = re.compile(r"[a-z0-9_]+")
_LOG: Final = 16384  # characters of a log_excerpt
# Of NOT_REACHED the harness says nothing, of UNREADABLE the test came to no word on the kernel.
_STATUS: Final = {Outcome.VERIFIED: "PASS", Outcome.NOT_REACHED: "MISS", Outcome.UNREADABLE: "ERROR"}


def kcidb(results: Results, run: RunRecord, origin: str) -> dict[str, Any]:
    """Return the document of a run: its checkout, its build, and a test a module, ``kbtf.<module>``.

    What is of no module and counts is a test below ``kbtf.kernel``. Times are in seconds. The same results
    of the same run have the same ids, others have others. ``origin`` is the CI system's name with KernelCI;
    UsageError for one that the schema does not take.
    """
    if not _ORIGIN.fullmatch(origin):
        raise UsageError(
            f"--kcidb {origin}: not the name of a CI system",
            hint="KCIDB takes small letters, digits and underscores, as in kernelci_lab",
        )
    ids = _Ids(results, run, origin)
    return {
        "version": dict(_VERSION),
        "checkouts": [_checkout(results, run, ids)],
        "builds": [_build(results, run, ids)],
        "tests": list(_tests(results, run, ids)),
    }


class _Ids:
    """Names of what a document holds, which begin with the CI system's own."""

    def __init__(self, results: Results, run: RunRecord, origin: str) -> None:
        # Of one build several run directories may be made, and one may be verified again.
        source = run.source.model_dump_json() if run.source else run.started
        built = (run.started, run.command, results.kernel.release, results.kernel.config_sha256)
        self.origin = origin
        self.checkout = f"{origin}:{_digest(source)}"
        self.build = f"{origin}:{_digest(source, *built)}"
        self._tests = f"{origin}:{_digest(source, *built, results.model_dump_json())}"

    def test(self, number: int) -> str:
        return f"{self._tests}.{number}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="backslashreplace")).hexdigest()[:32]


def _checkout(results: Results, run: RunRecord, ids: _Ids) -> dict[str, Any]:
    """Return where the source came from; of a kernel that others built no more than its release is known."""
    known = run.source is not None
    version = run.source.version if run.source else results.kernel.release
    return _without_empty(
        {
            "id": ids.checkout,
            "origin": ids.origin,
            "comment": f"Linux {printable(version)}" + ("" if known else ", built by others"),
            "start_time": _time(run.started) if known else None,
            "valid": True if known else None,
        }
    )


def _build(results: Results, run: RunRecord, ids: _Ids) -> dict[str, Any]:
    ours = run.prebuilt is None
    kernel = results.kernel
    return _without_empty(
        {
            "id": ids.build,
            "checkout_id": ids.checkout,
            "origin": ids.origin,
            "comment": f"Linux {printable(kernel.release)}",
            "architecture": re.sub(r"[^a-z0-9_]", "_", run.architecture.lower()),
            "compiler": printable(kernel.compiler),
            "config_name": printable(run.profile.name) if ours else None,
            "start_time": _time(run.started) if ours else None,
            "duration": run.stages.get("build") if ours else None,
            "status": "PASS" if ours else None,
            "misc": _without_empty(
                {"pahole": printable(kernel.pahole), "config_sha256": kernel.config_sha256}
            ),
        }
    )


def _tests(results: Results, run: RunRecord, ids: _Ids) -> Iterator[dict[str, Any]]:
    environment = {"comment": f"QEMU, {printable(results.guest.accel)}"} if results.guest else None
    told = [_module(one, results.fault(one)) for one in results.modules]
    told += map(_more, more_cases(results))
    for number, values in enumerate(told):
        yield _without_empty(
            {
                "id": ids.test(number),
                "build_id": ids.build,
                "origin": ids.origin,
                "start_time": _time(run.started),
                "environment": environment,
                **values,
            }
        )


def _module(module: ModuleEntry, fault: Fault | None) -> dict[str, Any]:
    status = _STATUS.get(module.outcome, "FAIL")
    lines = (*module.kernel_log, *(line for one in module.warnings for line in plain(one).splitlines()))
    return {
        "path": f"kbtf.{_path(module.name)}",
        "comment": f"BTF of the module {printable(module.name)}",
        "status": "FAIL" if fault and status == "PASS" else status,
        "duration": module.load_us / 1e6 if module.load_us else None,
        "log_excerpt": _log(lines) if fault or module.warnings else None,
        "misc": _without_empty(
            {
                "outcome": module.outcome.value,
                "reason": printable(fault.text) if fault else None,
                "load": printable(module.load) if module.load else None,
                "errno": module.errno,
                "btf_bytes": module.btf_bytes,
            }
        ),
    }


def _more(one: MoreCase) -> dict[str, Any]:
    lines = [line for warning in one.warnings for line in plain(warning).splitlines()]
    return {
        "path": f"kbtf.kernel.{_path(one.name)}",
        "comment": printable(one.fault.text),
        "status": "MISS" if one.fault.unseen else "FAIL",
        "log_excerpt": _log(lines),
        "misc": {"outcome": one.fault.kind},
    }


def _path(name: str) -> str:
    """Return a name in the letters that the schema's paths have; its comment has the name as it is."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", printable(name)) or "_"


def _log(lines: Sequence[str]) -> str:
    return "".join(f"{printable(line)}\n" for line in lines)[:_LOG]


def _time(text: str) -> str | None:
    """Return a time as RFC 3339 has it, None for one without a time zone, or for what is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time.isoformat() if time.tzinfo else None


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return it without what is not known: the schema has no null."""
    return {key: value for key, value in values.items() if value is not None and value not in ("", {})}
