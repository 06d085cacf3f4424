# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a BTF server saved a build: some modules are written both ways, and have to be the same."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from kbtf_ci.errors import BuildError, file_error
from kbtf_ci.kernel.accounts import Call
from kbtf_ci.kernel.btfcache import Wrapper
from kbtf_ci.kernel.build import Built
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.pahole import Pahole
from kbtf_ci.kernel.split_btf import BASE, Place, SplitBtf, Written
from kbtf_ci.model.run_record import BtfServerRecord
from kbtf_ci.objfile.files import read_kernel_file

_SAMPLE: Final = 8  # modules


def btf_server_record(kbuild: Kbuild, built: Built, pahole: Pahole) -> BtfServerRecord | None:
    """Return what the server did in the make that ``built`` comes of; None where no call went to one.

    Raises BuildError where it wrote other BTF than pahole itself.
    """
    modules = [call for call in built.calls if call.of_module]
    done = [call for call in modules if call.route]
    if not done:
        return None
    served = [call.subject for call in done if call.route == "served"]
    server = [call for call in modules if call.outside]
    record = BtfServerRecord(
        served=len(served),
        fallbacks=len(done) - len(served),
        cpu_s=_cpu([*done, *server]),
        start_cpu_s=_cpu([call for call in server if call.kind == "server"]),
    )
    files = [file for file in _spread(sorted(served)) if (kbuild.build_dir / file).is_file()]
    return record if not files else _sampled(record, kbuild, files, pahole)


def _sampled(
    record: BtfServerRecord, kbuild: Kbuild, files: Sequence[str], pahole: Pahole
) -> BtfServerRecord:
    """Have the files' BTF written by a server and by pahole as kbuild calls it."""
    try:
        with tempfile.TemporaryDirectory(dir=kbuild.build_dir, prefix=".kbtf-ci-sample-") as name:
            base = read_kernel_file(kbuild.build_dir / "vmlinux").btf
            by_server = SplitBtf(
                kbuild.runner, Path(name, "server"), pahole, 1, detached=True, wrapper=Wrapper(server=True)
            )
            alone = replace(by_server, work=Path(name, "alone"), wrapper=Wrapper(), allocation={})
            ours, server_s = _written(by_server, base, kbuild.build_dir, files)
            theirs, pahole_s = _written(alone, base, kbuild.build_dir, files)
    except OSError as error:
        raise file_error(error, error.filename or kbuild.build_dir, "cannot be used") from error
    differing = [file for file in files if file not in theirs or ours.get(file) != theirs[file]]
    if differing:
        raise BuildError(
            f"{kbuild.build_dir / differing[0]}: the BTF server writes other BTF than pahole itself",
            hint=f"remove {kbuild.build_dir} and build without --btf-server",
        )
    sample = {"sample": len(files), "sample_pahole_cpu_s": pahole_s, "sample_server_cpu_s": server_s}
    return record.model_copy(update=sample)


def _written(
    how: SplitBtf, base: bytes, folder: Path, files: Sequence[str]
) -> tuple[Mapping[str, bytes], float]:
    """Return the BTF of each file, and the CPU seconds of all without the server's start."""
    found: dict[str, bytes] = {}

    def keep(written: Written) -> None:
        if not written.fault:
            found[files[written.number]] = written.result.read_bytes()

    how.work.mkdir()
    (how.work / BASE).write_bytes(base)
    how.write([Place(folder, file) for file in files], keep)
    return found, _cpu([call for call in how.calls() if call.kind != "server"])


def _spread(files: Sequence[str]) -> Sequence[str]:
    """Return so many of them, from all over the tree."""
    return files[:: -(-len(files) // _SAMPLE)] if files else ()


def _cpu(calls: Sequence[Call]) -> float:
    return round(sum(call.cpu_s for call in calls), 3)
