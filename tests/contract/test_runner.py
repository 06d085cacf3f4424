# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What every Runner does, asked of the engine's and of the one on the host alike."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from kbtf_ci.container import owner
from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.errors import EngineError
from kbtf_ci.host.runner import HostRunner
from kbtf_ci.infra.runner import SCRATCH, Command, Mount, Runner, endpoint, run
from tests.support.proxy import EngineProxy
from tests.support.waiting import PATIENCE_S, wait_until


@pytest.fixture(params=["host", pytest.param("engine", marks=pytest.mark.engine)])
def runner(request: pytest.FixtureRequest) -> Runner:
    return HostRunner() if request.param == "host" else request.getfixturevalue("engine_runner")


@pytest.fixture
def engine_runner(engine: Engine, toolchain: Toolchain) -> Runner:
    return engine.runner(toolchain.image)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder to mount, away from /tmp, which is the container's own."""
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


def sh(script: str, *words: str, **options: Any) -> Command:
    """Return a shell's command; ``words``, which may be targets, are its $1 and so on."""
    return Command(("sh", "-c", script, "sh", *words), **options)


class TestEveryRunner:
    def test_keeps_output_and_errors_in_the_order_they_were_written(self, runner: Runner) -> None:
        done = run(runner, sh("for i in $(seq 200); do echo out $i; echo err $i >&2; done"))
        assert done.text.splitlines() == [f"{kind} {i}" for i in range(1, 201) for kind in ("out", "err")]

    def test_loses_no_byte_of_much_output(self, runner: Runner) -> None:
        done = run(runner, sh("head -c 5000000 /dev/zero | tr '\\0' x; printf end"))
        assert len(done.output) == 5_000_003
        assert done.output.endswith(b"xend")

    def test_passes_bytes_that_are_no_text(self, runner: Runner) -> None:
        assert run(runner, sh("printf '\\377\\000\\r\\n'")).output == b"\xff\x00\r\n"

    def test_hands_on_each_piece_as_it_comes(self, runner: Runner) -> None:
        with runner.start(sh("echo first; sleep 900")) as process:
            assert process.read(timeout=PATIENCE_S) == b"first\n"

    @pytest.mark.parametrize("status", [0, 1, 42, 255])
    def test_returns_the_exit_status(self, runner: Runner, status: int) -> None:
        assert run(runner, sh(f"exit {status}")).status == status

    def test_returns_the_status_of_a_command_that_is_never_read(self, runner: Runner) -> None:
        with runner.start(sh("exit 7")) as process:
            assert process.wait(timeout=PATIENCE_S) == 7

    def test_returns_128_and_the_signal_that_ended_the_command(self, runner: Runner) -> None:
        assert run(runner, sh("kill -SEGV $$")).status == 128 + 11

    def test_gives_the_command_nothing_to_read(self, runner: Runner) -> None:
        assert run(runner, Command(("cat",))).output == b""

    def test_read_gives_up_after_its_timeout(self, runner: Runner) -> None:
        with runner.start(sh("sleep 900")) as process, pytest.raises(TimeoutError):
            process.read(timeout=0.2)

    def test_wait_gives_up_after_its_timeout(self, runner: Runner) -> None:
        with runner.start(sh("sleep 900")) as process, pytest.raises(TimeoutError):
            process.wait(timeout=0.2)

    def test_the_end_of_the_output_stays_the_end(self, runner: Runner) -> None:
        with runner.start(sh("true")) as process:
            assert [process.read(timeout=PATIENCE_S), process.read(timeout=PATIENCE_S)] == [b"", b""]

    def test_kill_ends_the_command_at_once(self, runner: Runner) -> None:
        with runner.start(sh("sleep 900")) as process:
            process.kill()
            assert process.wait(timeout=PATIENCE_S) == 128 + 9
            assert process.read(timeout=PATIENCE_S) == b""

    def test_kill_is_harmless_after_the_end(self, runner: Runner) -> None:
        with runner.start(sh("exit 5")) as process:
            process.wait(timeout=PATIENCE_S)
            process.kill()
            assert process.wait() == 5

    def test_passes_environment_and_workdir(self, runner: Runner, shared: Path) -> None:
        command = sh(
            'echo "$WHAT" > where-i-am',
            env={"WHAT": "ever"},
            mounts=(Mount(shared, "/shared", writable=True),),
            workdir="/shared",
        )
        assert run(runner, command).status == 0
        assert (shared / "where-i-am").read_text() == "ever\n"

    def test_passes_arguments_untouched(self, runner: Runner) -> None:
        odd = ("a b", "$HOME", "'\"", "", "-n", "*")
        assert run(runner, Command(("printf", "[%s]", *odd))).text == "".join(f"[{word}]" for word in odd)

    def test_shows_a_folder_of_the_host(self, runner: Runner, shared: Path) -> None:
        (shared / "file").write_text("content")
        command = Command(("cat", "/shared/file"), mounts=(Mount(shared, "/shared"),))
        assert run(runner, command).text == "content"

    def test_leaves_files_that_belong_to_the_invoking_user(self, runner: Runner, shared: Path) -> None:
        command = Command(("touch", "/shared/made"), mounts=(Mount(shared, "/shared", writable=True),))
        assert run(runner, command).status == 0
        made = (shared / "made").stat()
        assert (made.st_uid, made.st_gid) == (os.getuid(), os.getgid())

    def test_gives_a_home_that_can_be_written(self, runner: Runner) -> None:
        assert run(runner, sh('file=$(mktemp "$HOME/XXXXXX") && rm "$file"')).status == 0

    def test_leads_a_port_of_the_host_to_the_command(self, runner: Runner) -> None:
        address, wanted = endpoint(runner, 2222)
        command = Command(("python3", "-c", GREETER, address or "0.0.0.0", str(wanted)), ports=(wanted,))
        with runner.start(command) as process:
            assert process.read(timeout=PATIENCE_S) == b"listening\n"
            with socket.create_connection(
                ("127.0.0.1", process.port(wanted)), timeout=PATIENCE_S
            ) as connection:
                assert connection.recv(100) == b"hello"

    def test_leaving_the_context_kills_the_command(self, runner: Runner, shared: Path) -> None:
        command = sh(
            'while :; do date +%s%N > "$1"; sleep 0.05; done',
            "/shared/beat",
            mounts=(Mount(shared, "/shared", writable=True),),
        )
        with runner.start(command):
            wait_until((shared / "beat").exists)
        before = (shared / "beat").read_text()
        time.sleep(0.3)
        assert (shared / "beat").read_text() == before

    def test_an_exception_in_the_context_kills_the_command_too(self, runner: Runner, shared: Path) -> None:
        command = sh(
            'while :; do date +%s%N > "$1"; sleep 0.05; done',
            "/shared/beat",
            mounts=(Mount(shared, "/shared", writable=True),),
        )
        with suppress(KeyboardInterrupt), runner.start(command):
            wait_until((shared / "beat").exists)
            raise KeyboardInterrupt
        before = (shared / "beat").read_text()
        time.sleep(0.3)
        assert (shared / "beat").read_text() == before

    def test_refuses_a_command_that_is_not_there(self, runner: Runner) -> None:
        with pytest.raises(EngineError, match="no-such-command"), runner.start(Command(("no-such-command",))):
            pass

    def test_refuses_a_file_that_is_no_program(self, runner: Runner) -> None:
        with pytest.raises(EngineError, match="/etc/passwd"), runner.start(Command(("/etc/passwd",))):
            pass

    def test_refuses_a_mount_that_is_not_there_and_does_not_make_it(
        self, runner: Runner, tmp_path: Path
    ) -> None:
        command = Command(("true",), mounts=(Mount(tmp_path / "nowhere", "/shared"),))
        with pytest.raises(EngineError, match="nowhere"), runner.start(command):
            pass
        assert not (tmp_path / "nowhere").exists()

    def test_runs_commands_at_the_same_time(self, runner: Runner, shared: Path) -> None:
        mounts = (Mount(shared, "/shared", writable=True),)
        waits = sh('while [ ! -e "$1" ]; do sleep 0.05; done', "/shared/go", mounts=mounts)
        with runner.start(waits) as waiting:
            assert run(runner, Command(("touch", "/shared/go"), mounts=mounts)).status == 0
            assert waiting.wait(timeout=PATIENCE_S) == 0


