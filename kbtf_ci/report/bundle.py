# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A bundle and its replay, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kbtf_ci.infra.text import printable
from kbtf_ci.model import bundle as names
from kbtf_ci.model.bundle import Bundle, Seen
from kbtf_ci.model.machines.table import machine_of
from kbtf_ci.model.outcome import errno_text

REPLAY_SCHEMA: Final = "kbtf-ci/replay/1"
_FILES: Final = {
    names.SCRIPT: "boots all this in plain QEMU and compares; ACCEL=kvm where that works",
    names.EXPECTED: "what the kernel said of the module, as boot.sh compares it",
    names.DIAGNOSIS: "the verdict, and what kbtf-ci makes of it without a boot",
    names.LOG: "all lines of the kernel's log during the load",
    names.CONFIG: "the kernel's configuration",
    names.CARRIER: "the module's .BTF in the smallest module that there can be, without its code",
    names.BASE: "the .BTF of the kernel's vmlinux, which the module's is read over",
    names.KERNEL: "the kernel's image",
    names.INITRAMFS: "busybox, a program that loads the module, and the module",
    names.MANIFEST: "the same for programs, with the SHA-256 of each file",
}


def diagnosis(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the verdict on a module of results.json, and the offline check's word."""
    yield f"{entry['name']}: {entry['outcome']}{_errno(-(entry['errno'] or 0))}"
    if entry["reason"]:
        yield entry["reason"]
    predicted = entry["predicted"] or {}
    for key in ("outcome", "rule", "cause", "base_mismatch", "advice"):
        if predicted.get(key):
            yield f"predicted {key.replace('_', ' ')}: {predicted[key]}"


def read_me(bundle: Bundle) -> Iterator[str]:
    """Yield what a person who unpacks a bundle has to know."""
    kernel, module = bundle.kernel, bundle.module
    yield f"The BTF of module {module.name} ({module.file}, {module.btf_bytes:,} bytes)"
    yield f"on Linux {kernel.release} ({kernel.architecture}): {bundle.outcome}{_errno(bundle.errno)}"
    yield f"pahole {kernel.pahole or 'unknown'}, {kernel.compiler or 'compiler unknown'}"
    yield f"bundle made by kbtf-ci {bundle.kbtf_ci}"
    yield ""
    yield f"    ./{names.SCRIPT}                          needs {_qemu(kernel.architecture)} and nothing else"
    yield "    kbtf-ci repro replay THE-ARCHIVE"
    yield ""
    yield from (f"{name:<16} {text}" for name, text in _FILES.items())


def _qemu(architecture: str) -> str:
    return machine_of(architecture, names.MANIFEST).qemu


def written(path: object, total: int, sizes: Mapping[str, int], bundle: Bundle) -> Iterator[str]:
    """Yield what was written: the archive of ``total`` bytes and the files in it."""
    yield f"{path}: {total:,} bytes, {bundle.module.name} on {bundle.kernel.release}: {bundle.outcome}"
    yield from (f"  {size:>12,}  {name}" for name, size in sizes.items())


def replay(bundle: Bundle, seen: Seen, differing: Sequence[str]) -> Iterator[str]:
    """Yield what was seen, and whether it is what the bundle records."""
    yield f"{bundle.module.name} on {bundle.kernel.release}, recorded as {bundle.outcome}:"
    yield from (f"  {printable(line)}" for line in seen.lines())
    if not differing:
        yield "the same as recorded"
        return
    yield "NOT the same as recorded:"
    yield from (f"  {line}" for line in differing)
    yield "recorded:"
    yield from (f"  {printable(line)}" for line in bundle.seen.lines())


def replay_document(bundle: Bundle, seen: Seen, differing: Sequence[str], accel: str) -> dict[str, Any]:
    """Return the JSON document; errno negative, None for none."""
    return {
        "schema": REPLAY_SCHEMA,
        "module": bundle.module.name,
        "kernel": bundle.kernel.release,
        "accel": accel,
        "same": not differing,
        "differences": list(differing),
        "recorded": {"outcome": bundle.outcome.value, **_seen(bundle.seen)},
        "observed": _seen(seen),
    }


def _seen(seen: Seen) -> dict[str, Any]:
    return {
        "errno": -seen.errno or None,
        "sysfs_sha256": seen.sysfs_sha256 or None,
        "kernel_log": list(seen.log),
    }


def _errno(number: int) -> str:
    return f" {errno_text(number)}" if number else ""
