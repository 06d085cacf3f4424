# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How a module came to be written against another vmlinux: what the text speaks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kbtf_ci.model.symptom import Likelihood
from kbtf_ci.symptoms import names
from kbtf_ci.symptoms.evidence import Evidence, Refused
from kbtf_ci.symptoms.suspects import Suspect, lines_of, names_of

LIKELY, POSSIBLE = Likelihood.LIKELY, Likelihood.POSSIBLE
# A kernel of another build refuses most of what it loads; a stale initramfs has few modules.
_FEW: Final = 2
# Modules that are built outside the kernel's tree wherever they are met, by their whole names.
_KNOWN_OUT_OF_TREE = re.compile(
    r"nvidia(?:_(?:drm|uvm|modeset|peermem|fs))?|vbox(?:drv|netadp|netflt|pci)|vmmon|vmnet|v4l2loopback|zfs|spl"
    r"|zavl|znvpair|zunicode|zcommon|icp|wl|8(?!139)\d{3}[a-z]{2}|88x2bu|rtw89core|rtw_8\d+\w*|r8125|r8168|r8101"
    r"|evdi|acpi_call|tuxedo_\w+|razer(?:kbd|mouse|kraken|accessory)|ashmem_linux|binder_linux|bbswitch|xt_ndpi"
    r"|lkrg|p_lkrg|falco|scap|sysdig_probe|lunatik\w*|luaxdp|xone_\w+|hid_xpadneo|digimend|ddcci\w*|zenpower"
    r"|msr_safe|apfs|amdgpu_dkms"
)


def is_stale(one: Refused) -> bool:
    """Whether the records say that strings or type ids are looked for in the wrong place."""
    group = one.group
    if group is None or one.relocation:
        return False
    if "chain.length" in group.rules:
        return True
    return names.shows_shift(group) or (one.errno == 40)


def suspects(refused: list[Refused], evidence: Evidence) -> Iterator[Suspect]:
    """Yield the ways to a module that was written against another vmlinux, the likeliest first."""
    lines, modules = lines_of(refused), names_of(refused)
    what = _shift(refused)
    for rank, way in enumerate(_ways(refused, evidence)):
        if rank == 0:
            yield Suspect(way.number, LIKELY, f"{what}: {way.why}", lines, modules)
        else:
            yield Suspect(way.number, POSSIBLE, way.why, lines, modules)


def _shift(refused: list[Refused]) -> str:
    groups = [one.group for one in refused if one.group is not None]
    shifted = [group for group in groups if names.shows_shift(group)] or groups
    group = next((one for one in shifted if one.name is not None), shifted[0])
    if "chain.length" in group.rules:
        return (
            "a typedef or qualifier leads back to itself (-40): type ids are shifted by a few, names are in "
            "place, so vmlinux has some types more or fewer than the one the module was written against"
        )
    return names.told(group)


@dataclass(frozen=True)
class _Way:
    """A way to a module that was written against another vmlinux, and how much speaks for it."""

    number: int
    weight: float
    why: str


def _ways(refused: list[Refused], evidence: Evidence) -> list[_Way]:
    """Return the ways that anything speaks for, the likeliest first.

    The weights say no more than which of two ways is met more often where the text shows the same.
    """
    outside = [one for one in refused if is_outside(one.module, evidence)]
    chains = any(one.group is not None and "chain.length" in one.group.rules for one in refused)
    many = len(refused) > 1
    these = "these modules" if many else "the module"
    image = evidence.has("context.image_build")
    ways = [
        _Way(
            1,
            3.0 + evidence.has("context.upgrade"),
            f"{these} and the kernel that runs are not of one build",
        ),
        _Way(
            2,
            _early(refused, evidence) + 3.2 * chains,
            "the modules in the initramfs may be of an earlier build than the kernel that was booted",
        ),
        _Way(
            3,
            3.5 * image or 2.0 * evidence.has("context.system_build"),
            "the build may have linked vmlinux again after it made the image that is booted",
        ),
        _Way(
            4,
            (4.5 if len(outside) == len(refused) else 1.0 * bool(outside))
            + evidence.has("context.copied_vmlinux"),
            "the module is not of the kernel's tree, and was encoded against some other vmlinux",
        ),
        _Way(
            12,
            1.5 * (bool(outside) and evidence.has("context.distilled")),
            "it may have been encoded over a distilled base that this kernel does not use",
        ),
        _Way(25, 0.6 * (not many and not outside), "it may have been built alone and copied over"),
        _Way(22, 0.3 * (not many), "a damaged file can look like this too, if only one module is refused"),
        _Way(34, 0.2 * many, "the two builds may be of one source and differ in order alone (pahole -j)"),
    ]
    return sorted((way for way in ways if way.weight > 0), key=lambda way: -way.weight)


def _early(refused: list[Refused], evidence: Evidence) -> float:
    """Say how much speaks for the initramfs: refused before the root file system was there."""
    if not evidence.has("context.initramfs", "context.in_initramfs"):
        return 0.0
    mounted = evidence.quoted("context.root_mounted")
    last = max(one.line.number for one in refused)
    early = evidence.has("context.in_initramfs") and (not mounted or last < mounted[0].number)
    if early and len(refused) <= _FEW:
        return 3.2
    return 1.5 if early or evidence.has("effect.emergency") else 0.8


def is_outside(module: str, evidence: Evidence) -> bool:
    """Whether a module is built outside the kernel's tree, by the text or by its name."""
    name = module.replace("-", "_")
    return name in evidence.out_of_tree or _KNOWN_OUT_OF_TREE.fullmatch(name) is not None
