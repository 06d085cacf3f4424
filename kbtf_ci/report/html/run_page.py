# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""report.html: one run, for a person with a browser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from kbtf_ci.infra.text import printable
from kbtf_ci.model.cause import Cause, causes
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.results import ModuleEntry, Results
from kbtf_ci.model.run_record import RunRecord, ToolchainRecord
from kbtf_ci.model.sizes import Sizes
from kbtf_ci.report.html.figures import figures, remarks
from kbtf_ci.report.html.render import as_data, render
from kbtf_ci.report.kernel_warning import plain
from kbtf_ci.report.repeat import repeat

_NAMES: Final = 40  # of the modules of one cause; the table has all
_LINES: Final = 40  # of the kernel's, of one cause
_COLUMNS: Final = (
    "name", "outcome", "bytes", "load", "us", "file", "reason", "sha256", "causes", "log",
)  # fmt: skip


def run_page(
    results: Results, record: RunRecord | None, sizes: Sizes | None, folder: str, note: str = ""
) -> str:
    """Return the page.

    ``folder`` is how commands on it name the run directory, ``note`` what is to be said of the toolchain.
    """
    found = causes(results)
    return render(
        "run.html.j2",
        title=f"Module BTF of {results.kernel.release}",
        headline=_headline(results),
        results=results,
        tiles=list(_tiles(results)),
        causes=[(cause, repeat(cause, results, folder)) for cause in found],
        most_names=_NAMES,
        most_lines=_LINES,
        outcomes=Counter(module.outcome.value for module in results.modules),
        figures=list(figures(results, record, sizes)),
        remarks=list(remarks(sizes, folder)),
        proofs=list(_proofs(results)),
        environment=list(_environment(results, record, note)),
        packages=sorted(record.toolchain.packages.items()) if record and record.toolchain else [],
        data=_data(results, found),
    )


def _headline(results: Results) -> str:
    told = f"{results.verified:,} of {len(results.modules):,} modules are verified"
    return f"{told}; the run ended early: {results.ended}" if results.ended else f"{told}."


def _tiles(results: Results) -> Iterator[tuple[str, str]]:
    yield "Modules", f"{len(results.modules):,}"
    for outcome, count in Counter(module.outcome.value for module in results.modules).items():
        yield outcome, f"{count:,}"
    yield "Split BTF", f"{results.btf_bytes:,} bytes"
    if results.guest is not None:
        yield "Guest", results.guest.accel.upper()
        yield "Boot", f"{results.guest.boot_s:.1f} s"
        yield "All loads", f"{results.guest.load_s:.1f} s"


def _data(results: Results, found: Sequence[Cause]) -> Markup:
    """Return what the table shows: a row a module, in the order of ``columns``."""
    of_module: dict[str, list[int]] = {}
    for number, cause in enumerate(found):
        for name in cause.modules:
            of_module.setdefault(name, []).append(number)
    return as_data({
        "columns": _COLUMNS,
        "causes": [printable(cause.title) for cause in found],
        "modules": [_row(module, of_module.get(module.name, [])) for module in results.modules],
    })  # fmt: skip


def _row(module: ModuleEntry, numbers: Sequence[int]) -> list[Any]:
    log = [*module.kernel_log, *(line for one in module.warnings for line in plain(one).splitlines())]
    return [
        printable(module.name),
        module.outcome.value,
        module.btf_bytes,
        module.load,
        module.load_us,
        printable(module.file),
        printable(module.reason) or None,
        module.btf_sha256,
        numbers,
        [printable(line) for line in log] or None,
    ]


def _proofs(results: Results) -> Iterator[str]:
    fentry, kfunc = results.proof, results.kfunc_proof
    if fentry is not None:
        counts = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in fentry.as_predicted.items() if n)
        yield fentry.cannot or (
            f"fentry: {fentry.functions:,} functions of {fentry.modules:,} modules; as predicted: "
            f"{counts or 'none'}; attached to {fentry.attached_functions:,}; {fentry.seconds:.1f} s"
        )
    if kfunc is not None:
        yield kfunc.cannot or (
            f"kfuncs: of {kfunc.kfuncs} {kfunc.callable} are callable, {len(kfunc.refused)} refused, "
            f"{len(kfunc.not_proven)} not proven; {kfunc.seconds:.1f} s"
        )
        yield from (f"refused: {one.module}:{one.kfunc}: {one.why}" for one in kfunc.refused)


def _environment(results: Results, record: RunRecord | None, note: str) -> Iterator[tuple[str, str]]:
    kernel = results.kernel
    facts = {"Kernel": kernel.release, **_of_record(record, note)}
    facts |= {"Compiler": kernel.compiler, "pahole": kernel.pahole, "Configuration": kernel.config_sha256}
    if results.guest is not None:
        guest = results.guest
        facts["Guests"] = f"{guest.guests} ({guest.architecture}, {guest.accel}), {guest.boots} boots"
        facts["Loaded as"] = ", ".join(f"{count:,} {mode}" for mode, count in results.modes.items())
    facts["Ends with 1 for"] = ", ".join(results.fail_on)
    if results.overridden:
        facts["Passed over by modprobe"] = ", ".join(f"{one.file} for {one.by}" for one in results.overridden)
    yield from ((name, value) for name, value in facts.items() if value)


def _of_record(record: RunRecord | None, note: str) -> Mapping[str, str]:
    if record is None:
        return {}
    options, source, toolchain, pahole = record.options, record.source, record.toolchain, record.pahole
    return {
        "Command": record.command,
        "Started": record.started,
        "kbtf-ci": record.kbtf_ci,
        "Profile": options.config if isinstance(options, BuildOptions) else "",
        "Source": f"{source.version} {source.origin}" if source else "",
        "Of others": record.prebuilt.origin if record.prebuilt else "",
        "Toolchain": _toolchain(toolchain, note) if toolchain else "",
        "BTF server": record.btf_server.headline if record.btf_server else "",
        "Compiler's image": record.compiler_toolchain.image if record.compiler_toolchain else "",
        "pahole's libbpf": pahole.libbpf if pahole else "",
        "pahole's flags": " ".join(pahole.flags) if pahole else "",
    }


def _toolchain(toolchain: ToolchainRecord, note: str) -> str:
    return f"{toolchain.image} ({note})" if note else toolchain.image
