# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A ``kbtf-ci`` that does nothing but say how it was called, for the scripts of CI services."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """#!{python} -IS
import json, os, sys
from pathlib import Path
here = Path(__file__).parent
words = sys.argv[1:]
with open(here / "calls", "a") as calls:
    calls.write(json.dumps(words) + "\\n")
answer = json.loads((here / "answers").read_text()).get(words[0], {{}})
print(answer.get("prints", ""))
for option in words:
    if option.startswith("--output-dir=") and "totals" in answer:
        run = Path(os.fsencode(option.partition("=")[2]).decode(errors="surrogateescape"))
        run.mkdir()
        (run / "run.json").write_text("{{}}")
        (run / "junit.xml").write_text("<testsuites/>")
        if answer["totals"]:
            (run / "results.json").write_text(json.dumps({{"totals": answer["totals"]}}))
sys.exit(answer.get("status", 0))
"""


@dataclass(frozen=True)
class FakeCli:
    """The program lies in ``folder``, which goes into PATH; each command succeeds unless told otherwise."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> FakeCli:
        folder.mkdir()
        program = folder / "kbtf-ci"
        program.write_text(_SCRIPT.format(python=sys.executable))
        program.chmod(0o755)
        made = cls(folder)
        (folder / "calls").touch()
        made.answer({})
        return made

    def answer(self, answers: dict[str, dict[str, object]]) -> None:
        """Say what each command prints, its status, and the totals of its results.json."""
        (self.folder / "answers").write_text(json.dumps(answers))

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
