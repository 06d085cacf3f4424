# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The documentation's pictures, of a real run: python -m docs.pictures.make FOLDER, from the root.

In FOLDER the smoke profile is built, booted and verified, then once more with a module whose BTF was
stripped. What the terminal had becomes run.svg and broken.svg, the second run's report.html report.png.
It needs the container engine, and takes a minute where the kernel is built already.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from kbtf_ci.container.engine import Engine
from tests.support.browse import browse

HERE: Final = Path(__file__).resolve().parent
# Emulated: that runs everywhere, and says nothing of this machine.
RUN: Final = "kbtf-ci run --config smoke --accel tcg -o runs/smoke"
STRIP: Final = "objcopy --remove-section=.BTF runs/broken/kernel/modules/kernel/fs/ext2/ext2.ko"
VERIFY: Final = "kbtf-ci verify runs/broken --accel tcg"
_WIDTH: Final = 110
_FONT: Final = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def terminal(transcript: str, title: str) -> str:
    """Return an SVG of a terminal that shows this."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text(transcript.rstrip("\n")), soft_wrap=False)
    svg = console.export_svg(title=title, unique_id=title.replace(" ", "-"))
    # A picture loads nothing: a reader's own monospaced font does.
    return "\n".join(line.rstrip() for line in _FONT.sub("", svg).splitlines()) + "\n"


def said(command: str, folder: Path) -> str:
    """Run a command and return it with what it printed, both streams together, as a terminal shows it."""
    print(command, file=sys.stderr)
    done = subprocess.run(
        command.split(), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode not in (0, 1):
        sys.exit(done.stdout)
    return f"$ {command}\n{done.stdout}"


def main(folder: Path) -> None:
    """Make all pictures."""
    shutil.rmtree(folder / "runs", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (HERE / "run.svg").write_text(terminal(said(RUN, folder), "kbtf-ci run"))
    shutil.copytree(folder / "runs" / "smoke", folder / "runs" / "broken", symlinks=True)
    broken = said(STRIP, folder) + said(VERIFY, folder)
    (HERE / "broken.svg").write_text(terminal(broken, "kbtf-ci verify"))
    seen = folder / "seen"
    shutil.rmtree(seen, ignore_errors=True)
    browse(Engine.connect(), folder / "runs" / "broken" / "report.html", seen)
    shutil.copy(seen / "wide-light.png", HERE / "report.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
