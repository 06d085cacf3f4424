# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which classes of failure a BTF that the kernel refused at load speaks for."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from kbtf_ci.model.symptom import Likelihood
from kbtf_ci.symptoms import names, readings, stale, vmlinux
from kbtf_ci.symptoms.evidence import Boot, Evidence, Refused
from kbtf_ci.symptoms.suspects import Suspect, lines_of, names_of

ENOTSUPP: Final = 524  # internal to the kernel, C libraries have no name for it
SHOWN, LIKELY, POSSIBLE = Likelihood.SHOWN, Likelihood.LIKELY, Likelihood.POSSIBLE


def suspects(evidence: Evidence) -> Iterator[Suspect]:
    """Yield what every refusal in the text speaks for, boot by boot."""
    for boot in evidence.boots:
        if boot.vmlinux is not None:
            yield from vmlinux.suspects(boot, boot.vmlinux, evidence)
        elif boot.refused:
            yield from _modules(boot, evidence)
        else:
            yield from _unnamed(boot, evidence)
    if evidence.has("btf.mismatch", "btf.mismatch_cut"):
        yield from _allowed(evidence)
    loaded = [one for one in evidence.refused if one.loaded and one.module]
    if loaded:
        why = (
            "the module speaks right after it was refused, so it did load: before 6.3 the kernel says "
            "'failed to validate' with that option too, and goes on"
        )
        yield Suspect(23, LIKELY, why, tuple(one.line for one in loaded[:3]), names_of(loaded))


def _modules(boot: Boot, evidence: Evidence) -> Iterator[Suspect]:
    bare = boot.bare
    shifted = [one for one in boot.refused if one.group is not None and stale.is_stale(one)]
    told = [one for one in boot.refused if one not in bare and one not in shifted]
    if shifted:
        yield from stale.suspects(shifted, evidence)
    for one in told:
        yield from readings.suspects(one, evidence)
    if bare:
        yield from _bare(bare, bool(shifted or told), evidence)


# Errnos that one kind of check alone gives.
_BY_ERRNO: Final = {
    errno.ENOENT: (11, "-2 is said of a distilled base whose strings do not fit"),
    errno.E2BIG: (21, "-7 is said of a header that is longer than this kernel knows"),
    errno.ELOOP: (2, "-40 is said of type ids that are shifted while names are in place"),
    ENOTSUPP: (22, "-524 is said of a version, flag or encoding that no pahole writes"),
}


def _bare(refused: list[Refused], others_told: bool, evidence: Evidence) -> Iterator[Suspect]:
    """Yield what refusals without any record speak for, which a filtered text gives as well."""
    lines, modules = lines_of(refused), names_of(refused)
    errnos = {one.errno for one in refused}
    if len(errnos) == 1 and errnos <= _BY_ERRNO.keys():
        number, why = _BY_ERRNO[errnos.pop()]
        yield Suspect(number, LIKELY, why, lines, modules)
        yield Suspect(1, POSSIBLE, "module and kernel may not be of one build", lines, modules)
        return
    if len(refused) > 1 and len(errnos) == 1 and not others_told:
        yield from _all_alike(refused, evidence)
        return
    build = (1, "module and kernel are not of one build")
    other = (4, "it is not of the kernel's tree, and was encoded against some other vmlinux")
    first, second = (build, other)
    if all(stale.is_outside(one.module, evidence) for one in refused):
        first, second = other, build
    why = "the kernel refused it, and the text does not say by which check: most often"
    yield Suspect(first[0], POSSIBLE, f"{why} {first[1]}", lines, modules)
    yield Suspect(second[0], POSSIBLE, f"or {second[1]}", lines, modules)
    if errno.EINVAL in errnos:
        why = "-22 without any BPF: line is what a qualifier gives that leads to a type which is not there"
        yield Suspect(15, POSSIBLE, why, lines, modules)


def _all_alike(refused: list[Refused], evidence: Evidence) -> Iterator[Suspect]:
    lines, modules = lines_of(refused), names_of(refused)
    many = (
        f"{len(refused)} modules are refused with one errno ({-refused[0].errno}) and without a BPF: line "
        "of their own"
    )
    stale = Suspect(
        1,
        LIKELY,
        f"{many}: if the lines were left out of the text, kernel and modules are not of one build",
        lines,
        modules,
    )
    own = Suspect(
        8,
        LIKELY,
        f"{many}: if there are none, vmlinux's own BTF was refused, early in the boot and once",
        lines,
        modules,
    )
    yield from (stale, own)
    if evidence.has("context.system_build"):
        yield Suspect(3, POSSIBLE, "a build can link vmlinux again after it made the image", lines, modules)
    if evidence.has("context.rust"):
        yield Suspect(
            13, POSSIBLE, "the text speaks of Rust, whose units made vmlinux's BTF invalid", lines, modules
        )
    yield Suspect(26, POSSIBLE, "or vmlinux's BTF has two variables at one offset", lines, modules)
    if evidence.has("pahole.version", "theory.dwarf5"):
        yield Suspect(
            15, POSSIBLE, "pahole may have written broken BTF; nothing in the text proves it", lines, modules
        )


def _unnamed(boot: Boot, evidence: Evidence) -> Iterator[Suspect]:
    """Yield what records speak for that belong to nobody in the text."""
    groups = [group for group in boot.groups if group.complete]
    several = any(not group.same_as(groups[0]) for group in groups)
    for group in groups[:3]:
        lines = tuple(group.lines)
        if group.in_prose:
            why = f"the text speaks of '{group.words}' and does not show the kernel's lines"
            yield Suspect(1, POSSIBLE, f"{why}: most often module and kernel are not of one build", lines)
            yield Suspect(8, POSSIBLE, f"{why}: vmlinux's own BTF may have been refused", lines)
        elif several:
            why = "several types are refused, and vmlinux's BTF is looked at once: they are modules'"
            yield Suspect(1 if names.shows_shift(group) else 15, LIKELY, f"{why}; {names.told(group)}", lines)
        else:
            for rank, (number, told) in enumerate(vmlinux.ways(group, evidence)):
                yield Suspect(number, POSSIBLE if rank else LIKELY, told, lines)


def _allowed(evidence: Evidence) -> Iterator[Suspect]:
    lines = evidence.quoted("btf.mismatch", "btf.mismatch_cut")
    yield Suspect(
        23, SHOWN, "the kernel says so, once a boot, and names no module: it loads, without its BTF", lines
    )
    if evidence.out_of_tree or evidence.has("context.dkms"):
        which = ", ".join(sorted(evidence.out_of_tree)) or "the module that was built"
        yield Suspect(
            4,
            POSSIBLE,
            f"of an out-of-tree module ({which}) the BTF was encoded against another vmlinux",
            lines,
            tuple(sorted(evidence.out_of_tree)),
        )
    yield Suspect(1, POSSIBLE, "below it lies a module whose BTF belongs to another build", lines)
    yield Suspect(27, POSSIBLE, "or vmlinux's own BTF was refused, and no module has BTF", lines)
