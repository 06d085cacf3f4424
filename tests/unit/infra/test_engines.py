# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.engines import EngineKind, choose, chosen


def test_it_is_a_container_engine_unless_another_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KBTF_CI_ENGINE", raising=False)
    assert chosen() is EngineKind.CONTAINER
    monkeypatch.setenv("KBTF_CI_ENGINE", "")
    assert chosen() is EngineKind.CONTAINER
    monkeypatch.setenv("KBTF_CI_ENGINE", "host")
    assert chosen() is EngineKind.HOST
    choose(EngineKind.CONTAINER)
    assert chosen() is EngineKind.CONTAINER


def test_what_is_no_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBTF_CI_ENGINE", "docker")
    with pytest.raises(UsageError, match="KBTF_CI_ENGINE=docker: no such engine"):
        chosen()
