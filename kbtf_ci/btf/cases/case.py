# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One case of the catalogue: a healthy kernel, the one thing that goes wrong, and what the kernel says then.

Expectations are written by hand from the kernel's source. They must not lean on our own check, so nothing
here imports btf.rules, btf.base_match or btf.predict (an import contract holds it to that).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from kbtf_ci.btf.cases.workshop import Workshop
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.model.case import ANY, CaseFacts, Expectation, Expected
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.objfile.carrier import make_carrier

EINVAL, ENOENT, E2BIG, ENOEXEC, ELOOP, ENOTSUPP = 22, 2, 7, 8, 40, 524


class NotThereError(Exception):
    """The healthy kernel or module lacks what the case would alter; the words say what."""


@dataclass(frozen=True)
class Healthy:
    """An untouched module and the kernel that it was built with.

    ``file`` is the plain ELF file, ``btf`` its ``.BTF``, ``vmlinux`` the BTF that it was written against.
    ``find`` returns another module of the kernel by name, as plain ELF, None where there is none.
    """

    name: str
    file: bytes
    btf: bytes
    vmlinux: Btf
    vmlinux_data: bytes
    find: Callable[[str], bytes | None] = lambda _: None

    @cached_property
    def own(self) -> Btf:
        """Its BTF, read over vmlinux's."""
        return Btf.parse(self.btf, self.vmlinux)


@dataclass(frozen=True)
class AlteredBtf:
    """Another BTF in the module's place, as a carrier of it.

    ``btf`` None: the section is gone. ``sysfs`` is what ``/sys/kernel/btf`` shall hold where that is not
    ``btf`` itself. ``name`` is for a module that cannot go by the case's. ``struct_bytes`` is the size of
    struct module that it was built for, None for the kernel's own. ``build`` is what its build said.
    """

    btf: bytes | None
    base: bytes | None = None
    sysfs: bytes | None = None
    name: str = ""
    struct_bytes: int | None = None
    build: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlteredFile:
    """A whole module that goes by ``name``, and one untouched but for its name.

    ``build`` is what its build said. ``original`` is what it was made from, where BPF programs are tried on
    it, b"" where they are not.
    """

    data: bytes
    name: str
    control: bytes
    control_name: str
    build: tuple[str, ...] = ()
    original: bytes = b""


@dataclass(frozen=True)
class AlteredVmlinux:
    """Another BTF of vmlinux, of the same length, in the image that boots; the module is untouched."""

    btf: bytes


@dataclass(frozen=True)
class NotBuilt:
    """No module: the build failed, with these lines."""

    build: tuple[str, ...]


Altered = AlteredBtf | AlteredFile | AlteredVmlinux


@dataclass(frozen=True)
class Case(CaseFacts):
    """One entry of the catalogue, and what is done.

    ``make`` alters a healthy module or kernel by itself, ``build`` with real tools; a case has one of them.
    Both may raise NotThereError.
    """

    make: Callable[[Healthy], Altered] | None = None
    build: Callable[[Healthy, Workshop], Altered | NotBuilt] | None = None


def as_module(case: Case, altered: Altered, healthy: Healthy) -> tuple[str, bytes]:
    """Return the module that a case loads, by its name: whole, or a carrier."""
    if isinstance(altered, AlteredFile):
        return altered.name, altered.data
    if isinstance(altered, AlteredVmlinux):
        return case.module, make_carrier(healthy.file, name=case.module)
    name = altered.name or case.module
    return name, make_carrier(
        healthy.file,
        name=name,
        btf=altered.btf or b"",
        base=altered.base,
        without_btf=altered.btf is None,
        struct_bytes=altered.struct_bytes,
    )


@dataclass(frozen=True)
class Said:
    """Lines of one complaint; ``still`` are those that CONFIG_MODULE_ALLOW_BTF_MISMATCH leaves.

    kernel/bpf/btf.c: __btf_verifier_log_type() and btf_verifier_log_member() are silent then for BTF that has
    a base, __btf_verifier_log() and btf_verifier_log_vsi() are not.
    """

    lines: tuple[str, ...]
    still: tuple[str, ...] = ()


def plain(text: str) -> Said:
    """One line of btf_verifier_log()."""
    line = f"BPF: {text}"
    return Said((line,), (line,))


def of_type(kind: str, details: str, text: str, *, name: str = "<name>") -> Said:
    """What btf_verifier_log_type() says: ``details`` by btf_kind_operations.log_details."""
    return Said((f"BPF: [<number>] {kind} {name} ", f"BPF: {details}", "BPF:  ", f"BPF: {text}", "BPF: "))


def of_record(kind: str, text: str) -> Said:
    """What btf_verifier_log_basic() says: no details."""
    return Said((f"BPF: [<number>] {kind} <name>", "BPF:  ", f"BPF: {text}", "BPF: "))


def of_member(text: str) -> Said:
    """What btf_verifier_log_member() says of a struct without bit fields."""
    head = "BPF: \t<name> type_id=<number> bits_offset=<number>"
    return Said((head, "BPF:  ", f"BPF: {text}", "BPF: "))


def some_type(text: str) -> Said:
    """A complaint of btf_verifier_log_type(), of whichever kind the first type concerned is."""
    return Said((ANY, f"BPF: {text}", "BPF: "))


NOTHING: Final = Said(())


def without_prefix(text: str) -> Said:
    """One line of btf_relocate.c's pr_warn(), whatever is allowed."""
    return Said((text,), (text,))


def refused(said: Said = NOTHING, errno: int = EINVAL) -> Expectation:
    """Return the expectation of a module whose BTF is refused; where that is allowed it loads without."""
    last = f"failed to validate module [<module>] BTF: -{errno}"
    return Expectation(
        Expected(Outcome.REJECTED, errno, (*said.lines, last)), Expected(Outcome.DROPPED, log=said.still)
    )


def taken() -> Expectation:
    """Return the expectation of a module whose BTF is taken, without a word."""
    return always(Expected(Outcome.VERIFIED, sysfs=True))


def always(expected: Expected) -> Expectation:
    """Return an expectation that CONFIG_MODULE_ALLOW_BTF_MISMATCH changes nothing of."""
    return Expectation(expected, expected)


def not_built(*lines: str) -> Expectation:
    """Return the expectation of a build that fails, and says these lines among others, in this order."""
    return always(Expected(None, build=lines))


def with_vmlinux_altered(expectation: Expectation) -> Expectation:
    """Return the same, and that the kernel has another BTF of vmlinux in memory than the healthy image."""
    return Expectation(
        replace(expectation.refusing, vmlinux_differs=True),
        replace(expectation.allowing, vmlinux_differs=True),
    )
