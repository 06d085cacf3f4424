# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The cases of a run as pytest's nodes: ``kbtf::NAME``, which stand beside the files of a project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kbtf_ci.pytest_plugin.cases import Case
from kbtf_ci.pytest_plugin.named import ROOT


class KbtfRun(pytest.Collector):
    """All tests of a run directory."""

    def __init__(self, *, cases: Iterable[Case], **values: Any) -> None:
        super().__init__(**values)
        self._cases = tuple(cases)
        self.add_marker("kbtf")

    @classmethod
    def of(cls, session: pytest.Session, file: Path, cases: Iterable[Case]) -> KbtfRun:
        """Return the node of a run whose results.json is ``file``."""
        node: KbtfRun = cls.from_parent(session, name=ROOT, nodeid=ROOT, path=file, cases=cases)
        return node

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item a case."""
        for case in self._cases:
            item: KbtfItem = KbtfItem.from_parent(self, name=case.name, case=case)
            yield item


class KbtfItem(pytest.Item):
    """One case."""

    def __init__(self, *, case: Case, **values: Any) -> None:
        super().__init__(**values)
        self.case = case
        self.user_properties.extend(case.properties)
        self.extra_keyword_matches.update(case.keywords)

    def setup(self) -> None:
        """Raise where there is nothing to judge: what was not observed is an error, and no failure."""
        if self.case.unseen:
            pytest.fail(self.case.fault, pytrace=False)

    def runtest(self) -> None:
        """Raise what is wrong."""
        if self.case.notes:
            self.add_report_section("call", "kbtf-ci", self.case.notes)
        if self.case.fault:
            pytest.fail(self.case.fault, pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return the file that the case is read from, and its title."""
        return self.path, None, self.case.title