class TestTheHostAlone:
    """What a container has of itself: nothing of a command stays, whoever ends first."""

    # In a session of its own, with its own parent gone: no group and no parent leads to it.
    DETACHED = 'setsid sh -c \'echo $$ > "$1"; exec sleep 900\' sh "$1" & wait'

    @staticmethod
    def pid_in(file: Path) -> int:
        wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
        return int(file.read_text())

    @staticmethod
    def gone(pid: int) -> bool:
        return not Path(f"/proc/{pid}").exists()

    def test_leaving_the_context_leaves_no_process_and_no_file(self, shared: Path) -> None:
        mounts = (Mount(shared, "/shared", writable=True),)
        command = sh(f'echo "$HOME" > "$2"; {self.DETACHED}', "/shared/pid", "/shared/home", mounts=mounts)
        with HostRunner().start(command):
            pid = self.pid_in(shared / "pid")
            home = Path((shared / "home").read_text().strip())
            assert (home.is_dir(), self.gone(pid)) == (True, False)
        assert (home.exists(), self.gone(pid)) == (False, True)

    def test_the_end_of_a_command_is_that_of_all_it_started(self, shared: Path) -> None:
        mounts = (Mount(shared, "/shared", writable=True),)
        script = self.DETACHED.replace("wait", 'while [ ! -s "$1" ]; do sleep 0.01; done; echo done')
        assert run(HostRunner(), sh(script, "/shared/pid", mounts=mounts)).output == b"done\n"
        assert self.gone(self.pid_in(shared / "pid"))

    def test_nothing_outlives_a_kbtf_ci_that_is_killed(self, shared: Path) -> None:
        arguments = [sys.executable, "-c", KILLED, str(shared), self.DETACHED]
        with subprocess.Popen(arguments) as process:
            pid = self.pid_in(shared / "pid")
            process.kill()
        wait_until(lambda: self.gone(pid))

    def test_nothing_of_the_callers_environment_is_passed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KCFLAGS", "-O0")
        words = run(HostRunner(), Command(("env",))).text.split("\n")
        assert not [word for word in words if word.startswith("KCFLAGS")]

    def test_a_scratch_folder_is_each_commands_own(self) -> None:
        command = sh('mkdir "$1" && echo "$1"', SCRATCH)
        first, second = (run(HostRunner(), command) for _ in range(2))
        assert (first.status, second.status) == (0, 0)
        assert first.text != second.text
        assert not Path(first.text.strip()).exists()

    def test_a_file_in_the_place_of_another_is_refused(self, shared: Path) -> None:
        mounts = (Mount(shared, "/src"), Mount(Path("/etc/passwd"), "/src/kernel/softirq.c"))
        with (
            pytest.raises(EngineError, match=r"/src/kernel/softirq\.c, which only a container can give"),
            HostRunner().start(Command(("true",), mounts)),
        ):
            pass


