# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is said of a build's BTF server, with programs in the place of pahole and of the wrapper."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import BuildError
from kbtf_ci.infra.runner import SCRATCH
from kbtf_ci.kernel.accounts import Call
from kbtf_ci.kernel.btfcache import PROGRAM, Wrapper
from kbtf_ci.kernel.build import Built
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.pahole import Pahole
from kbtf_ci.kernel.server_saving import btf_server_record
from kbtf_ci.kernel.source import Source
from kbtf_ci.model.run_record import BtfServerRecord
from tests.support import images
from tests.support.local import LocalRunner

# Writes what it is told to, and of each call the cost that it has: a server's half of pahole's own.
_WRAPPER = """#!/bin/sh
for word; do
  case $word in --btf_encode_detached=*) out=${word#*=} ;; esac
  module=$word
done
account() { printf '%%s\\t%%s\\t%%s\\t0\\t0\\t0\\n' "$1" "$module" "$2" >> "$KBTF_CI_ACCOUNTS"; }
if [ "$KBTF_CI_BTF_SERVER" ]; then
  [ -e started ] || { touch started; account server 3000000; }
  account off+served 1000; account serve 249000; printf %s > "$out"
else
  account off 500000; printf bytes > "$out"
fi
"""


class Bench:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._build = folder / "build"
        for number in range(20):
            module = self._build / f"fs/m{number:02}.ko"
            module.parent.mkdir(parents=True, exist_ok=True)
            module.write_bytes(b"module")
        (self._build / "vmlinux").write_bytes(images.vmlinux())

    def record(self, *calls: Call, written: str = "bytes") -> BtfServerRecord | None:
        wrapper = self._folder / "wrapper"
        wrapper.write_text(_WRAPPER % written)
        wrapper.chmod(0o755)
        runner = LocalRunner({SCRATCH: self._folder / "scratch", PROGRAM: wrapper})
        tree = Source(self._folder, "6.12", "tree", "key")
        how = Kbuild(runner, tree, self._build, self._folder, 1, "none", wrapper=Wrapper(server=True))
        built = Built("6.12", self._build, self._build, self._build, (), calls=calls)
        return btf_server_record(how, built, Pahole("pahole", ("-j",)))


def served(number: int) -> Call:
    return Call("off", f"fs/m{number:02}.ko", 0.1, 0.0, 1.0, 9, "served")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_was_saved_is_measured_on_some_modules_written_both_ways(bench: Bench) -> None:
    started = Call("server", "vmlinux", 3.0, 0.0, 3.0, 9)
    child = Call("serve", "fs/m00.ko", 0.2, 0.1, 1.0, 9)
    alone = Call("off", "fs/m19.ko", 0.5, 0.0, 1.0, 9, "fallback")
    found = bench.record(
        Call("base", "vmlinux", 9.0, 0.0, 9.0, 9), started, child, *map(served, range(19)), alone
    )
    assert found is not None
    assert (found.served, found.fallbacks, found.start_cpu_s) == (19, 1, 3.0)
    assert found.cpu_s == pytest.approx(3.0 + 0.3 + 1.9 + 0.5)
    # Every third of 19.
    assert (found.sample, found.sample_pahole_cpu_s, found.sample_server_cpu_s) == (7, 3.5, 1.75)
    assert found.saved_cpu_s == pytest.approx(19 * 0.25 - 3.0)
    assert found.headline == (
        "19 modules by a server, 1 by pahole itself in its place; 5.7 CPU s, about 1.8 saved "
        "(by 7 modules written both ways)"
    )


def test_other_btf_than_paholes_ends_the_build(bench: Bench) -> None:
    with pytest.raises(BuildError, match=r"fs/m00\.ko: the BTF server writes other BTF") as caught:
        bench.record(served(0), written="others")
    assert "--btf-server" in caught.value.hint


def test_only_fallbacks_leave_nothing_to_sample(bench: Bench) -> None:
    found = bench.record(Call("miss", "fs/m00.ko", 0.5, 0.0, 1.0, 9, "fallback"))
    assert found is not None
    assert (found.served, found.fallbacks, found.sample, found.saved_cpu_s) == (0, 1, 0, None)


def test_a_make_that_asked_no_server_has_no_record(bench: Bench) -> None:
    assert bench.record() is None
    assert bench.record(Call("hit", "fs/m00.ko", 0.1, 0.0, 1.0, 9)) is None
