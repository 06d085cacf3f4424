# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A user without root, with Podman, on a machine as a Debian with udev has it.

That machine is this one in namespaces of mounts and processes: /etc, /dev and the cgroups are not touched for
anybody else, and whatever the user has started ends with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import wait_until

USER = "kbtf-ci-user"
UID = 54321
KVM_GID = 54322
HOME = Path("/home") / USER
# What root mounts over its own, for the user: $1 is the folder of all that, $2 the user's id, $3 kvm's group.
_MACHINE = r"""
set -eu
read -r pid _ < /proc/self/stat  # as others number it
mount --make-rprivate /
mount -t proc proc /proc
for name in passwd group subuid subgid; do
    [ -e "/etc/$name" ] || : > "/etc/$name"
    mount --bind "$1/etc/$name" "/etc/$name"
done
mount --bind "$1/home" /home
mount -t tmpfs -o mode=755 tmpfs /run/user
mkdir -m 700 "/run/user/$2" && chown "$2:$2" "/run/user/$2"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
# udev has them so; without it only root may open them.
for node in net/tun:666:0 fuse:666:0 kvm:660:"$3"; do
    IFS=: read -r path mode group <<< "$node"
    [ -c "/dev/$path" ] || continue
    read -r major minor <<< "$(stat -c '%Hr %Lr' "/dev/$path")"
    mknod -m "$mode" "$1/dev/${path##*/}" c "$major" "$minor"
    chgrp "$group" "$1/dev/${path##*/}"
    mount --bind "$1/dev/${path##*/}" "/dev/$path"
done
# crun starts nothing where there are controllers in both versions of cgroups; a Debian has the second alone.
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount --recursive --lazy /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount --make-rshared /
echo "$pid"
exec sleep infinity
"""


@dataclass(frozen=True)
class Machine:
    """The machine as the user has it; ``pid`` is a process that is in it."""

    pid: int
    folder: Path

    @property
    def home(self) -> Path:
        """The user's home folder, as it is seen from outside."""
        return self.folder / "home" / USER

    def root(self, *words: str | Path) -> None:
        """Run a command of root's."""
        subprocess.run([*self._enter(), *words], cwd="/", check=True)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command of the user's, in the home folder."""
        user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--init-groups", "--"]
        environment = {
            "HOME": str(HOME),
            "USER": USER,
            "LANG": "C.UTF-8",
            "PATH": f"{HOME}/venv/bin:/usr/local/bin:/usr/bin:/bin",
            "XDG_RUNTIME_DIR": f"/run/user/{UID}",
        }
        only = ["env", "-i", *(f"{name}={value}" for name, value in environment.items())]
        at_home = ["sh", "-c", 'cd && exec "$@"', "sh"]
        return subprocess.Popen(
            [*self._enter(), *user, *only, *at_home, *words],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the user's to its end."""
        process = self.start(*words)
        out, err = process.communicate()
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def open_socket(self) -> None:
        """Have Podman answer on the user's socket, as systemd does where it runs."""
        call = "podman system service --time=0 > podman.log 2>&1 &"
        assert self("sh", "-c", call).returncode == 0
        socket = f"/run/user/{UID}/podman/podman.sock"
        wait_until(lambda: self("test", "-S", socket).returncode == 0)

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--"]


@contextmanager
def machine(folder: Path, *, ranges: bool) -> Iterator[Machine]:
    """Make the machine in ``folder``, which is removed at the end; the user has subordinate ids or none."""
    home = folder / "home" / USER
    home.mkdir(parents=True)
    (folder / "dev").mkdir()
    _etc(folder / "etc", ranges=ranges)
    os.chown(home, UID, UID)
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", _MACHINE, "bash"]
    with subprocess.Popen(
        [*words, folder, str(UID), str(KVM_GID)], stdout=subprocess.PIPE, text=True
    ) as init:
        try:
            assert init.stdout is not None
            yield Machine(int(init.stdout.readline()), folder)
        finally:
            init.kill()
            init.wait()
            shutil.rmtree(folder)


def _etc(etc: Path, *, ranges: bool) -> None:
    etc.mkdir()
    users = Path("/etc/passwd").read_text() + f"{USER}:x:{UID}:{UID}::{HOME}:/bin/sh\n"
    (etc / "passwd").write_text(users)
    groups = Path("/etc/group").read_text() + f"{USER}:x:{UID}:\nkbtf-ci-kvm:x:{KVM_GID}:{USER}\n"
    (etc / "group").write_text(groups)
    for name in ("subuid", "subgid"):
        (etc / name).write_text(f"{USER}:6000000:65536\n" if ranges else "root:100000:65536\n")


def python() -> str:
    """Return a Python that any user may run, "" for none: root's own may lie in its home."""
    for program in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3"):
        # setpriv itself may still go where only root may: it has root's powers until the next exec.
        words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", program, "-c"]
        check = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
        with suppress(OSError):
            if subprocess.run([*words, check], cwd="/", capture_output=True, check=False).returncode == 0:
                return program
    return ""


def interrupt(process: subprocess.Popen[str]) -> None:
    """Send SIGINT to the command of the user's itself, not to what has entered the machine for it."""
    (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(pid), signal.SIGINT)
