# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel's scripts/Makefile.modfinal makes of a newer vmlinux.

Commit 5f9ae91f (5.11) wrote ``$(call if_changed_except,ld_ko_o,vmlinux)``: BTF again, but no new link. Commit
214c0eea43b2 (6.13) made the prerequisite and the exception ``$(objtree)/vmlinux``; objtree is ``.``, and make
calls ``./vmlinux`` ``vmlinux`` in ``$?``, so that nothing is excepted any more and modules are linked again.
The text decides rather than the version: distributions carry patches from one to another.
"""

from __future__ import annotations

import re
from pathlib import Path

from kbtf_ci.errors import file_error
from kbtf_ci.model.regeneration import Rule

_PREREQUISITES = re.compile(r"^%\.ko:(.*)$", re.MULTILINE)
_EXCEPTED = re.compile(r"if_changed_except,ld_ko_o,([^\n]*)\)$", re.MULTILINE)


def rule_of(text: str) -> Rule:
    """Return the rule in the text of a Makefile.modfinal."""
    prerequisites = _PREREQUISITES.search(text)
    if prerequisites is None or re.search(r"[ ,/]vmlinux\b(?!\.)", prerequisites[1]) is None:
        return Rule.FORGOTTEN
    excepted = _EXCEPTED.search(text)
    return Rule.KEPT if excepted and "vmlinux" in excepted[1].split() else Rule.RELINKED


def read_rule(source: Path) -> Rule:
    """Return the rule of a source tree. Raises UsageError when it has none to read."""
    path = source / "scripts/Makefile.modfinal"
    try:
        return rule_of(path.read_text(errors="replace"))
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
