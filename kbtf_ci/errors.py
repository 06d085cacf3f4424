# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One tree of errors: what the user got wrong, what the kernel got wrong, what the machine got wrong.

Every error carries one line that names the file and the value, the way out of it, and the exit code
that ``git bisect run`` will see. Only ``commands`` turns one into text.
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import ClassVar, Final

# What a disk or a limit of the machine refuses, whatever file the user named.
_MACHINE: Final = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
    }
)


class ExitCode(IntEnum):
    """Exit codes of every command; 125 is git bisect's "this commit says nothing"."""

    VERIFIED = 0
    NOT_VERIFIED = 1
    USAGE = 2
    BUILD_FAILED = 3
    GUEST_DIED = 4
    INFRASTRUCTURE = 5
    BISECT_SKIP = 125
    INTERRUPTED = 130


MEANINGS: Final = {
    ExitCode.VERIFIED: "every module is verified",
    ExitCode.NOT_VERIFIED: "some module is not, or there is a finding that --fail-on names",
    ExitCode.USAGE: "usage or configuration",
    ExitCode.BUILD_FAILED: "the kernel did not build",
    ExitCode.GUEST_DIED: "the guest panicked or hung",
    ExitCode.INFRASTRUCTURE: "engine, image, QEMU, SSH or disk, or an internal error",
    ExitCode.BISECT_SKIP: (
        "with --bisect: says nothing about the commit (2, 3, 5, or nothing wrong but unreadable files)"
    ),
    ExitCode.INTERRUPTED: "interrupted",
}


class KbtfError(Exception):
    """Base of all errors that kbtf-ci raises on purpose.

    ``message`` is one line; ``hint`` the way out, one line; ``detail`` further lines worth seeing, such
    as the tail of a console.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INFRASTRUCTURE

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class UsageError(KbtfError):
    """A wrong option, profile, fragment, path or kernel tree: nothing was started."""

    exit_code = ExitCode.USAGE


class BuildError(KbtfError):
    """The kernel did not configure or compile."""

    exit_code = ExitCode.BUILD_FAILED


class GuestError(KbtfError):
    """The kernel in the guest panicked, oopsed, reset itself or hung."""

    exit_code = ExitCode.GUEST_DIED


class InfrastructureError(KbtfError):
    """Engine, image, QEMU, SSH or disk: it says nothing about the kernel."""

    exit_code = ExitCode.INFRASTRUCTURE


class EngineError(InfrastructureError):
    """No container engine answers, or it refused or dropped a request."""


class InterruptError(KbtfError):
    """SIGINT or SIGTERM arrived."""

    exit_code = ExitCode.INTERRUPTED


def file_error(error: OSError, path: object, problem: str, *, hint: str = "") -> KbtfError:
    """Return the error for a file or folder of the user's: "<path>: <problem>: <why>".

    It is the user's where the file is, and the machine's where disk, memory or a limit is at fault.
    """
    message = f"{path}: {problem}: {error.strerror or error}"
    if error.errno in _MACHINE:
        return InfrastructureError(message)
    return UsageError(message, hint=hint)