@pytest.mark.engine
class TestTheEngineAlone:
    """What a process of the host cannot promise."""

    def test_a_mount_is_read_only_unless_it_is_writable(self, engine_runner: Runner, shared: Path) -> None:
        command = Command(("touch", "/shared/made"), mounts=(Mount(shared, "/shared"),))
        done = run(engine_runner, command)
        assert done.status != 0
        assert "Read-only file system" in done.text

    def test_a_command_without_ports_has_no_network(self, engine_runner: Runner) -> None:
        assert run(engine_runner, sh("ls /sys/class/net")).text.split() == ["lo"]

    def test_a_command_has_no_powers(self, engine_runner: Runner) -> None:
        status = run(engine_runner, sh("grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs)' /proc/self/status"))
        assert [line.split()[1] for line in status.text.splitlines()] == ["0" * 16] * 3 + ["1"]

    def test_ports_are_open_to_this_machine_only(self, engine_runner: Runner, engine: Engine) -> None:
        command = Command(("sleep", "900"), ports=(2222,), label="only-here")
        with engine_runner.start(command) as process, closing(engine.address.open()) as client:
            (found,) = client.containers(filters={"label": f"{owner.LABEL}=only-here"})
            (port,) = [port for port in found["Ports"] if "PublicPort" in port]
            assert (port["IP"], port["PublicPort"]) == ("127.0.0.1", process.port(2222))

    def test_a_port_that_was_not_asked_for_is_an_error(self, engine_runner: Runner) -> None:
        with engine_runner.start(sh("sleep 900")) as process, pytest.raises(EngineError, match="2222"):
            process.port(2222)

    def test_a_device_is_there_and_open_to_the_user(self, engine_runner: Runner) -> None:
        command = Command(("dd", "if=/dev/fuse", "count=0"), devices=("/dev/fuse",))
        assert run(engine_runner, command).status == 0

    def test_a_device_that_is_not_there_is_an_error(self, engine_runner: Runner) -> None:
        with (
            pytest.raises(EngineError, match="/dev/no-such"),
            engine_runner.start(Command(("true",), devices=("/dev/no-such",))),
        ):
            pass

    def test_nothing_is_left_behind(self, engine_runner: Runner, engine: Engine) -> None:
        label = uuid.uuid4().hex
        with engine_runner.start(Command(("sleep", "900"), label=label)):
            assert len(containers(engine, label)) == 1
        assert containers(engine, label) == []

    @pytest.mark.parametrize("delay", [0.0, 0.015, 0.03, 0.06, 0.3])
    def test_nothing_is_left_behind_by_an_impatient_user(
        self, engine: Engine, toolchain: Toolchain, delay: float
    ) -> None:
        label = uuid.uuid4().hex
        arguments = [sys.executable, "-c", SLEEPER, engine.address.url, toolchain.image, label]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            time.sleep(0.03)
            process.send_signal(signal.SIGINT)
        assert containers(engine, label) == []

    def test_nothing_is_left_behind_by_a_command_that_did_not_start(
        self, engine_runner: Runner, engine: Engine
    ) -> None:
        label = uuid.uuid4().hex
        with pytest.raises(EngineError), engine_runner.start(Command(("no-such-command",), label=label)):
            pass
        assert containers(engine, label) == []

    def test_an_image_that_is_not_there_is_an_error(self, engine: Engine) -> None:
        runner = engine.runner("kbtf-ci/no-such-image:1")
        with pytest.raises(EngineError, match="no-such-image"), runner.start(Command(("true",))):
            pass


