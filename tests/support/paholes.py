# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A pahole for tests of how it is called: what it writes says nothing about BTF."""

from __future__ import annotations

from pathlib import Path

# A module may hold a line "do: COMMAND", which is run first.
_SCRIPT = """#!/bin/sh
[ "$1" = --version ] && { echo "v%s"; exit 0; }
for word; do
  case $word in --btf_encode_detached=*) out=${word#*=} ;; esac
  module=$word
done
echo "$*" >> "%s"
do=$(sed -n "s/^do: //p" "$module" | tr -d "\\000")
eval "$do"
%s
"""
TWICE = 'cat "$module" "$module" > "$out"'  # the "BTF" is the module's own bytes twice
MARK = 'printf encoded >> "${out:-$module}"'  # behind the module, or alone where it is detached


def plant(folder: Path, version: str = "1.30", write: str = TWICE) -> Path:
    """Write it to ``folder`` and return its path; each of its calls becomes a line of ``calls`` beside it.

    ``write`` is how it writes what it makes.
    """
    program = folder / "pahole"
    program.write_text(_SCRIPT % (version, folder / "calls", write))
    program.chmod(0o755)
    return program


def calls(folder: Path) -> list[str]:
    """Return the arguments of every call so far."""
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []
