# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a person's text shows of a BTF failure, and what is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Line:
    """One line of a log, without what its carrier put around it.

    ``number`` counts the file's lines from 1; ``boot`` the boots in the text from 1. ``time`` is in seconds
    since boot, None where the line has none. ``stamped``: a stamp, level or log prefix stood before it.
    """

    text: str
    file: str
    number: int
    boot: int = 1
    time: float | None = None
    stamped: bool = False

    @property
    def place(self) -> str:
        """Return where it stands, as compilers say it."""
        return f"{self.file}:{self.number}"


class Likelihood(StrEnum):
    """How sure a cause is; ``HARMLESS`` is there, and does no harm."""

    SHOWN = "shown"
    LIKELY = "likely"
    POSSIBLE = "possible"
    HARMLESS = "harmless"


class Conclusion(StrEnum):
    """What the text comes to."""

    EXPLAINED = "explained"
    IN_DOUBT = "in doubt"
    NOT_SHOWN = "nothing here shows BTF at fault"
    NO_LOG = "no line of a kernel or of a kernel's build"


@dataclass(frozen=True)
class Refusal:
    """One BTF that a kernel refused: whose, by which check, with which lines.

    ``module`` is "vmlinux" for the kernel's own, "" where the text does not name it. ``errno`` is positive, 0
    where it is not told. ``checks`` are the rules of kbtf_ci.btf.rules that it can have been. ``times``
    counts equal refusals in the text. ``loaded``: the text shows the module running all the same.
    """

    module: str
    errno: int
    checks: tuple[str, ...]
    words: str
    lines: tuple[Line, ...]
    times: int = 1
    loaded: bool = False


@dataclass(frozen=True)
class Cause:
    """One class of failure, and why it is thought of. ``number`` is that of the catalogue of classes."""

    number: int
    name: str
    likelihood: Likelihood
    why: tuple[str, ...]
    way_out: str
    tells_apart: str
    lines: tuple[Line, ...] = ()
    modules: tuple[str, ...] = ()
    boots: tuple[int, ...] = ()


@dataclass(frozen=True)
class Remark:
    """A line that was understood and is no cause of a BTF failure: what it says."""

    text: str
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Proof:
    """What the offline check says of one module beside what the text says.

    ``agrees`` is None where the text says nothing of that module.
    """

    module: str
    file: str
    text: str
    agrees: bool | None


@dataclass(frozen=True)
class Diagnosis:
    """All that is made of a text, the likeliest cause first.

    ``consequences`` follow from the causes; ``elsewhere`` are failures that are not BTF's; ``contradictions``
    say where the lines speak against what the reporter believes; ``missing`` what would make it surer.
    """

    conclusion: Conclusion
    summary: str
    boots: int
    kernels: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    causes: tuple[Cause, ...]
    consequences: tuple[Remark, ...]
    elsewhere: tuple[Remark, ...]
    contradictions: tuple[Remark, ...]
    missing: tuple[str, ...]
    proofs: tuple[Proof, ...] = ()
