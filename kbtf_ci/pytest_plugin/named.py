# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Our tests as the command line names them: ``kbtf::xfs`` is no file, which is all that pytest looks for."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = "kbtf"
_SEPARATOR: Final = "::"


@dataclass(frozen=True)
class Named:
    """Which of our tests are wanted: ``only`` None for all, and those that ``--deselect`` leaves out."""

    only: frozenset[str] | None
    deselected: frozenset[str]

    def unknown(self, known: Collection[str]) -> list[str]:
        """Return what is asked for by name and is none of the ``known`` tests."""
        return sorted(name for name in self.only or () if name not in known)

    def wants(self, name: str) -> bool:
        """Return whether a test is collected."""
        return self.only is None or name in self.only


def take_named(config: pytest.Config) -> Named:
    """Take our tests off what pytest is told to collect and to deselect, and return which they are.

    Where all arguments name single tests of others, none of ours is wanted. pytest's ``--deselect`` goes by
    how a name begins, which of ``snd`` and ``snd_pcm`` would leave out both: ours goes by the whole name.
    """
    folders = {config.rootpath, config.invocation_params.dir}
    given = [(arg, _ours(arg, folders, config.invocation_params.dir)) for arg in config.args]
    names = [name for _, name in given if name is not None]
    others = [arg for arg, name in given if name is None]
    config.args = others
    left_out = config.getoption("deselect") or []
    config.option.deselect = [arg for arg in left_out if not arg.startswith(f"{ROOT}{_SEPARATOR}")]
    deselected = {arg.partition(_SEPARATOR)[2] for arg in left_out if arg not in config.option.deselect}
    return Named(_wanted(names, others), frozenset(deselected))


def _wanted(names: Collection[str], others: Collection[str]) -> frozenset[str] | None:
    if names:
        return None if "" in names else frozenset(names)
    return frozenset() if others and all(_SEPARATOR in arg for arg in others) else None


def _ours(arg: str, folders: Iterable[Path], here: Path) -> str | None:
    """Return the name in ``kbtf::NAME``, "" for ``kbtf`` alone, None for an argument that is not ours.

    From a folder below the root pytest shows a test as ``../kbtf::NAME``.
    """
    path, _, name = arg.partition(_SEPARATOR)
    place = Path(os.path.normpath(here / path))
    is_ours = place.name == ROOT and place.parent in folders and not (place.exists() and not name)
    return name if is_ours else None
