# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What split BTF saves: pure arithmetic over the sizes of each module's full and split BTF."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kbtf_ci.model.module import Module


@dataclass(frozen=True)
class ModuleSizes:
    """One module's sizes in bytes; ``full_bytes`` is None until it is known.

    ``file`` is its path below the modules directory. ``split_bytes`` is all that the file carries in place
    of full BTF: ``.BTF`` and, where there is one, ``.BTF.base``, whose share is ``base_bytes``. ``fault``
    says why the module is not counted in any total, "" for one that is.
    """

    name: str
    file: str
    split_bytes: int
    full_bytes: int | None
    base_bytes: int = 0
    fault: str = ""

    @property
    def path(self) -> str:
        """The path as the commit's tables write it: from the top of the build directory."""
        return f"./{self.file.removeprefix('kernel/')}"


@dataclass(frozen=True)
class Sizes:
    """The modules of one kernel, sorted by file."""

    modules: tuple[ModuleSizes, ...]

    @property
    def counted(self) -> tuple[ModuleSizes, ...]:
        """The modules whose full and split BTF are both known: the totals compare like with like."""
        return tuple(module for module in self.modules if not module.fault)

    @property
    def uncounted(self) -> tuple[ModuleSizes, ...]:
        """The others."""
        return tuple(module for module in self.modules if module.fault)

    @property
    def full_bytes(self) -> int:
        """All full BTF in bytes."""
        return sum(module.full_bytes or 0 for module in self.counted)

    @property
    def split_bytes(self) -> int:
        """All split BTF in bytes."""
        return sum(module.split_bytes for module in self.counted)

    @property
    def ratio(self) -> float | None:
        """How many times larger the full BTF is; None where nothing is counted."""
        return ratio(self.full_bytes, self.split_bytes)

    def top_full(self, number: int) -> tuple[ModuleSizes, ...]:
        """Return the ``number`` modules of the largest full BTF, largest first."""
        return _largest(self.counted, lambda module: module.full_bytes or 0, number)

    def top_split(self, number: int) -> tuple[ModuleSizes, ...]:
        """Return the ``number`` modules of the largest split BTF, largest first."""
        return _largest(self.counted, lambda module: module.split_bytes, number)


def compare(modules: Iterable[Module], full: Mapping[str, int], faults: Mapping[str, str]) -> Sizes:
    """Return the sizes of ``modules``.

    ``full`` maps files to bytes of full BTF, ``faults`` to the reason why they have none. A module with
    neither has not been encoded yet; one without ``.BTF`` has nothing to compare and is not counted.
    """
    return Sizes(tuple(_weigh(module, full.get(module.file), faults) for module in modules))


def ratio(full: int | None, split: int | None) -> float | None:
    """Return full BTF over split BTF, None where either is missing or there is no split BTF."""
    return full / split if full is not None and split else None


def _weigh(module: Module, full: int | None, faults: Mapping[str, str]) -> ModuleSizes:
    if not module.has_btf:
        reason = f": {module.no_btf_reason}" if module.no_btf_reason else ""
        fault = f"it has no .BTF section{reason}"
    elif full is None:
        fault = faults.get(module.file, "its full BTF has not been encoded yet")
    else:
        fault = ""
    split = module.btf_bytes + module.base_bytes
    return ModuleSizes(module.name, module.file, split, full, module.base_bytes, fault)


def _largest(
    modules: Iterable[ModuleSizes], size: Callable[[ModuleSizes], int], number: int
) -> tuple[ModuleSizes, ...]:
    return tuple(sorted(modules, key=lambda module: (-size(module), module.file))[:number])


@dataclass(frozen=True)
class CommitFigure:
    """What the commit printed of one module, in bytes; None where the module is in one of its lists only.

    ``moved`` is where newer kernels have the same module.
    """

    path: str
    full_bytes: int | None
    split_bytes: int | None
    moved: str = ""


# From the message of Linux commit 5f9ae91f ("kbuild: Build kernel module BTFs if BTF is enabled and pahole
# supports it", 5.11): both totals over "about 700 kernel modules", the FULL and SPLIT lists of ten each.
COMMIT = "5f9ae91f"
COMMIT_FULL_BYTES = 115710691
COMMIT_SPLIT_BYTES = 5194047
COMMIT_FIGURES = (
    CommitFigure("./drivers/gpu/drm/i915/i915.ko", 570570, 293206),
    CommitFigure("./drivers/net/ethernet/mellanox/mlx5/core/mlx5_core.ko", 520240, 198503),
    CommitFigure("./drivers/gpu/drm/radeon/radeon.ko", 503849, 282103),
    CommitFigure("./drivers/infiniband/hw/mlx5/mlx5_ib.ko", 491777, 198356),
    CommitFigure("./fs/xfs/xfs.ko", 411544, 222150),
    CommitFigure("./drivers/net/ethernet/intel/i40e/i40e.ko", 403904, None),
    CommitFigure("./drivers/net/ethernet/broadcom/bnx2x/bnx2x.ko", 398754, 113444),
    CommitFigure("./drivers/infiniband/core/ib_core.ko", 397224, 91188),
    # Linux 6.4 moved it (commit 38c8a9a52082).
    CommitFigure("./fs/cifs/cifs.ko", 386249, 109379, moved="./fs/smb/client/cifs.ko"),
    CommitFigure("./fs/nfsd/nfsd.ko", 379738, None),
    CommitFigure("./arch/x86/kvm/kvm.ko", None, 100225),
    CommitFigure("./drivers/gpu/drm/drm.ko", None, 94827),
)


def beside_commit(sizes: Sizes) -> tuple[tuple[CommitFigure, ModuleSizes], ...]:
    """Return the commit's figures with the modules here that they speak of, in the commit's order."""
    here = {module.path: module for module in sizes.counted}
    pairs = ((figure, here.get(figure.path) or here.get(figure.moved)) for figure in COMMIT_FIGURES)
    return tuple((figure, module) for figure, module in pairs if module is not None)
