# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci verify --kernel``: a kernel that others built, and all its modules."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from kbtf_ci import __version__
from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.guest.accel import choose
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.infra import rundir
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.record import Reporter
from kbtf_ci.kernel.prebuilt import Prebuilt, check_named, find
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.options import PrebuiltOptions
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.depmod import KEPT_CONFIGURATION, read_preference
from kbtf_ci.objfile.elf import MODULE_LIMIT
from kbtf_ci.objfile.files import parse_config
from kbtf_ci.objfile.inventory import module_files
from kbtf_ci.workflow import verify as verification
from kbtf_ci.workflow.verify import GuestOptions, Run, Verdict, new_run
from kbtf_ci.workflow.workspace import toolchain


def verify(
    options: PrebuiltOptions, guest: GuestOptions, output: Path | None, command: str, reporter: Reporter
) -> Verdict:
    """Boot a kernel that others built and judge all its modules. Raises KbtfError as ``run.run``."""
    check_named(options.kernel)
    facts = {
        "kbtf_ci": __version__,
        "command": command,
        "wishes": options.facts(),
        # One CPU a guest: the probe loads one module after the other, and more guests share better.
        "profile": {"name": "prebuilt", "memory_mib": None, "cpus": 1},
    }
    with new_run(output, "prebuilt", facts, reporter) as this, this.record.track():
        with this.record.stage("toolchain"):
            tools = toolchain(options.suite, reporter)
        this.record.add(toolchain=asdict(tools.image))
        if guest.accel is Accel.KVM:
            choose(tools.runner, guest.accel, reporter.warn)
        with this.record.stage("unpack"):
            found = find(options.kernel, options.modules, cache_root() / "packages", tools.runner)
            _take(found, this)
        return verification.verify(guest, tools.runner, this)


def _take(found: Prebuilt, this: Run) -> None:
    """Put into the run directory what a build would have left there, the modules unpacked."""
    directory = this.directory
    files = module_files(found.modules)
    try:
        (directory.kernel / "bzImage").write_bytes(found.image.read_bytes())
        config = found.config.read_text(errors="replace") if found.config else ""
        if found.config:
            rundir.write_text(directory.file("kernel.config"), config)
        _unpack(files, found.modules, directory.modules)
        _keep_preference(found.modules, directory.modules)
    except OSError as error:
        raise InfrastructureError(f"{directory.path}: cannot be written: {error.strerror}") from error
    this.reporter.note(f"{found.release}: {len(files)} modules from {found.origin}")
    this.record.add(
        kernel=asdict(_facts(found, config)),
        prebuilt={"origin": found.origin, "builtin": sorted(found.builtin)},
        skipped_btf={},
    )


def _keep_preference(source: Path, target: Path) -> None:
    """Keep what decides which of several files of one module is loaded."""
    rundir.write_text(target / KEPT_CONFIGURATION, read_preference(source).configuration())
    if (source / "modules.dep").is_file():
        shutil.copyfile(source / "modules.dep", target / "modules.dep")


def _unpack(files: Iterable[Path], source: Path, target: Path) -> None:
    def one(path: Path) -> None:
        plain = target / path.relative_to(source)
        plain = plain.with_name(plain.name[: plain.name.rindex(".ko")] + ".ko")
        plain.parent.mkdir(parents=True, exist_ok=True)
        try:
            plain.write_bytes(load(path, MODULE_LIMIT)[:])
        except UsageError:
            # It goes on as it is, packed or not, and the inventory says what is wrong with it.
            shutil.copy2(path, target / path.relative_to(source), follow_symlinks=False)

    # Decompressing and writing let other threads run.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(one, files):
            pass


def _facts(found: Prebuilt, config: str) -> KernelFacts:
    values = parse_config(config)
    return KernelFacts(
        release=found.release,
        config_sha256=hashlib.sha256(config.encode()).hexdigest() if config else "",
        pahole=values.get("CONFIG_PAHOLE_VERSION", ""),
        compiler=values.get("CONFIG_CC_VERSION_TEXT", "").strip('"'),
    )
