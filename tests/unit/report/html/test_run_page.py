# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest

from kbtf_ci.model.results import Results
from kbtf_ci.model.run_record import RunRecord
from kbtf_ci.model.sizes import ModuleSizes, Sizes
from kbtf_ci.report.html.run_page import run_page
from tests.support.pages import Page

RECORD = RunRecord.parse(
    b'{"schema": "kbtf-ci/run/1", "command": "kbtf-ci run <x>", "stages": {"build": 12.5, "guest": 3}, '
    b'"toolchain": {"image": "t", "suite": "trixie", "packages": {"gcc": "14"}}}'
)
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% for x in y %}",
    "\x1b[31mred\u202e",
]


def module(name: str = "xfs", outcome: str = "VERIFIED", **more: Any) -> dict[str, Any]:
    return {"name": name, "file": f"kernel/{name}.ko", "outcome": outcome, "btf_bytes": 10, **more}


def results(*modules: dict[str, Any], **more: Any) -> Results:
    values = {"schema": "kbtf-ci/results/1", "kernel": {"release": "6.12.3"}, "findings": [], **more}
    return Results.of({**values, "modules": list(modules)})


def page_of(found: Results, record: RunRecord | None = RECORD, sizes: Sizes | None = None) -> Page:
    return Page.of(run_page(found, record, sizes, "runs/latest"))


def rows(page: Page) -> list[dict[str, Any]]:
    return [dict(zip(page.data["columns"], row, strict=True)) for row in page.data["modules"]]


def test_a_run_that_passed_says_so_and_has_no_cause() -> None:
    page = page_of(results(module(load_us=1500, load="real")))
    assert "Passed Module BTF of 6.12.3 1 of 1 modules are verified." in page.text
    assert "article" not in page.elements
    assert rows(page)[0] == {
        "name": "xfs", "outcome": "VERIFIED", "bytes": 10, "load": "real", "us": 1500,
        "file": "kernel/xfs.ko", "reason": None, "sha256": None, "causes": [], "log": None,
    }  # fmt: skip


def test_modules_that_fail_for_one_reason_are_one_card_with_the_kernels_words_and_a_command() -> None:
    reason = "the kernel refused the BTF: EINVAL (-22)"
    failed = [
        module(name, "REJECTED", reason=reason, kernel_log=[f"failed to validate module [{name}] BTF: -22"])
        for name in ("a", "b")
    ]
    page = page_of(results(*failed, module("c", "NOT_REACHED"), ended="QEMU was killed"))
    assert page.elements["article"] == 3
    assert "Failed Module BTF of 6.12.3 0 of 3 modules are verified; the run ended early" in page.text
    assert "failed to validate module [a] BTF: -22" in page.text
    assert "kbtf-ci repro bundle runs/latest a" in page.text
    assert "Again: kbtf-ci verify runs/latest" in page.text
    assert [row["causes"] for row in rows(page)] == [[1], [1], [2]]
    assert page.data["causes"][1] == "The kernel refused the BTF: EINVAL (-22)"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_whatever_comes_from_guests_and_files_is_text(hostile: str) -> None:
    warning = {"kind": "warning", "headline": hostile, "lines": [hostile], "times": 1}
    finding = {"finding": "proof", "name": "proof", "text": hostile, "counts": True}
    bad = module(
        hostile, "REJECTED", file=hostile, reason=hostile, kernel_log=[hostile], warnings=[warning],
        predicted={"outcome": "REJECTED", "cause": hostile, "advice": hostile},
    )  # fmt: skip
    facts = {"release": hostile, "compiler": hostile, "pahole": hostile}
    sizes = Sizes((ModuleSizes(hostile, hostile, 5, 50),))
    plain = module("a", "REJECTED", reason="no", kernel_log=["x"], warnings=[{**warning, "kind": "bug"}])
    page = page_of(results(bad, kernel=facts, findings=[finding]), sizes=sizes)
    same = page_of(results(plain, findings=[finding]), sizes=Sizes((ModuleSizes("a", "a", 5, 50),)))
    assert page.elements["script"] == same.elements["script"] == 2
    assert page.elements["article"] == same.elements["article"]
    assert page.elements["img"] == 0
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not [one for one in page.text if ord(one) < 0x20 or 0x202A <= ord(one) <= 0x202E]
    assert rows(page)[0]["name"] == hostile.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")


def test_the_page_loads_nothing_and_runs_only_its_own_script() -> None:
    text = run_page(results(module()), RECORD, None, "runs/latest")
    page = Page.of(text)
    assert not {name for _, name, _ in page.attributes} & {"src", "srcset", "style", "action", "data"}
    assert {value[:1] for _, name, value in page.attributes if name == "href"} == {"#"}
    (policy,) = [value for tag, name, value in page.attributes if (tag, name) == ("meta", "content")][:1]
    assert policy.startswith("default-src 'none';")
    for element in ("style", r"script(?! type)"):
        (inside,) = re.findall(rf"<{element}>(.*?)</", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_what_split_btf_saves_stands_beside_the_commits_figures() -> None:
    sizes = Sizes((ModuleSizes("xfs", "kernel/fs/xfs/xfs.ko", 10, 400), ModuleSizes("b", "b.ko", 10, 100)))
    text = page_of(results(module()), sizes=sizes).text
    assert "2 modules: 500 bytes of full BTF, 20 of split BTF, 25.0 to 1" in text
    assert "115,710,691 to 5,194,047, 22.3 to 1" in text
    assert "400 B full, 10 B split" in text
    assert "kbtf-ci sizes runs/latest" in page_of(results(module())).text


def test_the_environment_says_how_the_run_came_about() -> None:
    text = page_of(results(module(), kernel={"release": "r", "compiler": "gcc 14", "pahole": "130"})).text
    assert "Command kbtf-ci run <x>" in text
    assert "Compiler gcc 14" in text
    assert "1 packages of the toolchain image gcc 14" in text
    assert "build 12.5 s" in text


def test_results_alone_make_a_page() -> None:
    assert "Environment Kernel 6.12.3" in page_of(results(), record=None).text


def test_proofs_are_told() -> None:
    fentry = {"functions": 5, "modules": 2, "as_predicted": {"no_location": 3, "init": 0}, "seconds": 1.5}
    refused = [{"module": "vmlinux", "kfunc": "f", "program": "syscall", "why": "EINVAL: no"}]
    kfunc = {"kfuncs": 4, "callable": 3, "refused": refused, "seconds": 2}
    text = page_of(results(module(), proof=fentry, kfunc_proof=kfunc)).text
    assert "fentry: 5 functions of 2 modules; as predicted: 3 no location; attached to 0; 1.5 s" in text
    assert "kfuncs: of 4 3 are callable, 1 refused, 0 not proven; 2.0 s" in text
    assert "refused: vmlinux:f: EINVAL: no" in text
    assert "no JIT" in page_of(results(module(), proof={"cannot": "no JIT"})).text


def test_more_modules_than_a_card_names_are_counted() -> None:
    failed = [module(f"m{n}", "LOAD_FAILED", reason="not loaded: ENODEV (-19)") for n in range(60)]
    page = page_of(results(*failed))
    assert "m39 and 20 more" in page.text
    assert "60 LOAD_FAILED" in page.text
