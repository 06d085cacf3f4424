# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A page opened in a real browser, in a container of its own that has no network."""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
from pathlib import Path
from typing import Any

from kbtf_ci.container import base, image
from kbtf_ci.container.engine import Engine
from kbtf_ci.infra.runner import Command, Mount, run

_BROWSER = Path(__file__).with_name("browser")


def browser_image(engine: Engine) -> str:
    """Return the name of the image with the browser, made unless the engine holds it."""
    certificates = ssl.get_default_verify_paths().cafile
    sources = [(path.name, path.read_bytes()) for path in sorted(_BROWSER.iterdir())]
    digest = hashlib.sha256(b"\0".join(data for _, data in sources)).hexdigest()
    name = f"kbtf-ci-tests/browser:{digest[:12]}"
    if not base.present(engine.address, name):
        found = Path(certificates).read_bytes() if certificates else b""
        toolchain = image.ensure(engine, image.DEFAULT_SUITE, print)
        image.build(engine, name, [*sources, ("certificates.pem", found)], toolchain.image, print)
    return name


def browse(engine: Engine, page: Path, out: Path) -> dict[str, Any]:
    """Open ``page`` in four sizes and colours; return what was seen, its pictures in ``out``."""
    out.mkdir()
    shown = out / "page.html"
    shutil.copy(page, shown)
    command = Command(
        ("node", "/usr/src/browse/browse.mjs", "/out/page.html", "/out"),
        mounts=(Mount(out, "/out", writable=True),),
        env={"HOME": "/tmp"},
        label="browser",
    )
    done = run(engine.runner(browser_image(engine)), command)
    assert done.status == 0, done.text
    seen: dict[str, Any] = json.loads((out / "seen.json").read_text())
    return seen
