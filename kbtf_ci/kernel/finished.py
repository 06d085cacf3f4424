# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether a build directory still holds what make made of the same source, configuration and toolchain.

Where it does, make would find nothing to do, and takes many seconds to say so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from kbtf_ci.kernel.build import Built
from kbtf_ci.kernel.kbuild import Kbuild

_FILE: Final = "built.json"  # below the build directory's .kbtf-ci


def keep_finished(kbuild: Kbuild, stamp: str, built: Built) -> None:
    """Keep what make has made, for ``stamp``: Configured.stamp, "" where the source may change under it."""
    path = _path(kbuild)
    if not stamp:
        path.unlink(missing_ok=True)
        return
    values = {"stamp": stamp, "skipped_btf": dict(built.skipped_btf), "files": _files(kbuild)}
    path.write_text(json.dumps(values))


def find_finished(kbuild: Kbuild, stamp: str) -> Built | None:
    """Return what make made before for this stamp, where each of its files is as it left it; else None."""
    if not stamp:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError):
        values = json.loads(_path(kbuild).read_bytes())
        if values["stamp"] == stamp and values["files"] == _files(kbuild):
            return Built.of(kbuild, skipped_btf=values["skipped_btf"])
    return None


def _path(kbuild: Kbuild) -> Path:
    return kbuild.build_dir / ".kbtf-ci" / _FILE


def _files(kbuild: Kbuild) -> Mapping[str, list[int]]:
    """Return what make would tell a changed file by, and more. Raises OSError for one that is missing."""
    names = (*kbuild.products, *kbuild.modules)
    states = {name: (kbuild.build_dir / name).stat() for name in names}
    return {
        name: [state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
        for name, state in states.items()
    }
