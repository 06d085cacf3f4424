# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The site is built, every warning an error; its pictures are small and tell nothing of a machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from docs.pictures.make import terminal

ROOT = Path(__file__).parents[3]
PICTURES = ROOT / "docs" / "pictures"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(tmp_path)]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "reference" / "results.html").read_text()
    assert "<!-- from" not in page
    assert "engine, image, QEMU, SSH or disk" in page
    assert "a finding that --fail-on names" in page
    # What is not on the site has no link there.
    assert "benchmarks" in (tmp_path / "explanation" / "what-is-checked.html").read_text()
    assert "benchmarks/README" not in (tmp_path / "explanation" / "what-is-checked.html").read_text()


def test_pictures_are_small_and_load_nothing() -> None:
    files = [file for file in PICTURES.iterdir() if file.suffix in (".svg", ".png")]
    assert {file.name for file in files} == {"run.svg", "broken.svg", "report.png"}
    assert max(file.stat().st_size for file in files) < 150_000
    for file in PICTURES.glob("*.svg"):
        text = file.read_text()
        assert not re.search(r"/(root|home|tmp|work|var)/", text)
        assert not re.search(r"url\((?!#)|href=|@import|<image|<script", text)


def test_what_a_terminal_had_is_text_in_its_picture() -> None:
    svg = terminal("$ x <script>alert(1)</script> & [bold]y[/bold]\n", "a title")
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg
    assert "[bold]y[/bold]" in svg
    assert "url(http" not in svg
