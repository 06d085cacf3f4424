# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the offline check predicts of one module, before any kernel has seen it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import ModuleResult, Observation, Outcome, btf_refused
from kbtf_ci.model.usable import Unusable


@dataclass(frozen=True)
class Prediction:
    """One module's predicted outcome, and why.

    ``file`` is the path as it was given. ``errno`` is what init_module(2) will return for reasons of BTF or
    of the checks before it, 0 for success; ``rule`` names the check that decides, ``log`` are the kernel's
    lines. ``sysfs_bytes`` and ``sysfs_sha256`` describe ``/sys/kernel/btf/<name>``, None and "" where there
    will be none. ``base_mismatch`` says what the kernel will not notice: the first type that does not belong
    to this vmlinux. ``cause`` and ``advice`` are for a person, "" where all is fine. ``loader_checks``:
    whether the checks before BTF's were made, for which raw BTF has not enough to show. ``unusable`` are
    kfuncs of it that no BPF program can call. ``extra_bytes`` is the size of ``.BTF.extra``, which is not
    judged; ``repeated_typedefs`` and ``repeated_structs`` how many of vmlinux's it has once more;
    ``empty_btf``: there is no type in it.
    """

    name: str
    file: str
    outcome: Outcome
    errno: int = 0
    rule: str = ""
    log: tuple[str, ...] = ()
    btf_bytes: int = 0
    sysfs_bytes: int | None = None
    sysfs_sha256: str = ""
    base_mismatch: str = ""
    cause: str = ""
    advice: str = ""
    loader_checks: bool = True
    unusable: tuple[Unusable, ...] = ()
    extra_bytes: int = 0
    repeated_typedefs: int = 0
    repeated_structs: int = 0
    empty_btf: bool = False

    @property
    def is_fine(self) -> bool:
        """Whether the kernel will take the BTF, and nothing speaks against it."""
        return self.outcome is Outcome.VERIFIED and not self.cause and not self.unusable


@dataclass(frozen=True)
class OverriddenPrediction:
    """A file that is not loaded because modprobe takes another one of its name, and what it would come to."""

    module: Module
    by: Module
    prediction: Prediction


@dataclass(frozen=True)
class Disagreement:
    """A prediction that the kernel did not keep to: one of the two is worth a look."""

    prediction: Prediction
    result: ModuleResult


def disagreements(
    predictions: Iterable[Prediction], results: Iterable[ModuleResult]
) -> tuple[Disagreement, ...]:
    """Return where kernel and prediction differ on a module's BTF.

    A module whose BTF was never put before the kernel, or not to the end, tells nothing.
    """
    predicted = {one.name: one for one in predictions}
    pairs = ((predicted[result.module.name], result) for result in results if result.module.name in predicted)
    return tuple(Disagreement(one, result) for one, result in pairs if _differ(one, result))


def _differ(one: Prediction, result: ModuleResult) -> bool:
    seen = result.observation
    if one.outcome is Outcome.UNREADABLE:
        return False  # nothing was predicted
    if result.outcome in (Outcome.NOT_REACHED, Outcome.NO_BTF) or seen is None or seen.death is not None:
        return False
    if result.outcome is Outcome.LOAD_FAILED:
        # The check looks at what files tell; hardware and init functions are not among it.
        return False
    return one.outcome is not result.outcome or not _same_words(one, seen)


def _same_words(one: Prediction, seen: Observation) -> bool:
    """Whether the kernel said all that was predicted; where it refused, with the same errno."""
    same_errno = not btf_refused(seen) or one.errno == seen.errno
    return same_errno and all(line in seen.log for line in one.log)
