# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What ``kbtf-ci encode`` came to, as text and as JSON."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from kbtf_ci.model.encoded import EncodedModule, Encoding, Route, by_fault
from kbtf_ci.model.names import some

SCHEMA: Final = "kbtf-ci/encode/1"
_WORDS: Final = {
    Route.SERVED: "{} by the server",
    Route.FALLBACK: "{} by pahole itself, as no server would",
    Route.ALONE: "{} by pahole alone",
}


def text(encoding: Encoding, modules: Sequence[EncodedModule], seconds: float) -> Iterator[str]:
    """Yield the lines that a person reads: what has no BTF and why, how it was written, and the totals."""
    for fault, failed in by_fault(modules).items():
        yield f"NOT ENCODED ({len(failed)}): {fault}"
        yield f"    {some([module.file for module in failed])}"
    release = f" ({encoding.release})" if encoding.release else ""
    yield f"base: {encoding.vmlinux}{release}"
    flags = shlex.join(encoding.flags) or "none"
    yield f"pahole {dotted(encoding.version)}, flags {encoding.flags_of}: {flags}"
    done = [module for module in modules if not module.fault]
    size = sum(module.btf_bytes + module.base_bytes for module in done)
    routes = Counter(module.route for module in done)
    how = ", ".join(_WORDS[route].format(number) for route in Route if (number := routes[route]))
    where = f" below {encoding.detached}" if encoding.detached else ""
    yield (
        f"{len(done)} of {len(modules)} modules{where}: {size:,} bytes of split BTF, "
        f"{how or 'none'}, {seconds:.1f} s"
    )


def document(encoding: Encoding, modules: Sequence[EncodedModule], seconds: float) -> dict[str, Any]:
    """Return the JSON document: one entry a module; sizes in bytes."""
    done = [module for module in modules if not module.fault]
    routes = Counter(module.route for module in done)
    return {
        "schema": SCHEMA,
        "vmlinux": {"file": encoding.vmlinux, "release": encoding.release},
        "pahole": {
            "version": encoding.version,
            "program": encoding.program,
            "flags": list(encoding.flags),
            "flags_of": encoding.flags_of,
        },
        "server": encoding.server,
        "detached": encoding.detached or None,
        "seconds": seconds,
        "totals": {
            "modules": len(modules),
            "encoded": len(done),
            "failed": len(modules) - len(done),
            **{route.value: routes[route] for route in Route},
            "btf_bytes": sum(module.btf_bytes for module in done),
            "base_bytes": sum(module.base_bytes for module in done),
        },
        "modules": [_entry(module) for module in modules],
    }


def dotted(version: str) -> str:
    """Return pahole's version as it says it itself, for Kconfig's: ``"1.30"`` for ``"130"``."""
    return f"{version[0]}.{version[1:]}"


def _entry(module: EncodedModule) -> dict[str, Any]:
    return {
        "file": module.file,
        "output": module.output if not module.fault else None,
        "btf_bytes": module.btf_bytes,
        "base_bytes": module.base_bytes,
        "route": module.route.value if module.route else None,
        "fault": module.fault or None,
        "said": module.said or None,
    }
