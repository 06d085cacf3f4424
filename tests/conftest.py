# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What tests may ask for: a cache, an engine and its toolchain image, or a skip that CI can forbid."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NoReturn

import pytest

from kbtf_ci.container import image
from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.errors import InfrastructureError
from kbtf_ci.infra.paths import cache_root
from tests.support.cache import OwnCache, own_cache


def unavailable(need: str, reason: str) -> NoReturn:
    """Skip a test that lacks ``need``, or fail it where ``KBTF_CI_REQUIRE`` lists the need, or "all"."""
    required = os.environ.get("KBTF_CI_REQUIRE", "").replace(",", " ").split()
    if need in required or "all" in required:
        pytest.fail(f"KBTF_CI_REQUIRE asks for {need}: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def own() -> Iterator[OwnCache]:
    """The session's cache, which stands in the user's place for everything that a test does."""
    with own_cache(cache_root().absolute()) as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KBTF_CI_CACHE", str(cache.folder))
        # A test is no step of the job that runs it.
        patch.delenv("GITHUB_ACTIONS", raising=False)
        patch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        yield cache


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The container engine of this machine."""
    try:
        return Engine.connect()
    except InfrastructureError as error:
        unavailable("engine", error.message)


@pytest.fixture(scope="session")
def toolchain(engine: Engine) -> Toolchain:
    """The default toolchain image, built if need be."""
    try:
        return image.ensure(engine, image.DEFAULT_SUITE, lambda line: None)
    except InfrastructureError as error:
        unavailable("engine", error.message)
