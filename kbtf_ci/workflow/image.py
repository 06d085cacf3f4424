# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci image``: the toolchain image made, and written to a file."""

from __future__ import annotations

from pathlib import Path

from kbtf_ci.container import image
from kbtf_ci.container.engine import Engine
from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.infra.engines import EngineKind, chosen
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.whole import whole_file


def make_image(suite: str, reporter: Reporter) -> str:
    """Return the name of the suite's toolchain image, made unless it is there. Raises KbtfError."""
    return _made(suite, reporter)[1]


def export_image(suite: str, path: Path, reporter: Reporter) -> str:
    """Write the image to ``path``, whole or not at all, and return its name. Raises KbtfError."""
    engine, name = _made(suite, reporter)
    reporter.stage("export")
    written = 0
    try:
        with whole_file(path) as file:
            for piece in image.exported(engine, name):
                written += file.write(piece)
                reporter.progress(f"{written >> 20} MiB written")
    except OSError as error:
        raise file_error(error, path, "cannot be written") from error
    return name


def _made(suite: str, reporter: Reporter) -> tuple[Engine, str]:
    if chosen() is EngineKind.HOST:
        raise UsageError("image: --engine host has no images", hint="a container engine makes them")
    reporter.stage("toolchain")
    engine = Engine.connect()
    return engine, image.ensure(engine, suite, reporter.progress).image
