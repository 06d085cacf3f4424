# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel that others built, looked for as a user names it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from kbtf_ci.infra.runner import Runner
from kbtf_ci.kernel.laid_out import Prebuilt
from kbtf_ci.kernel.prebuilt import find
from tests.support.local import LocalRunner


class Look(Protocol):
    """Finds a kernel, with a scratch folder of the test's own."""

    def __call__(
        self, *kernel: Path | str, modules: Path | None = None, runner: Runner | None = None
    ) -> Prebuilt: ...


@pytest.fixture
def look(tmp_path: Path) -> Look:
    def look(*kernel: Path | str, modules: Path | None = None, runner: Runner | None = None) -> Prebuilt:
        return find([str(word) for word in kernel], modules, tmp_path / "scratch", runner or LocalRunner())

    return look
