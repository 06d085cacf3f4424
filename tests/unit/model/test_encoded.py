# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from kbtf_ci.model.encoded import EncodedModule, by_fault


def test_modules_without_btf_are_told_by_fault_the_most_frequent_first() -> None:
    faults = {"a": "x", "b": "y", "c": "", "d": "y"}
    ended = [EncodedModule(name, name, fault=fault) for name, fault in faults.items()]
    found = {fault: [one.file for one in modules] for fault, modules in by_fault(ended).items()}
    assert list(found.items()) == [("y", ["b", "d"]), ("x", ["a"])]
