# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kfuncs that no BPF program can call, though the BTF that describes them loads. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unusable:
    """One kfunc, or set of them, and why programs cannot use it.

    ``kfunc`` is its name, "" for one that has none any more; ``set_name`` the name of its set, "" where the
    file does not say; ``rule`` names the check, ``since`` the kernel version that it is made from.
    """

    kfunc: str
    set_name: str
    rule: str
    why: str
    since: str
    way_out: str

    @property
    def line(self) -> str:
        """What a person reads."""
        where = f" of set {self.set_name}" if self.set_name else ""
        return f"{self.kfunc or 'a kfunc'}{where}: {self.why}"
