# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether an initramfs has the modules that its kernel has elsewhere, or still those it was made with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kbtf_ci.kernel.laid_out import Prebuilt
from kbtf_ci.objfile.inventory import inventory

MAKE_AGAIN: Final = "make it again (update-initramfs -u, dracut --force, mkinitcpio -P)"
_NAMED: Final = 8


def stale(found: Prebuilt) -> Iterator[str]:
    """Yield what is to be said of an initramfs whose modules' BTF is not that of the modules elsewhere.

    strip and compression, which an initramfs may have had done to them, leave BTF as it is.
    """
    if found.initramfs is None or found.initramfs.others is None:
        return
    inside = {module.name: module.btf_sha256 for module in inventory(found.modules).modules}
    others = {module.name: module.btf_sha256 for module in inventory(found.initramfs.others).modules}
    differ = sorted(name for name, digest in inside.items() if name in others and others[name] != digest)
    if differ:
        yield _line(found, differ, f"have other BTF than those in {found.initramfs.others}")
    if gone := sorted(inside.keys() - others.keys()):
        yield _line(found, gone, f"are not in {found.initramfs.others}")


def _line(found: Prebuilt, names: list[str], what: str) -> str:
    assert found.initramfs is not None
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    listed = f"{', '.join(names[:_NAMED])}{more}"
    return f"{found.initramfs.path}: stale: {len(names)} of its modules {what}: {listed}; {MAKE_AGAIN}"
