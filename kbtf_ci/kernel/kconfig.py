# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Profile and requested -> the build directory's .config, with every requested symbol held to it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.infra.paths import shipped
from kbtf_ci.infra.profiles import Profile
from kbtf_ci.infra.runner import run
from kbtf_ci.kernel.diagnostics import Diagnostics
from kbtf_ci.kernel.kbuild import BUILD, Kbuild
from kbtf_ci.kernel.kconfig_files import Definition, definitions, names_now, unmet
from kbtf_ci.model.config import config_lines

# Kconfig works on a copy in here, so that .config keeps its time stamp when nothing changes.
_SCRATCH = ".kbtf-ci"
# scripts/Makefile.modfinal hands pahole --btf_base, which pahole knows since 1.19 (lib/Kconfig.debug,
# PAHOLE_HAS_SPLIT_BTF).
_SPLIT_BTF_SINCE = 119


@dataclass(frozen=True)
class Request:
    """One request: ``symbol`` (no ``CONFIG_``) shall have ``value`` ("n": not set), and who asked for it.

    ``shipped`` says that it comes with kbtf-ci, written for many kernel versions and not just one.
    """

    symbol: str
    value: str
    place: str
    shipped: bool = False

    @property
    def line(self) -> str:
        """The request as a line of a fragment."""
        return (
            f"# CONFIG_{self.symbol} is not set"
            if self.value == "n"
            else f"CONFIG_{self.symbol}={self.value}"
        )


@dataclass(frozen=True)
class Configured:
    """The final configuration: its path, sha256, values, and the requested in the order they were applied.

    ``stamp`` stands for it and all that decided it, "" where the source may change under it.
    """

    path: Path
    sha256: str
    values: Mapping[str, str]
    requested: tuple[Request, ...]
    stamp: str = ""

    @property
    def requested_text(self) -> str:
        """All requested as one fragment."""
        return "".join(f"{request.line}\n" for request in self.requested)


def requests(profile: Profile, added: Sequence[str]) -> tuple[Request, ...]:
    """Return the requested of the profile's fragments and of ``-K``, later ones in place of earlier ones.

    Raises UsageError for a ``-K`` that is none, or that speaks against what kbtf-ci itself needs.
    """
    requested = {request.symbol: request for path in profile.own for request in _of_file(path)}
    requested.update((request.symbol, request) for request in map(_of_option, added))
    for request in (request for path in profile.on_top for request in _of_file(path)):
        before = requested.pop(request.symbol, request)
        if before.place == "-K" and before.value != request.value:
            raise UsageError(f"-K {before.line}: kbtf-ci needs {request.line} ({request.place})")
        requested[request.symbol] = request
    return tuple(requested.values())


def _of_file(path: Path) -> Iterator[Request]:
    try:
        text = path.read_text(errors="surrogateescape")
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    for number, symbol, value in config_lines(text):
        yield Request(symbol, value, f"{path.name}:{number}", path.parent == shipped("configs"))


def _of_option(text: str) -> Request:
    match = re.fullmatch(r"(?:CONFIG_)?(\w+)=(.+)", text)
    if match is None:
        raise UsageError(
            f"-K {text}: not of the form CONFIG_NAME=VALUE", hint="for instance -K CONFIG_XFS_FS=m"
        )
    return Request(match[1], match[2], "-K")


def configure(kbuild: Kbuild, profile: Profile, added: Sequence[str]) -> Configured:
    """Write the build directory's ``.config``, only when it changes.

    Where nothing that decides it has changed since the last time, Kconfig is not asked again. Raises
    UsageError for a request that no Kconfig knows or that the final configuration lost, with the reason
    where Kconfig gives one.
    """
    requested = requests(profile, added)
    config = kbuild.build_dir / ".config"
    scratch = kbuild.build_dir / _SCRATCH
    scratch.mkdir(exist_ok=True)
    stamp = scratch / "configured"
    before = _inputs(kbuild, profile, requested)
    if not (kbuild.source.fixed and config.exists() and stamp.exists()) or _text(stamp) != _stamp(
        before, _text(config)
    ):
        stamp.unlink(missing_ok=True)
        text = _decide(kbuild, profile, requested, scratch)
        if not config.exists() or _text(config) != text:
            config.write_text(text, errors="surrogateescape")
        stamp.write_text(_stamp(before, text))
    text = _text(config)
    fixed = _stamp(before, text) if kbuild.source.fixed else ""
    return Configured(config, _sha256(text), _values(text), requested, fixed)


def _inputs(kbuild: Kbuild, profile: Profile, requested: Sequence[Request]) -> str:
    """Return all that decides the configuration of an unchanging source."""
    start = _text(profile.config_file) if profile.config_file else profile.target
    pahole = f"{kbuild.pahole} {kbuild.pahole.stat().st_mtime_ns}" if kbuild.pahole else ""
    lines = (kbuild.source.key, kbuild.toolchain, pahole, *kbuild.variables, start)
    return "\n".join([*lines, *(request.line for request in requested)])


