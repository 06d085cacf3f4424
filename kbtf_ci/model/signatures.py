# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether a kernel loads signed modules only, which none is that was changed: kernel/module/signing.c."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_FORCED: Final = "CONFIG_MODULE_SIG_FORCE"
# security/lockdown: from integrity on, what is not signed is not loaded.
_LOCKED_DOWN: Final = (
    "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY",
    "CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY",
)
_YES: Final = frozenset({"", "1", "y", "Y", "yes", "on", "true"})


def signatures_forced_by(config: Mapping[str, str], append: str) -> str:
    """Return what makes the kernel refuse modules without a signature, empty where nothing does.

    ``append`` are parameters of the kernel's command line.
    """
    for symbol in (_FORCED, *_LOCKED_DOWN):
        if config.get(symbol) == "y":
            return symbol
    for word in append.split():
        name, _, value = word.partition("=")
        if name == "module.sig_enforce" and value in _YES:
            return word
        if name == "lockdown" and value in {"integrity", "confidentiality"}:
            return word
    return ""
