# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How many steps a whole build of a profile makes, by which one under way knows how far it is."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.infra.profiles import Profile
from kbtf_ci.infra.whole import whole_file
from kbtf_ci.kernel.build import Built
from kbtf_ci.kernel.source import Source
from kbtf_ci.model.options import BuildOptions

_DIGITS = 7


@dataclass(frozen=True)
class StepCount:
    """Where the count of a profile's builds is kept, and the one that the profile has itself, if any."""

    path: Path
    shipped: int | None

    @classmethod
    def of(cls, folder: Path, profile: Profile, source: Source, options: BuildOptions) -> StepCount:
        """Return the count, kept below ``folder``, of one profile with these ``-K`` and ``VAR=VALUE``.

        It is one for 6.12.117 and 6.12.118: a stable release moves few files.
        """
        series = ".".join(source.version.split(".")[:2])
        more = json.dumps([options.added, options.variables, options.toolchain]).encode()
        name = f"{profile.key}-{series}-{hashlib.sha256(more).hexdigest()[:12]}"
        return cls(folder / name, profile.steps)

    @property
    def expected(self) -> int | None:
        """The steps that the last whole build made, else those of the profile; None where nobody knows."""
        with suppress(OSError, ValueError):
            text = self.path.read_text(encoding="ascii").strip()
            if text.isdecimal() and len(text) <= _DIGITS and int(text) > 0:
                return int(text)
        return self.shipped

    def keep(self, built: Built) -> None:
        """Keep the steps of a whole build; another one's say nothing. A full disk costs no more than this."""
        steps = sum(built.steps.values())
        if built.whole and steps:
            with suppress(OSError), whole_file(self.path) as file:
                file.write(f"{steps}\n".encode())
