# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The wrapper's installation with a recipe of the same form as the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.host import wrapper
from kbtf_ci.host.needs import WRAPPER_NEEDS, Found
from kbtf_ci.host.wrapper import LIBRARY, PROGRAM, install

MAKEFILE = """pahole:
\tprintf '#!/bin/sh\\n# %s %s %s\\n%s\\n' '$(LIBRARIES)' '$(SERVES)' '$(LIBCRYPTO)' \\
\t  '{does}' > $(O)/kbtf-ci-pahole
\tchmod +x $(O)/kbtf-ci-pahole
\techo library > $(O)/kbtf-ci-pahole-server.so
"""
SERVES = 'case "$*" in *--btf_base*) printf "off+served\\tm\\n" > "$KBTF_CI_ACCOUNTS" ;; esac'
ALONE = "echo kbtf-ci-pahole: no libbpf"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Makefile that is shipped, on a machine that has all that is needed."""
    folder = tmp_path / "containers"
    folder.mkdir()
    monkeypatch.setattr(wrapper, "shipped", lambda kind: tmp_path / kind)
    found = tuple(Found(need, "9.9") for need in WRAPPER_NEEDS)
    monkeypatch.setattr(wrapper, "examine", lambda path, needs: found)
    (folder / "Makefile").write_text(MAKEFILE.replace("{does}", SERVES.replace("$", "$$")))
    return folder / "Makefile"


def test_both_files_are_put_there_and_made_for_that_place(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a/bin"
    done = install(folder)
    assert (done.program, done.pahole, done.no_server) == (folder / PROGRAM, "9.9", "")
    assert sorted(path.name for path in folder.iterdir()) == [PROGRAM, LIBRARY]
    assert (folder / PROGRAM).read_text().splitlines()[1].startswith(f"# {folder} y -l")
    install(folder)
    assert sorted(path.name for path in folder.iterdir()) == [PROGRAM, LIBRARY]


def test_a_pahole_that_is_no_server_is_told(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(MAKEFILE.replace("{does}", ALONE))
    assert install(tmp_path / "bin").no_server == "kbtf-ci-pahole: no libbpf"


def test_nothing_is_there_where_it_cannot_be_made(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text("pahole: ; echo btfcache.c:1: error; exit 1\n")
    with pytest.raises(InfrastructureError, match="could not be made") as failed:
        install(tmp_path / "bin")
    assert "btfcache.c:1: error" in failed.value.detail
    assert not (tmp_path / "bin").exists()


def test_where_one_file_cannot_be_put_there_the_other_is_as_it_was(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    (folder / PROGRAM / "a folder").mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot be written"):
        install(folder)
    assert [path.name for path in folder.iterdir()] == [PROGRAM]
    (folder / LIBRARY).write_text("the one before")
    with pytest.raises(UsageError, match="cannot be written"):
        install(folder)
    assert (folder / LIBRARY).read_text() == "the one before"
    assert sorted(path.name for path in folder.iterdir()) == [PROGRAM, LIBRARY]


@pytest.mark.parametrize("name", ["a b", "a$b", "a'b", "a:b", "a\nb", "a#b"])
def test_a_name_that_make_would_read_otherwise_is_refused(recipe: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="alone are safe"):
        install(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_what_is_missing_is_named_with_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = tuple(Found(need, "" if need.name == "libelf" else "9.9") for need in WRAPPER_NEEDS)
    monkeypatch.setattr(wrapper, "examine", lambda path, needs: found)
    with pytest.raises(InfrastructureError) as missing:
        install(tmp_path / "bin")
    assert missing.value.message == "the wrapper cannot be made: libelf: not found"
    assert missing.value.hint == "apt-get install libelf-dev, or dnf install elfutils-libelf-devel"
    assert not (tmp_path / "bin").exists()
    assert all(need.fedora for need in WRAPPER_NEEDS)
    assert len(WRAPPER_NEEDS) == 5
