# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What every GuestShell does: asked here of the one that reaches a fake guest, in tests/e2e of a real one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kbtf_ci.errors import GuestError, InfrastructureError
from kbtf_ci.guest.guest import Guest, GuestSpec, booted
from kbtf_ci.guest.keys import GuestKeys
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.ssh import CommandError, GuestShell, SilenceError, connected
from kbtf_ci.guest.timeouts import Deadline
from tests.support.guest import FakeGuests, make_files
from tests.support.waiting import PATIENCE_S


class ShellContract:
    """Needs the fixtures ``guest``, a Guest, and ``end_vm``, which ends its VM from outside."""

    @pytest.fixture
    def shell(self, guest: Guest) -> GuestShell:
        return guest.shell

    def test_a_command_gives_its_lines_and_takes_its_words_as_they_are(self, shell: GuestShell) -> None:
        assert list(shell.run(["printf", "%s\\n", "one two", "it's $HOME"])) == ["one two", "it's $HOME"]

    def test_both_outputs_and_a_last_line_without_an_end_arrive(self, shell: GuestShell) -> None:
        assert sorted(shell.run(["sh", "-c", "echo out; sleep 0.2; printf err >&2"])) == ["err", "out"]

    def test_lines_of_megabytes_go_in_and_come_back_at_the_same_time(self, shell: GuestShell) -> None:
        lines = [f"{number} {'x' * 1000}" for number in range(3000)]
        assert list(shell.run(["cat"], lines)) == lines

    def test_a_status_is_an_error_with_that_status_behind_all_output(self, shell: GuestShell) -> None:
        seen: list[str] = []
        with pytest.raises(CommandError, match="ended with status 3") as caught:
            seen.extend(shell.run(["sh", "-c", "echo before; exit 3"]))
        assert (seen, caught.value.status) == (["before"], 3)

    def test_a_killed_command_is_told_from_a_lost_connection(self, shell: GuestShell) -> None:
        with pytest.raises(CommandError) as caught:
            list(shell.run(["sh", "-c", "kill -9 $$"]))
        assert caught.value.status in (137, None)  # by whether a shell in between has seen it

    def test_what_a_killed_command_left_of_a_line_is_none(self, shell: GuestShell) -> None:
        seen: list[str] = []
        with pytest.raises(CommandError):
            # exec: a shell in between would end the line with words of its own.
            seen.extend(shell.run(["exec", "sh", "-c", "echo whole; printf half; kill -9 $$"]))
        assert seen == ["whole"]

    def test_silence_ends_the_wait_and_the_shell_still_answers(self, shell: GuestShell) -> None:
        start = time.monotonic()
        with pytest.raises(SilenceError):
            list(shell.run(["sh", "-c", "echo x; sleep 900"], silence=0.5))
        assert time.monotonic() - start < PATIENCE_S
        assert shell.ping(PATIENCE_S)

    def test_output_now_and_then_is_no_silence(self, shell: GuestShell) -> None:
        command = ["sh", "-c", "for i in 1 2 3 4; do echo $i; sleep 0.4; done"]
        assert list(shell.run(command, silence=PATIENCE_S)) == ["1", "2", "3", "4"]

    def test_the_end_of_the_vm_ends_a_silent_command_at_once(
        self, shell: GuestShell, end_vm: Callable[[], object]
    ) -> None:
        lines = shell.run(["sh", "-c", "echo up; sleep 900"])
        assert next(lines) == "up"
        end_vm()
        start = time.monotonic()
        with pytest.raises((GuestError, InfrastructureError)) as caught:
            next(lines)
        assert time.monotonic() - start < PATIENCE_S
        assert "QEMU ended by itself" in caught.value.message or "reset itself" in caught.value.message

    def test_a_guest_with_another_host_key_is_not_talked_to(
        self, guest: Guest, port: int, keys: GuestKeys
    ) -> None:
        other = GuestKeys.generate()
        stranger = GuestKeys(keys.client, keys.client_public, other.host, other.host_public)
        with (
            pytest.raises(InfrastructureError, match="another host key"),
            connected(port, stranger, Deadline(PATIENCE_S), guest.vm.check),
        ):
            pytest.fail("it logged in")

    def test_another_client_key_is_not_let_in(self, guest: Guest, port: int, keys: GuestKeys) -> None:
        other = GuestKeys.generate()
        stranger = GuestKeys(other.client, other.client_public, keys.host, keys.host_public)
        with (
            pytest.raises(InfrastructureError, match="does not let us in: Authentication failed"),
            connected(port, stranger, Deadline(PATIENCE_S), guest.vm.check),
        ):
            pytest.fail("it logged in")

    @pytest.fixture
    def port(self, guest: Guest) -> int:
        return guest.vm.port(2222)


class TestFakeGuest(ShellContract):
    @pytest.fixture
    def keys(self) -> GuestKeys:
        return GuestKeys.generate()

    @pytest.fixture
    def guests(self, keys: GuestKeys) -> FakeGuests:
        return FakeGuests(keys)

    @pytest.fixture
    def guest(self, guests: FakeGuests, keys: GuestKeys, tmp_path: Path) -> Iterator[Guest]:
        spec = GuestSpec(*make_files(tmp_path, keys))
        with booted(guests, spec, Accel.TCG, tmp_path / "console.log", lambda text: None) as guest:
            yield guest

    @pytest.fixture
    def end_vm(self, guests: FakeGuests) -> Callable[[], None]:
        return lambda: guests.living[0].end(137)
