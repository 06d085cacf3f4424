# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The catalogue of messages: it knows all that two kernels can say, and the checks that they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbtf_ci.btf.rules import check as rules
from kbtf_ci.symptoms.catalogue import around, btf, build, context, loader
from kbtf_ci.symptoms.causes import CLASSES
from kbtf_ci.symptoms.messages import Catalogue, Message, Sort, expression

DATA = Path(__file__).parents[2] / "data"
VERSIONS = ("6.12", "7.3")
EVERY = (*btf.RECORDS, *btf.MESSAGES, *loader.MESSAGES, *build.MESSAGES, *around.MESSAGES, *context.CONTEXT)
_SAMPLES = {"s": "word", "p": "0xffff", "x": "1f", "X": "1F"}


def facts(version: str) -> Iterator[tuple[str, str]]:
    for line in (DATA / f"messages-{version}.txt").read_text().splitlines():
        if not line.startswith("#"):
            file, _, words = line.partition("\t")
            yield file, words


def printed(words: str) -> str:
    """Return what a format string comes to, its first line."""
    text = words.replace("\\t", "\t").replace("\\n", "\n").strip("\n").split("\n")[0]
    return re.sub(
        r"%[-0-9*.]*(?:l|ll|z|h)?([a-zA-Z])(?:hN)?", lambda match: _SAMPLES.get(match[1], "7"), text
    ).strip()


def says(message: Message, file: str, text: str) -> bool:
    return file.startswith(message.said_by) and message.regex.fullmatch(text) is not None


@pytest.mark.parametrize("version", VERSIONS)
def test_no_message_of_the_kernels_is_unknown(version: str) -> None:
    known = [message for message in EVERY if message.sort is not Sort.CONTEXT or message in loader.MESSAGES]
    count = 0
    for file, words in facts(version):
        text = printed(words)
        said_by = "resolve_btfids" if "resolve_btfids" in file else file
        assert any(says(message, said_by, text) for message in known), f"{file}: {words}"
        count += 1
    assert count > 300


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_known_by_its_words_is_found_in_a_line(version: str) -> None:
    catalogue = Catalogue((*btf.MESSAGES, *loader.MESSAGES, *build.MESSAGES))
    for file, words in facts(version):
        if file != "kernel/bpf/btf.c":
            assert catalogue.find(f"mod: {printed(words)}") is not None, words


def test_every_check_of_the_offline_rules_has_its_words() -> None:
    told: set[str] = set()
    for message in EVERY:
        told.update(btf.rules_of(message.checks, "", member=True, variable=False))
        told.update(btf.rules_of(message.checks, "", member=False, variable=True))
        for kind in btf.KINDS:
            told.update(btf.rules_of(message.checks, kind, member=False, variable=False))
    # Of these the kernel says nothing.
    assert set(rules.RULES) - told == {"chain.missing", "vmlinux.missing"}


def test_no_check_is_named_that_the_offline_rules_do_not_have() -> None:
    known = {*rules.RULES, "gate.symbols", "gate.this_module", "gate.struct_size", "gate.vermagic"}
    for message in EVERY:
        for rule in message.checks:
            if rule.startswith("*."):
                assert any(other.endswith(rule[1:]) for other in known), rule
            else:
                assert rule in known


@pytest.mark.parametrize(
    ("words", "kind", "expected"),
    [
        ("Invalid name", "FUNC", ("func.name",)),
        ("Invalid name", "CONST", ("ref.name",)),
        ("Invalid name", "ENUM", ("enum.name", "enum.value_name")),
        ("Unexpected size", "ENUM64", ("enum64.size",)),
        ("meta_left:4 meta_needed:12", "ENUM", ("type.tail",)),
        ("Unsupported section found", "", ("sections.gap", "sections.trailing")),
    ],
)
def test_the_kind_of_the_type_narrows_the_check(words: str, kind: str, expected: tuple[str, ...]) -> None:
    found = Catalogue(btf.RECORDS).whole(words)
    assert found is not None
    assert btf.rules_of(found.message.checks, kind, member=False, variable=False) == expected


def test_a_member_or_variable_narrows_it_too() -> None:
    found = Catalogue(btf.RECORDS).whole("Invalid type_id")
    assert found is not None
    assert btf.rules_of(found.message.checks, "", member=True, variable=False) == ("member.type",)
    assert btf.rules_of(found.message.checks, "", member=False, variable=True) == ("datasec.var_type",)


def test_messages_have_names_of_their_own_and_words_to_look_for() -> None:
    names = [message.id for message in EVERY]
    assert len(names) == len(set(names))
    for message in EVERY:
        if message not in btf.RECORDS:
            assert message.sure_words, message.id
            assert all(message.sure_words), message.id


def test_what_the_loader_refuses_has_a_meaning() -> None:
    for message in EVERY:
        if message.sort in (Sort.LOADER, Sort.TROUBLE):
            assert message.meaning, message.id


def test_a_format_becomes_an_expression() -> None:
    pattern = re.compile(expression("%s: version magic '%s' should be '%s'\\n", ("module", "built")))
    match = pattern.fullmatch("xfs: version magic '6.1 SMP ' should be '6.2 SMP '")
    assert match is not None
    assert (match["module"], match["built"]) == ("xfs", "6.1 SMP ")
    assert pattern.search("xfs: version magic 6.1") is None


def test_all_classes_are_there() -> None:
    assert list(CLASSES) == list(range(1, 36))
    for one in CLASSES.values():
        assert one.name
        assert one.way_out
        assert one.tells_apart
