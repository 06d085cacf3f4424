# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a CI restores into the folder of ccache, held to be harmless in the real image."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.infra.runner import Command, run
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.source import Source

pytestmark = pytest.mark.engine

_COMPILE = "cd /tmp && echo 'int x;' > a.c && ccache gcc -c a.c -o a.o && sha256sum < a.o && ccache -s"


def test_of_another_cache_only_what_is_the_same_is_taken(
    engine: Engine, toolchain: Toolchain, tmp_path: Path
) -> None:
    cache = tmp_path / "ccache"
    (tmp_path / "build").mkdir()
    cache.mkdir()
    kbuild = Kbuild(
        runner=engine.runner(toolchain.image), source=Source(tmp_path, "", "", ""), ccache_dir=cache,
        build_dir=tmp_path / "build", jobs=1, toolchain=toolchain.image,
    )  # fmt: skip

    def compiled() -> str:
        command: Command = kbuild.command(("sh", "-c", _COMPILE), "compile")
        done = run(kbuild.runner, command)
        assert done.status == 0, done.text
        return done.text

    first = compiled()
    assert "Hits:              0" in first
    digest = first.split()[0]
    # Settings of somebody else's, and entries that are none.
    (cache / "ccache.conf").write_text("prefix_command = /bin/false\ndisable = true\n")
    kept = [path for path in cache.glob("?/**/*") if path.is_file() and path.suffix != ".lock"]
    for path in kept:
        path.write_bytes(b"of another version")
    assert kept
    second = compiled()
    assert second.split()[0] == digest
    assert "Uncacheable" not in second
