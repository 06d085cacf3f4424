# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The pahole of one kernel: which program, and the flags that kbuild gives it for a module's BTF."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kbtf_ci.errors import BuildError, InfrastructureError, UsageError
from kbtf_ci.infra.runner import Command, Mount, Runner, run
from kbtf_ci.kernel.diagnostics import Diagnostics
from kbtf_ci.kernel.kbuild import Kbuild, pahole_mounts
from kbtf_ci.kernel.kept_pahole import embedded_libbpf
from kbtf_ci.model.run_record import PaholeRecord

# A name with a dot in front becomes nobody's default goal: make hands --eval on to every make below it.
_TARGET = ".kbtf-ci-pahole"
# kbuild exports these to the recipe that writes a module's BTF (cmd_btf_ko of scripts/Makefile.modfinal),
# PAHOLE_FLAGS out of scripts/pahole-flags.sh (Linux 6.1) or scripts/Makefile.btf (6.12). A kernel that does
# not export them gives pahole no flags for a module.
_RECIPE = f'{_TARGET}: ; @echo "{_TARGET}|$$PAHOLE|$$PAHOLE_FLAGS $$MODULE_PAHOLE_FLAGS"'
# Much of a short-lived pahole's time is the first touch of its memory: glibc is told to take it in large
# pages and to keep it (glibc.malloc.* of its manual), as a server is (containers/btfserver/start.c).
ALLOCATION: Final[Mapping[str, str]] = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1:glibc.malloc.top_pad=16777216:"
    "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184"
}

_ANSWER = re.compile(rf"^{re.escape(_TARGET)}\|(.*)\|(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Pahole:
    """A pahole as kbuild calls it: ``pahole -J FLAGS --btf_base vmlinux MODULE``.

    ``host`` is the host's file behind ``program`` where it is not the image's own.
    """

    program: str
    flags: tuple[str, ...]
    host: Path | None = None

    @property
    def record(self) -> PaholeRecord:
        """What run.json keeps of it; ``host`` stands among the options there."""
        return PaholeRecord(program=self.program, flags=list(self.flags))

    @classmethod
    def of(cls, record: PaholeRecord, host: Path | None) -> Pahole:
        """Return what run.json keeps."""
        return cls(record.program, tuple(record.flags), host)

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What a container needs to run it. Raises UsageError when the host's file is gone."""
        if self.host is None:
            return ()
        if not self.host.is_file():
            raise UsageError(
                f"{self.host}: the pahole that the kernel was built with is gone", hint="put it back there"
            )
        return pahole_mounts(self.host)


def keep_answer(kbuild: Kbuild, stamp: str) -> Pahole:
    """Return what ask_kbuild() does, once for each ``stamp``: Configured.stamp, "" to ask in any case.

    Where nothing that decides them has changed, the flags have not: the question takes a make of seconds.
    """
    kept = kbuild.build_dir / ".kbtf-ci" / "pahole.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        values = json.loads(kept.read_bytes())
        if stamp and values["stamp"] == stamp:
            return Pahole.of(PaholeRecord(**values["pahole"]), kbuild.pahole)
    asked = ask_kbuild(kbuild)
    if stamp:
        kept.write_text(json.dumps({"stamp": stamp, "pahole": asked.record.model_dump()}))
    return asked


def ask_kbuild(kbuild: Kbuild) -> Pahole:
    """Return the pahole of a configured build directory, in kbuild's own words.

    Raises BuildError when make does not answer, InfrastructureError where that is the machine's fault.
    """
    argv = kbuild.argv("-s", f"--eval={_RECIPE}", _TARGET)
    done = run(kbuild.runner, kbuild.command(argv, "pahole's flags"))
    answer = _ANSWER.search(done.text)
    if done.status != 0 or answer is None:
        if fault := Diagnostics(done.text).machine_fault(done.status, kbuild.build_dir):
            raise fault
        raise BuildError("kbuild does not tell its flags of pahole", detail=done.text.strip()[-2000:])
    program = kbuild.real_pahole if kbuild.wrapper is not None else answer[1] or "pahole"
    return Pahole(program, tuple(shlex.split(answer[2])), kbuild.pahole)


def version(runner: Runner, pahole: Pahole) -> str:
    """Return pahole's version as Kconfig writes it, ``"130"`` for 1.30 (scripts/pahole-version.sh).

    Raises InfrastructureError when it does not run.
    """
    done = run(runner, Command((pahole.program, "--version"), pahole.mounts, label="pahole"))
    number = re.search(r"^v(\d+)\.(\d+)", done.text, re.MULTILINE)
    if done.status != 0 or number is None:
        raise InfrastructureError(f"{pahole.program} --version: {done.text.strip()[-300:] or 'no answer'}")
    return f"{number[1]}{number[2]}"


_LIBBPF: Final = r"""
program=$(command -v "$0") || exit 1
library=$(ldd "$program" 2> /dev/null | sed -n 's/^[[:space:]]*libbpf\.so[^ ]* => \([^ ]*\).*/\1/p')
[ -z "$library" ] && echo "built in" || basename "$(readlink -f "$library")"
"""


def libbpf(runner: Runner, pahole: Pahole) -> str:
    """Return the version of the libbpf that a pahole is started with: ``"1.5.0"``, or ``"1.8 built in"``.

    Of one that was not built here it is "built in" alone, "" where nothing tells it. Raises UsageError when
    the program is gone.
    """
    done = run(runner, Command(("sh", "-c", _LIBBPF, pahole.program), pahole.mounts, label="libbpf"))
    answer = done.text.strip()
    if done.status != 0:
        return ""
    if answer == "built in":
        return f"{embedded_libbpf(pahole.host) if pahole.host else ''} {answer}".strip()
    number = re.fullmatch(r"libbpf\.so\.(\d+(?:\.\d+)*)", answer)
    return number[1] if number else ""


def recorded(runner: Runner, pahole: Pahole) -> PaholeRecord:
    """Return what run.json keeps of a pahole, the libbpf that it is started with among it."""
    return pahole.record.model_copy(update={"libbpf": libbpf(runner, pahole)})


def flags_of_6_12(version: int, *, distilled: bool = False) -> tuple[str, ...]:
    """Return the flags that Linux 6.12 gives a pahole of this version for a module, of 1.30 as 130.

    Those of scripts/Makefile.btf and lib/Kconfig.debug, of a build that is to be reproducible; ``distilled``
    as for KBUILD_EXTMOD. Another kernel's may differ.
    """
    return (*_flags_of_6_12(version), *(("--btf_features=distilled_base",) if distilled else ()))


def _flags_of_6_12(version: int) -> Iterator[str]:
    if version >= 126:
        yield "-j"
        yield (
            "--btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func,"
            "decl_tag_kfuncs"
        )
    else:
        if 118 <= version <= 121:
            yield "--skip_encoding_btf_vars"
        if version >= 121:
            yield "--btf_gen_floats"
        if version >= 125:
            yield from ("--skip_encoding_btf_inconsistent_proto", "--btf_gen_optimized")
    if version >= 127:
        yield from ("-j", "--btf_features=+reproducible_build")
    if version >= 124:
        yield "--lang_exclude=rust"
