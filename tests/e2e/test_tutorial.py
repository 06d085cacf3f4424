# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The tutorial, command by command in a clone: what comes out is what the page shows, but for its numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from kbtf_ci.container.engine import Engine
from tests.support.cache import OwnCache

pytestmark = [pytest.mark.engine, pytest.mark.full]

ROOT = Path(__file__).parents[2]
_WIDTH = 100


def steps(page: str) -> list[tuple[str, str]]:
    """Return each command of a page with the output that is shown behind it, "" for none."""
    found: list[tuple[str, str]] = []
    for token in MarkdownIt("commonmark").parse(page):
        if token.type == "code_block":
            found += [(line, "") for line in token.content.splitlines()]
        elif token.type == "fence":
            found[-1] = (found[-1][0], token.content)
    return found


def alike(text: str) -> str:
    """Return a text without its line breaks, and with every number and run directory the same."""
    text = re.sub(r"runs/\d{8}T\d{6}Z-smoke", "runs/N-smoke", text)
    same = re.sub(r"[ ]*\d[\d,.]*", " N", " ".join(text.split())).replace("(kvm)", "(tcg)")
    return same.replace(", N boots;", ";")  # a loaded machine may need another one


def missing(shown: str, output: str) -> list[str]:
    """Return the pieces of what a page shows, between "...", that are not in the output in this order."""
    place, said = 0, alike(output)
    lost = []
    for piece in re.split(r"(?m)^ *\.\.\.$", shown):
        words = alike(piece)
        found = said.find(words, place)
        if found < 0:
            lost.append(words)
        else:
            place = found + len(words)
    return lost


def beside(shown: str, output: str) -> str:
    """Return what a page shows and what came out in two columns, "=" between lines that are alike."""
    left, right = shown.splitlines(), output.splitlines()
    pairs = SequenceMatcher(None, [alike(line) for line in left], [alike(line) for line in right], False)
    rows = []
    for kind, from_left, to_left, from_right, to_right in pairs.get_opcodes():
        mark = "=" if kind == "equal" else " "
        both = zip_longest(left[from_left:to_left], right[from_right:to_right], fillvalue="")
        rows += [f"{one:<{_WIDTH}.{_WIDTH}} {mark} {other}".rstrip() for one, other in both]
    return "".join(f"{row}\n" for row in rows)


def test_a_page_stands_beside_what_came_out() -> None:
    assert beside("x 9 s\n...\nc\n", "x 1.5 s\nb\nd\nc\n").split("\n") == [
        f"{'x 9 s':<{_WIDTH}} = x 1.5 s",
        f"{'...':<{_WIDTH}}   b",
        f"{'':<{_WIDTH}}   d",
        f"{'c':<{_WIDTH}} = c",
        "",
    ]


def test_pieces_are_found_in_their_order() -> None:
    output = "x 1.5 s\nb\nc 7\n"
    assert missing("x 9 s\n...\nc 8\n", output) == []
    assert missing("c 8\n...\nx 9 s\n", output) == ["x N s"]


def test_the_tutorial_says_what_happens(engine: Engine, own: OwnCache, tmp_path: Path) -> None:
    own.seed()
    clone = tmp_path / "kbtf-ci"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    told = steps((ROOT / "docs" / "tutorial.md").read_text())
    assert told[0][0] == "make run"
    for command, shown in told:
        call = f"[ ! -f .venv/bin/activate ] || . .venv/bin/activate; {command}"
        done = subprocess.run(
            ["bash", "-c", call], cwd=clone, env=environment, capture_output=True, text=True, check=False
        )
        # Both columns are shown where the test fails, and with pytest's -rP or -s where it does not.
        sys.stdout.write(f"$ {command}\n{beside(shown, done.stdout)}\n")
        assert done.returncode == (1 if "runs/broken" in command and "kbtf-ci" in command else 0), (
            command,
            done,
        )
        assert missing(shown, done.stdout) == [], (command, done.stdout)
    assert "stripped" in (clone / "runs" / "broken" / "report.html").read_text()