@pytest.mark.engine
# The SDK leaves a socket open whose connect() was refused (docker/transport/unixconn.py).
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
class TestALostEngine:
    def test_a_lost_engine_is_an_error_for_read_at_once(self, proxied: tuple[EngineProxy, Runner]) -> None:
        proxy, runner = proxied
        with runner.start(sh("echo up; sleep 900")) as process:
            assert process.read(timeout=PATIENCE_S) == b"up\n"
            threading.Timer(0.2, proxy.cut).start()
            with pytest.raises(EngineError, match="lost"):
                process.read(timeout=PATIENCE_S)
            with pytest.raises(EngineError, match="lost"):
                process.wait(timeout=PATIENCE_S)

    def test_an_engine_lost_between_output_and_status_is_no_success(
        self, proxied: tuple[EngineProxy, Runner], shared: Path
    ) -> None:
        proxy, runner = proxied
        mounts = (Mount(shared, "/shared"),)
        waits = sh('while [ ! -e "$1" ]; do sleep 0.05; done', "/shared/go", mounts=mounts)
        with runner.start(waits) as process:
            proxy.refuse_new()
            (shared / "go").touch()
            with pytest.raises(EngineError, match="lost"):
                process.wait(timeout=PATIENCE_S)


@pytest.fixture
def proxied(engine: Engine, toolchain: Toolchain, tmp_path: Path) -> Iterator[tuple[EngineProxy, Runner]]:
    """A runner whose connection to the engine can be cut; what it then leaves behind is removed."""
    with EngineProxy(engine.address.url, tmp_path / "engine.sock") as proxy:
        yield proxy, Engine.at(proxy.url).runner(toolchain.image)
    with closing(engine.address.open()) as client:
        for found in client.containers(all=True, filters={"label": owner.PID}):
            if found["Labels"][owner.PID] == owner.identity(os.getpid()):
                client.remove_container(found["Id"], force=True)
    gc.collect()  # here, where the sockets that the SDK leaves open are expected


GREETER = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(b"hello")
    connection.close()
"""


KILLED = """
import sys
from pathlib import Path
from kbtf_ci.host.runner import HostRunner
from kbtf_ci.infra.runner import Command, Mount
mounts = (Mount(Path(sys.argv[1]), "/shared", writable=True),)
with HostRunner().start(Command(("sh", "-c", sys.argv[2], "sh", "/shared/pid"), mounts)) as process:
    process.wait()
"""


# A shell's background job, as a CI may be, hands an ignored SIGINT down to all that it starts.
SLEEPER = """
import signal, sys
from kbtf_ci.container.engine import Engine
from kbtf_ci.infra.runner import Command
signal.signal(signal.SIGINT, signal.default_int_handler)
runner = Engine.at(sys.argv[1]).runner(sys.argv[2])
print("up", flush=True)
with runner.start(Command(("sleep", "900"), label=sys.argv[3])) as process:
    process.wait()
"""


def containers(engine: Engine, label: str) -> list[str]:
    with closing(engine.address.open()) as client:
        found = client.containers(all=True, filters={"label": f"{owner.LABEL}={label}"})
        return [container["Id"] for container in found]
