# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Results of every shape that a report must show, with what a reader of the report must count in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.results import Results
from kbtf_ci.model.run_record import GuestProfile, RunRecord, SourceRecord

# What some format or some reader of one takes for something of its own.
NASTY: Final = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</code><b>x", "<!-- x", "]]>",
    "&amp;&#64;x", "\x1b[31mred\x1b[0m", "\x9b31m", "\0nul", "\ufffe\uffff", "\ud800", "\udcfc", "\u202ekm",
    "\u2028", "\x85", "two\nnot ok 9 lines", "cr\rok 8 x", "a # SKIP b", "# SKIP", "x # TODO", "a#b", "#",
    "SKIP", "-dash", "- dash", "-", "", " ", "\u00a0", "\ttab", "back\\slash\\", "Subtest: x",
    "KTAP version 1", "TAP version 13", "1..4", "ok 1 x", "not ok 2 x",
    "Kernel panic - not syncing: VFS: no root", "List of all partitions:", "x reboot: System halted",
    "::error::x", " \u2003::stop-commands::x", "::add-mask::e", "::set-output name=x::y", "a ##[error]b",
    "###[add-mask]a", "##vso[task.setvariable variable=x]y", "##teamcity[x]", "%0A::error::%25", "a,b:c=d;e",
    "`tick`", "``", "```\nfence", "|bar|", "a\\|b", "[x](javascript:alert(1))", "[x]: http://a.b",
    "![i](https://evil.example/i.png)", "<https://evil.example>", "https://evil.example/x",
    "www.evil.example", "mailto:a@evil.example", "@octocat", "x@octocat", "@org/team", "#123",
    "owner/repo#1", "GH-1", "JIRA-12", "0123456789abcdef0123456789abcdef01234567", "# head", "## head",
    "- item", "1. item", "> quote", "---", "***", "~~gone~~", "_em_", "**strong**", ":tada:", "$x$",
    "x" * 3000, "\U0001f4a9" * 3000,
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Results, and how many cases of a report pass, fail, and are errors (not reached, not read, ended)."""

    results: Results
    passed: int
    failed: int = 0
    errors: int = 0

    @property
    def total(self) -> int:
        return self.passed + self.failed + self.errors


def module(name: str, outcome: str = "VERIFIED", **more: Any) -> dict[str, Any]:
    values = {"name": name, "file": f"kernel/{name}/{name}.ko", "outcome": outcome, "btf_bytes": 10}
    return {**values, "load_us": 1500, "load": "real", **more}


def warning(text: str) -> dict[str, Any]:
    return {"kind": "warning", "headline": text, "lines": [text, "second"], "module": None}


def results(*modules: dict[str, Any], **more: Any) -> Results:
    compiler = "gcc (Debian) 14.2.0"
    values = {
        "schema": "kbtf-ci/results/1",
        "kernel": {"release": "6.12.3", "config_sha256": "c0", "pahole": "130", "compiler": compiler},
        "guest": {"accel": "tcg", "boot_s": 3.5, "load_s": 1.25},
        "modules": list(modules),
    }
    return Results.of({**values, **more})


def nasty_module(text: str, outcome: str = "REJECTED") -> dict[str, Any]:
    predicted = {"outcome": outcome, "cause": text, "advice": text, "rule": text, "base_mismatch": text}
    return module(
        text,
        outcome,
        reason=text,
        kernel_log=[text, f"x {text}"],
        warnings=[warning(text)],
        predicted=predicted if len(text) % 2 else None,
    )


def nasty(texts: tuple[str, ...] = NASTY, **more: Any) -> Results:
    """Return results in which all that comes of files and guests is hostile."""
    findings = [{"finding": "vmlinux-btf", "name": text, "text": text, "counts": True} for text in texts[:20]]
    return results(
        *map(nasty_module, texts),
        kernel={"release": texts[0], "pahole": texts[0], "compiler": "[x](http://a.b) @gcc"},
        warnings=[warning(text) for text in texts],
        findings=findings,
        **more,
    )


RUN: Final = RunRecord.begin(
    started="2026-11-01T09:00:00+00:00",
    kbtf_ci="0.1.0",
    command="kbtf-ci run --config smoke",
    options=BuildOptions("smoke", 2),
    profile=GuestProfile(name="smoke"),
).amended(
    {
        "stages": {"build": 61.5, "guest": 9.25},
        "source": SourceRecord(version="6.12.3", origin="linux-source-6.12 6.12.3-1 (trixie)"),
    }
)

STALE: Final = {"outcome": "VERIFIED", "base_mismatch": "type [5] is an int"}
UNUSABLE: Final = {
    "kfunc": "bpf_x", "rule": "kfunc.implicit", "why": "no", "set": None, "way_out": "new tools", "since": "",
}  # fmt: skip
OLD: Final = {"finding": "base-mismatch", "name": "base mismatch", "text": "1 module", "counts": True}
FINDINGS: Final = [
    {"finding": finding, "name": name, "text": f"{name} is not as predicted", "counts": True}
    for finding, name in (("vmlinux-btf", "vmlinux"), ("proof", "proof"), ("unusable", "kfuncs"))
]

SHAPES: Final = {
    "all verified": Shape(results(module("a"), module("b")), 2),
    "every outcome": Shape(results(*(module(f"m{one.value}", one.value) for one in Outcome)), 1, 5, 2),
    "warnings that do not count": Shape(
        results(module("a", warnings=[warning("W")]), module("b"), warnings=[warning("V")]), 2
    ),
    "warnings that count": Shape(
        results(
            module("a", warnings=[warning("W")]),
            module("b"),
            module("c", "REJECTED", warnings=[warning("W")], kernel_log=["BPF: no"]),
            warnings=[warning("V"), warning("U")],
            fail_on=["warning"],
        ),
        1,
        3,
    ),
    "another vmlinux's BTF": Shape(
        results(
            module("a", predicted=STALE),
            module("b"),
            fail_on=["base-mismatch"],
            findings=[OLD],
        ),
        1,
        1,
    ),
    "findings of the kernel": Shape(
        results(module("a", unusable=[UNUSABLE]), unusable=[UNUSABLE], findings=FINDINGS), 1, 3
    ),
    "ended early": Shape(results(module("a"), module("b", "NOT_REACHED"), ended="QEMU was killed"), 1, 0, 2),
    "ended behind the last module": Shape(results(module("a"), ended="QEMU was killed"), 1, 0, 1),
    "no module": Shape(results(), 0, 0, 1),
    "a module in no folder": Shape(
        results(module("a", file="a.ko"), module("b", "NO_BTF", file="b.ko")), 1, 1
    ),
    "hostile": Shape(nasty(), 0, len(NASTY) + 20),
    "hostile, and warnings count": Shape(nasty(fail_on=["warning"]), 0, len(NASTY) + 21),
    "hostile and verified": Shape(results(*(module(text) for text in NASTY)), len(NASTY)),
}
