# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The machine's own package manager and root's powers over it, where this user has them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from kbtf_ci.errors import InfrastructureError

_TAIL_LINES = 15


def find_program(name: str) -> str | None:
    """Return a program's path, also when it lies where only root's PATH leads."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def as_root() -> tuple[str, ...] | None:
    """Return what to put before a command to run it as root; None where this user may not."""
    if os.geteuid() == 0:
        return ()
    if shutil.which("sudo") is None:
        return None
    # -n: a password is never asked for, which in CI nobody would enter.
    allowed = subprocess.run(
        ["sudo", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return ("sudo", "-n") if allowed.returncode == 0 else None


def apt_install(packages: Sequence[str]) -> None:
    """Install Debian packages. Raises InfrastructureError where this user or this machine cannot."""
    wanted = " ".join(packages)
    root = as_root()
    if root is None:
        raise InfrastructureError(
            f"installing {wanted} needs root, and this user has no sudo without a password",
            hint=f"have an administrator run `apt-get install {wanted}`",
        )
    if shutil.which("apt-get") is None:
        raise InfrastructureError(
            f"this machine has no apt-get to install {wanted} with", hint="install them its own way"
        )
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qy", "-o", "DPkg::Lock::Timeout=300"]
    # An update that fails (one source of many) need not matter: the install says what is really missing.
    subprocess.run([*apt, "update"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    check([*apt, "install", "--no-install-recommends", *packages], f"apt-get could not install {wanted}")


def check(argv: Sequence[str], failure: str) -> None:
    """Run a command to its end. Raises InfrastructureError, with its last lines, when it fails."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode != 0:
        lines = done.stdout.decode(errors="replace").splitlines()
        raise InfrastructureError(
            f"{failure} (exit status {done.returncode})", detail="\n".join(lines[-_TAIL_LINES:])
        )
