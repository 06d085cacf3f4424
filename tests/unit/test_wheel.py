# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What users get: wheel and sdist, and kbtf-ci run from the wheel, far from any checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import kbtf_ci
from kbtf_ci.infra.schemas import schema_titles
from tests.support.runs import good, refused, written

ROOT = Path(__file__).parents[2]
# Beside the Python files; whatever lies in these folders of the checkout lies in the wheel.
DATA = {
    "configs": "kbtf_ci/share/configs",
    "containers": "kbtf_ci/share/containers",
    "kbtf_ci/schemas": "kbtf_ci/schemas",
    "kbtf_ci/report/html/templates": "kbtf_ci/report/html/templates",
    "kbtf_ci/guest/bundle": "kbtf_ci/guest/bundle",
    "kbtf_ci/btf/cases/external": "kbtf_ci/btf/cases/external",
}


def built(source: Path, out: Path, *kinds: str) -> list[Path]:
    """Build wheel, sdist or both of a source tree, and return the files."""
    call = [sys.executable, "-m", "hatchling", "build", *kinds, "-d", str(out)]
    done = subprocess.run(call, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(out.iterdir())


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist of this tree."""
    wheel, sdist = built(ROOT, tmp_path_factory.mktemp("dist"))
    assert (wheel.name, sdist.name) == (
        f"kbtf_ci-{kbtf_ci.__version__}-py3-none-any.whl",
        f"kbtf_ci-{kbtf_ci.__version__}.tar.gz",
    )
    return wheel, sdist


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel, but for those that name its hashes and tools."""
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist() if not name.endswith(("RECORD", "WHEEL"))}


def test_the_wheel_has_whatever_it_reads(packages: tuple[Path, Path]) -> None:
    held = contents(packages[0])
    for folder, inside in DATA.items():
        files = [file for file in (ROOT / folder).rglob("*") if file.is_file() and file.suffix != ".pyc"]
        assert files
        for file in files:
            assert held[f"{inside}/{file.relative_to(ROOT / folder)}"] == file.read_bytes()
    assert "kbtf_ci/py.typed" in held
    points = held[f"kbtf_ci-{kbtf_ci.__version__}.dist-info/entry_points.txt"].decode()
    assert "kbtf-ci = kbtf_ci.commands.main:main" in points
    assert "kbtf-ci = kbtf_ci.pytest_plugin.entry" in points
    assert {name.partition("/")[0] for name in held} == {
        "kbtf_ci",
        f"kbtf_ci-{kbtf_ci.__version__}.dist-info",
    }


def test_the_sdist_gives_the_same_wheel(packages: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, sdist = packages
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (again,) = built(source, tmp_path / "dist", "-t", "wheel")
    assert contents(again) == contents(wheel)
    for name in (
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "constraints.txt",
        "docs/conf.py",
        "tests/conftest.py",
    ):
        assert (source / name).read_bytes() == (ROOT / name).read_bytes()


@pytest.fixture(scope="module")
def installed(packages: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; what it depends on is ours, so that no network is needed."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        "--prefix",
        str(folder),
    ]
    subprocess.run([*pip, "--ignore-installed", str(packages[0])], check=True)
    (site / "theirs.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def called(where: Path, tmp_path: Path, *arguments: str) -> str:
    """Run the installed kbtf-ci, with nothing of the checkout in its way, and return what it printed."""
    return output(where / "kbtf-ci", tmp_path, *arguments)


def output(program: Path, folder: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    call = [str(program), *arguments]
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_the_installed_one_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    file = output(installed / "python", tmp_path, "-c", "import kbtf_ci; print(kbtf_ci.__file__)")
    assert Path(file.strip()).is_relative_to(installed.parent)
    assert called(installed, tmp_path, "--version") == f"kbtf-ci, version {kbtf_ci.__version__}\n"


def test_it_prints_its_schemas(installed: Path, tmp_path: Path) -> None:
    listed = called(installed, tmp_path, "schema")
    assert all(name in listed for name in schema_titles())
    assert json.loads(called(installed, tmp_path, "schema", "results"))["$id"] == "urn:kbtf-ci:results:1"


def test_it_finds_its_profiles_and_its_cases(installed: Path, tmp_path: Path) -> None:
    assert "vmlinux-function-more" in called(installed, tmp_path, "repro", "list")
    call = "from kbtf_ci.infra.profiles import find_profile; print(*find_profile('smoke').fragments)"
    files = [Path(name) for name in output(installed / "python", tmp_path, "-c", call).split()]
    assert files
    assert all(file.is_file() and file.is_relative_to(installed.parent) for file in files)


def test_it_writes_the_reports_of_a_run(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "x"
    written(folder, good("ext2"), refused("xfs", "BPF: Invalid name"))
    (folder / "report.html").unlink(missing_ok=True)
    assert called(installed, tmp_path, "report", "runs/x") == "report: runs/x/report.html\n"
    assert "1 of 2 modules" in (folder / "report.html").read_text()