def _stamp(inputs: str, config: str) -> str:
    return _sha256(f"{inputs}\0{config}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _text(config: Path) -> str:
    # What is no UTF-8 stands in comments, which are Kconfig's to keep or drop.
    return config.read_text(errors="surrogateescape")


def _values(text: str) -> dict[str, str]:
    return {symbol: value for _, symbol, value in config_lines(text) if value != "n"}


def _decide(kbuild: Kbuild, profile: Profile, requested: Sequence[Request], scratch: Path) -> str:
    known = definitions(kbuild.source.path, kbuild.target.arch)
    _refuse_unknown(requested, known)
    text = _run_kconfig(kbuild, profile, requested, scratch)
    _refuse_lost(requested, _values(text), known)
    return text


def _refuse_unknown(requested: Iterable[Request], known: Mapping[str, object]) -> None:
    for request in requested:
        # What a kernel older than our own fragments does not know is certainly not set there.
        if request.symbol not in known and not (request.shipped and request.value == "n"):
            raise UsageError(
                f"{request.place}: no Kconfig file of this tree knows CONFIG_{request.symbol}",
                hint="mend the name, or leave the symbol out for this kernel version",
            )


def _run_kconfig(kbuild: Kbuild, profile: Profile, requested: Sequence[Request], scratch: Path) -> str:
    config = scratch / "config"
    variable = f"KCONFIG_CONFIG={BUILD}/{_SCRATCH}/config"
    if profile.config_file is not None:
        config.write_bytes(profile.config_file.read_bytes())
    else:
        config.unlink(missing_ok=True)
        _make(kbuild, profile.target.split(), variable)
    with config.open("a", errors="surrogateescape") as file:
        file.writelines(f"{request.line}\n" for request in requested)
    _make(kbuild, ["olddefconfig"], variable)
    return _text(config)


def _make(kbuild: Kbuild, targets: Sequence[str], variable: str) -> None:
    asked = " ".join(targets)
    done = run(kbuild.runner, kbuild.command(kbuild.argv("-s", variable, *targets), "configure"))
    if done.status == 0:
        return
    no_rule = any(f"No rule to make target '{target}'" in done.text for target in targets)
    if no_rule or "Can't find default configuration" in done.text:
        raise UsageError(f"--config {asked}: the kernel's make knows no such configuration target")
    found = Diagnostics(done.text)
    if fault := found.machine_fault(done.status, kbuild.build_dir):
        raise fault
    detail = done.text.strip()[-2000:]
    if found.missing:
        raise UsageError(
            f"make {asked} failed: the toolchain has no {found.missing} ({found.first_error})",
            hint="leave out the VAR=VALUE that asks for it",
            detail=detail,
        )
    raise UsageError(f"make {asked} failed: {found.first_error}", detail=detail)


def _refuse_lost(
    requested: Iterable[Request], values: Mapping[str, str], known: Mapping[str, Sequence[Definition]]
) -> None:
    lost = [
        request
        for request in requested
        if all(values.get(symbol, "n") != request.value for symbol in names_now(request.symbol, known))
    ]
    if not lost:
        return
    lines = [f"{request.place}: {_lost_line(request, values, known)}" for request in lost]
    # The request that the tool exists for goes first: the others are often lost for the same reason.
    lines.sort(key=lambda line: "CONFIG_DEBUG_INFO_BTF" not in line)
    raise UsageError(lines[0], detail="\n".join(lines[1:]), hint="change the fragment or what it depends on")


def _lost_line(request: Request, values: Mapping[str, str], known: Mapping[str, Sequence[Definition]]) -> str:
    got = values.get(request.symbol, "unset")
    message = f"CONFIG_{request.symbol}={request.value} was asked for, the final .config has it {got}"
    if request.symbol.startswith("DEBUG_INFO_BTF") and (fault := _pahole_fault(values)):
        return f"{message}: {fault}"
    if got != "unset":
        return f"{message}: another symbol selects it ({known[request.symbol][0].place})"
    reasons = dict.fromkeys(reason for entry in known[request.symbol] for reason in unmet(entry, values))
    return f"{message}: {'; '.join(reasons)}" if reasons else message


def _pahole_fault(values: Mapping[str, str]) -> str:
    """Return what is wrong with the pahole that Kconfig saw (scripts/pahole-version.sh), "" if nothing is."""
    text = values.get("PAHOLE_VERSION")
    if text is None:
        return ""
    version = int(text)
    if version == 0:
        return "pahole is missing, or does not run in the container"
    if version < _SPLIT_BTF_SINCE:
        return f"pahole {version // 100}.{version % 100} writes no split BTF, 1.19 is the first that does"
    return ""
