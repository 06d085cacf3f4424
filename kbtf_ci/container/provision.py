# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci setup``: install and start what a run needs and this machine lacks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from kbtf_ci.container import base, daemon, image
from kbtf_ci.container.engine import Engine, NoEngineError
from kbtf_ci.container.host import apt_install, as_root, check, find_program
from kbtf_ci.container.places import own_socket, url_of
from kbtf_ci.errors import EngineError, InfrastructureError
from kbtf_ci.objfile.archive.reader import PACKAGE as LIBARCHIVE
from kbtf_ci.objfile.archive.reader import has_libarchive

_SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
_APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
# With what mmdebstrap only recommends and cannot do without here: keys, suites' names, user namespaces.
_BOOTSTRAP_PACKAGES = (
    "mmdebstrap",
    "debian-archive-keyring",
    "gpg",
    "libdistro-info-perl",
    "mount",
    "uidmap",
)
# With what Debian's podman only recommends and a user's containers need: ids of their own, and a network.
# Where Docker's runc is, crun, which hands a user's groups on, is not installed by itself.
_PODMAN_PACKAGES = ("podman", "crun", "uidmap", "slirp4netns")


def setup(note: Callable[[str], None]) -> Engine:
    """Return an engine that answers and holds a base image, after doing what was missing for that.

    ``note`` gets a line for each thing done. Raises EngineError or InfrastructureError, in one line, where
    this user or this machine does not allow it.
    """
    engine = _engine(note)
    if engine.address.url == url_of(own_socket()):
        daemon.make_private(own_socket().parent)
    note(f"{engine.name} {engine.version} answers at {engine.address.url}")
    if not base.present(engine.address, image.image_name(image.DEFAULT_SUITE)):
        base.ensure(engine.address, image.DEFAULT_SUITE, note, lambda: _install(_BOOTSTRAP_PACKAGES, note))
    _archives(note)
    return engine


def _archives(note: Callable[[str], None]) -> None:
    """Install what other distributions' packages are read with, where that can be: a run does without."""
    if has_libarchive():
        return
    try:
        _install((LIBARCHIVE,), note)
    except InfrastructureError as error:
        note(f"{error.message}: without libarchive no rpm is read ({error.hint or 'see above'})")


def _engine(note: Callable[[str], None]) -> Engine:
    try:
        return Engine.connect()
    except NoEngineError:
        # Who names an engine wants that one, and only ours is ours to start.
        if os.environ.get("DOCKER_HOST", url_of(own_socket())) != url_of(own_socket()):
            raise
    root = as_root()
    if shutil.which("podman") is not None and (root is None or find_program("dockerd") is None):
        raise EngineError(
            "Podman is installed, but its socket is not open",
            hint=f"run `{_opens_podman()}`, or point DOCKER_HOST at its socket",
        )
    if root is None:
        raise _without_root()
    if find_program("dockerd") is None:
        _install(_engine_packages(), note)
        with suppress(NoEngineError):
            return Engine.connect()  # the package starts it where a service manager runs
    return _start(root, note)


def _start(root: Sequence[str], note: Callable[[str], None]) -> Engine:
    if _SYSTEMD.is_dir():
        note("starting docker through systemd")
        check([*root, "systemctl", "start", "docker"], "systemd could not start docker")
        return Engine.connect()
    if other := daemon.elsewhere():
        raise EngineError(
            f"another dockerd runs on this machine, on a socket that was not tried: {other}",
            hint="point DOCKER_HOST at its socket",
        )
    note(f"starting a container engine of our own in {own_socket().parent}")
    return daemon.start(root)


def _opens_podman() -> str:
    """Return the command that has Podman answer on its socket: as this user, or as root for all."""
    if not _SYSTEMD.is_dir():
        return "podman system service --time=0 &"
    return f"systemctl {'' if os.geteuid() == 0 else '--user '}enable --now podman.socket"


def _without_root() -> EngineError:
    """Return the error of a user who can neither install nor start Docker, with what does without root."""
    alone = (
        f"without root there is rootless Podman (`apt-get install {' '.join(_PODMAN_PACKAGES)}` by an"
        f" administrator, then `{_opens_podman()}`), or `--engine host`, with no container at all"
    )
    if find_program("dockerd") is None:
        return EngineError(
            "there is no container engine, and installing Docker needs root, or sudo without a password",
            hint=alone,
        )
    return EngineError(
        "docker is installed but does not run, and starting it needs root, or sudo without a password",
        hint=f"have an administrator start it (`systemctl start docker`); {alone}",
    )


def _engine_packages() -> tuple[str, ...]:
    # Where the kernel has AppArmor on, dockerd starts no container without its parser.
    apparmor = _APPARMOR.exists() and _APPARMOR.read_text().startswith("Y")
    return ("docker.io", "apparmor") if apparmor else ("docker.io",)


def _install(packages: tuple[str, ...], note: Callable[[str], None]) -> None:
    note(f"installing {' '.join(packages)}")
    apt_install(packages)
