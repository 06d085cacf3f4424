# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.container.image import image_name
from kbtf_ci.errors import UsageError
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.model.cache_key import CacheKey, safe_word
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.workflow.cache_key import cache_keys

SMOKE = BuildOptions("smoke", 2, btf_cache=True)
DIGEST = "AB" * 32


def keys(options: BuildOptions) -> dict[str, CacheKey]:
    return {one.name: one for one in cache_keys(options)}


def test_they_are_of_all_that_may_be_kept() -> None:
    found = keys(SMOKE)
    assert list(found) == ["image", "source", "ccache", "btf"]
    assert found["image"].image == image_name("trixie")
    assert found["image"].key == f"kbtf-ci-image-{image_name('trixie').partition(':')[2]}"
    assert (found["ccache"].path, found["btf"].path) == (cache_root() / "ccache", cache_root() / "btf")
    assert [one.grows for one in found.values()] == [False, False, True, True]


@pytest.mark.parametrize("change", [
    {"added": ("CONFIG_X=y",)}, {"variables": ("CC=clang",)}, {"config": "defconfig"}, {"suite": "forky"},
])  # fmt: skip
def test_another_build_has_another_key_and_falls_back_to_what_is_nearest(change: dict[str, str]) -> None:
    for name in ("ccache", "btf"):
        one, other = keys(SMOKE)[name], keys(replace(SMOKE, **change))[name]  # type: ignore[arg-type]
        assert one.key != other.key
        assert all(str(one.key).startswith(prefix) for prefix in one.restore)
        assert [len(prefix) for prefix in one.restore] == sorted(map(len, one.restore), reverse=True)
        assert (one.restore[-1] == other.restore[-1]) == ("suite" not in change)


def test_jobs_and_the_place_of_the_tree_are_no_part_of_it(tmp_path: Path) -> None:
    assert keys(SMOKE)["ccache"] == keys(replace(SMOKE, jobs=64, directory=str(tmp_path)))["ccache"]


def test_a_configuration_counts_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    found = set()
    for folder, text in (("a", "CONFIG_A=y\n"), ("b", "CONFIG_A=y\n"), ("c", "CONFIG_B=y\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my.config").write_text(text)
        found.add(keys(replace(SMOKE, config=str(tmp_path / folder / "my.config")))["ccache"].key)
    assert len(found) == 2


def test_of_a_url_the_download_is_kept_by_its_digest() -> None:
    kept = keys(replace(SMOKE, directory="https://a/b", sha256=DIGEST))["source"]
    assert kept.key == f"kbtf-ci-source-{DIGEST.lower()}"
    assert kept.path == cache_root() / "source" / f"download-{DIGEST.lower()}"


@pytest.mark.parametrize("options", [SMOKE, replace(SMOKE, directory="/linux")])
def test_what_is_not_worth_keeping_says_why(options: BuildOptions) -> None:
    source = keys(options)["source"]
    assert (source.key, source.path, source.restore) == (None, None, ())
    assert source.reason
    assert keys(replace(options, btf_cache=False))["btf"].reason


@pytest.mark.parametrize("change", [{"config": "no/such"}, {"suite": "potato"}, {"directory": "http://a"}])
def test_what_no_build_would_take_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        cache_keys(replace(SMOKE, **change))  # type: ignore[arg-type]


def test_a_configuration_may_have_any_name(tmp_path: Path) -> None:
    config = tmp_path / "a,b\n$(touch x) \udcff::è.config"
    config.touch()
    found = keys(replace(SMOKE, config=str(config)))
    assert all(one.key is None or re.fullmatch(r"[A-Za-z0-9._-]+", one.key) for one in found.values())
    assert len(safe_word("x" * 1000)) == 40
