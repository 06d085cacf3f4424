# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The BTF of vmlinux as a running kernel has it in memory, which modules' BTF is checked against."""

from __future__ import annotations

import hashlib
from typing import Final

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest import files
from kbtf_ci.guest.ssh import CommandError, GuestShell

SYSFS: Final = "/sys/kernel/btf/vmlinux"


def read_if_other(shell: GuestShell, expected: bytes, silence: float) -> bytes:
    """Return what the guest's kernel has where it differs from ``expected``, else ``expected`` itself.

    Only a digest comes out of the guest where it does not; b"" where the kernel shows no such file. Raises as
    GuestShell.run(), and InfrastructureError for an answer that is none.
    """
    try:
        (line,) = shell.run(("sha256sum", SYSFS), silence=silence)
    except CommandError:
        return b""
    except ValueError as error:
        raise InfrastructureError(f"sha256sum in the guest gave no single line for {SYSFS}") from error
    if line.split(" ")[0] == hashlib.sha256(expected).hexdigest():
        return expected
    return files.read(shell, SYSFS, silence)
