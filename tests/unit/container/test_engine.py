# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kbtf_ci.container import owner
from kbtf_ci.container.engine import Engine, NoEngineError
from kbtf_ci.container.image import Toolchain
from kbtf_ci.container.places import places
from kbtf_ci.errors import EngineError
from tests.support.waiting import wait_until


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any configuration: no variable, no docker context, an empty cache."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_tries_docker_then_podman_then_our_own(nowhere: Path) -> None:
    found = list(dict.fromkeys(places()))
    assert found == [
        "unix:///var/run/docker.sock",
        f"unix://{nowhere}/runtime/podman/podman.sock",
        "unix:///run/podman/podman.sock",
        f"unix://{nowhere}/cache/engine/docker.sock",
    ]


def test_a_named_engine_is_the_only_one_tried(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///named.sock")
    assert list(places()) == ["unix:///named.sock"]


def test_a_relative_cache_gives_an_absolute_socket(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(nowhere)
    monkeypatch.setenv("KBTF_CI_CACHE", "here")
    assert list(places())[-1] == f"unix://{nowhere}/here/engine/docker.sock"


def test_a_named_engine_that_is_not_there_is_named(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{nowhere}/none.sock")
    with pytest.raises(NoEngineError, match="none") as raised:
        Engine.connect()
    assert "kbtf-ci setup" in raised.value.hint


def test_a_socket_that_a_dead_engine_left_is_no_engine(nowhere: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(nowhere / "left.sock"))
    with pytest.raises(NoEngineError, match="left"):
        Engine.at(f"unix://{nowhere}/left.sock")


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:2375", "ssh://host", "nonsense"])
def test_an_engine_on_another_machine_is_refused(url: str) -> None:
    with pytest.raises(EngineError, match="not on this machine"):
        Engine.at(url)


def test_the_current_docker_context_comes_first(nowhere: Path) -> None:
    name = "mine"
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = nowhere / "docker" / "contexts" / "meta" / digest / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoints = {"docker": {"Host": "unix:///of/the/context.sock", "SkipTLSVerify": False}}
    meta.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))
    (nowhere / "docker" / "config.json").write_text(json.dumps({"currentContext": name}))
    assert next(places()) == "unix:///of/the/context.sock"


def test_a_container_of_this_process_is_no_orphan() -> None:
    assert not owner.orphaned(owner.labels("run", "label"))


def test_a_container_of_a_dead_process_is_an_orphan() -> None:
    script = "import os; from kbtf_ci.container import owner; print(owner.identity(os.getpid()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert owner.orphaned({owner.PID: done.stdout.strip()})


def test_a_container_of_a_process_that_ended_and_was_not_asked_how_is_left_behind() -> None:
    waiting = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE) as child:
        label = owner.identity(child.pid)
        assert not owner.orphaned({owner.PID: label})
        child.kill()
        wait_until(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        assert owner.orphaned({owner.PID: label})


def test_a_container_of_an_earlier_process_with_this_number_is_an_orphan() -> None:
    namespace, pid, started = owner.identity(os.getpid()).split("/")
    assert owner.orphaned({owner.PID: f"{namespace}/{pid}/{int(started) - 1}"})


@pytest.mark.parametrize("label", ["", "1", "other/1/1", "1/2/3"])
def test_a_container_of_another_pid_namespace_is_left_alone(label: str) -> None:
    assert not owner.orphaned({owner.PID: label})


@pytest.mark.engine
def test_what_a_killed_run_left_is_removed(engine: Engine, toolchain: Toolchain, tmp_path: Path) -> None:
    script = (
        "import sys; from kbtf_ci.container.engine import Engine; from kbtf_ci.infra.runner import Command\n"
        "runner = Engine.at(sys.argv[1]).runner(sys.argv[2])\n"
        "with runner.start(Command(('sleep', '600'), label=sys.argv[3])):\n"
        "    print('up', flush=True); sys.stdin.read()"
    )
    label = tmp_path.name
    arguments = [sys.executable, "-c", script, engine.address.url, toolchain.image, label]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"up\n"
        engine.reap()
        assert count(engine, label) == 1
        killed.kill()
    assert count(engine, label) == 1
    engine.reap()
    assert count(engine, label) == 0


def count(engine: Engine, label: str) -> int:
    client = engine.address.open()
    found = client.containers(all=True, filters={"label": f"{owner.LABEL}={label}"})
    client.close()
    return len(found)
