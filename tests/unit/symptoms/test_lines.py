# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Any carrier of a log is taken off, boots are told apart, wrapped messages are one again."""

from __future__ import annotations

import io
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from kbtf_ci.model.symptom import Line
from kbtf_ci.symptoms.evidence import gather, spans
from kbtf_ci.symptoms.lines import NotTextError, joined, log_lines

REFUSED = "failed to validate module [xfs] BTF: -22"


def read(text: str | bytes) -> list[Line]:
    data = text.encode() if isinstance(text, str) else text
    return list(joined(log_lines(io.BytesIO(data), "log"), spans))


def texts(text: str) -> list[str]:
    return [line.text for line in read(text)]


@pytest.mark.parametrize(
    "carrier",
    [
        "{}",
        "[   12.345678] {}",
        "<4>[   12.345678] {}",
        "<4>{}",
        "[   12.345678][    T1] {}",
        "[   12.345678] [  C3] {}",
        "kernel: [   12.345678] {}",
        "Jan  3 04:05:06 host kernel: {}",
        "Jan 03 04:05:06 my-host.lan kernel: [   12.345678] {}",
        "2026-01-03T04:05:06.123456+01:00 host kernel: {}",
        "2026-01-03T04:05:06.1234567Z [   12.345678] {}",
        "Thu Jan  3 04:05:06 2026 kern.warn kernel: [   12.345678] {}",
        "[Sat Jan  3 04:05:06 2026] {}",
        "[sam. janv. 3 04:05:06 2026] {}",
        "kern  :warn  : [   12.345678] {}",
        "kern  :warn  : [  +0,000002] {}",
        "[  +0.003050] {}",
        "[Jan 3 04:05] {}",
        "> {}",
        "> > | [   12.345678] {}",
        "    {}",
        "`{}`",
        "- `{}`",
        "<pre>[   12.345678] {}</pre>",
        "<p><code>{}</code></p>",
        "\x1b[31m[   12.345678] \x1b[0m{}\x1b[K",
        "^[[1;31m{}^[[0m",
        "{}\r",
        "{}\0\0",
    ],
)
def test_what_carries_a_line_is_taken_off(carrier: str) -> None:
    (line,) = read(carrier.format(REFUSED) + "\n")
    assert line.text == REFUSED


def test_what_is_not_html_stays() -> None:
    assert texts("BPF: [1] STRUCT Vec<u8> size\n") == ["BPF: [1] STRUCT Vec<u8> size"]
    assert texts("lib.c:<module> and <anon>\n") == ["lib.c:<module> and <anon>"]


def test_entities_and_breaks_of_html_are_read() -> None:
    text = "<div>[1.000001] BPF: a&lt;b&gt; &amp; c<br>[1.000002] BPF:&nbsp;next<br/>&#39;x&#39;</div>"
    assert texts(text) == ["BPF: a<b> & c", "BPF: next", "'x'"]


def test_quotes_of_editors_are_plain_ones() -> None:
    assert texts("could not insert \u2018xfs\u2019\uff1a no\n") == ["could not insert 'xfs': no"]


def test_fences_of_markdown_are_no_lines_and_numbers_are_the_files() -> None:
    lines = read("before\n\n```console\n[1.5] one\n```\n~~~\n")
    assert [(line.number, line.text) for line in lines] == [(1, "before"), (4, "[1.5] one")]
    assert read("```\n[    1.500000] one\n```\n")[0].place == "log:2"


def test_time_is_since_boot_and_a_difference_is_none() -> None:
    assert [line.time for line in read("[   12.345678] a\n[  +0.000007] b\nc\n[3,250000] d\n")] == [
        12.345678,
        None,
        None,
        3.25,
    ]


@pytest.mark.parametrize(
    "wrapped",
    [
        "failed to validate module [xfs]\nBTF: -22\n",
        "failed to validate\nmodule [xfs] BTF: -22\n",
        "> > failed to validate module\n> > [xfs] BTF: -22\n",
        "[    1.250000] failed to validate module [xfs]\n    BTF: -22\n",
        "failed to validate\nmodule [xfs] BTF:\n-22\n",
    ],
)
def test_a_wrapped_message_is_one_again(wrapped: str) -> None:
    (line,) = read(wrapped)
    assert line.text == REFUSED
    assert line.number == 1


def test_what_is_no_message_is_not_joined() -> None:
    assert len(read("my xfs failed to mount\nand I rebooted\n")) == 2
    assert len(read(f"{REFUSED}\n{REFUSED}\n")) == 2
    whole = "FAILED: load BTF from vmlinux: No such file or directory\n+ cleanup\n"
    assert len(read(whole)) == 2
    title = read("# failed to validate module\n\n[somebody] wrote\n")
    assert len(title) == 2
    stamped = read("[    1.000000] failed to validate module [xfs]\n[    1.000001] BTF: -22\n")
    assert len(stamped) == 2


def test_boots_are_told_apart() -> None:
    banner = "[    0.000000] Linux version 6.12.1 (x) #1 SMP\n"
    two = f"{banner}[    5.000000] a\n{banner}[    1.000000] b\n"
    assert [line.boot for line in read(two)] == [1, 1, 2, 2]
    assert [line.boot for line in read("[   90.000000] a\n[    3.000000] b\n[    4.000000] c\n")] == [1, 2, 2]
    journal = f"-- Boot {'0af1' * 8} --\nJan 01 kernel: x\n[    1.000000] a\n-- Reboot --\n[    2.000000] b\n"
    assert [line.boot for line in read(journal)][-3:] == [1, 2, 2]
    mark_and_banner = f"[    9.000000] a\n-- Boot {'0af1' * 8} --\n{banner}[    1.000000] b\n"
    assert [line.boot for line in read(mark_and_banner)] == [1, 2, 2, 2]


def test_a_kernels_first_lines_are_one_boots() -> None:
    text = "[    0.000000] Booting Linux on CPU 0\n[    0.000000] Linux version 6.6.93 (x) #0 SMP\n"
    assert {line.boot for line in read(text)} == {1}


def test_cpus_out_of_order_are_one_boot() -> None:
    assert {line.boot for line in read("[    5.000009] a\n[    4.900000] b\n[    5.100000] c\n")} == {1}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x7fELF\x02\x01\x01" + b"\0" * 99, "an ELF file"),
        (bytes(range(256)) * 4, "binary"),
        (b"a line\n" + bytes(range(256)) * 4, "binary"),
        ("x\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_what_is_no_text_is_said(data: bytes, said: str) -> None:
    with pytest.raises(NotTextError, match=said):
        read(data)


def test_a_long_line_is_read_in_parts() -> None:
    long = "word " * 900 + "failed to validate module [xfs] BTF: -22 " + "word " * 900
    lines = read(long)
    assert {line.number for line in lines} == {1}
    assert max(len(line.text) for line in lines) <= 2000
    assert gather(lines).refused[0].module == "xfs"
    assert "".join(line.text for line in read("x" * 5000)) == "x" * 5000


def test_a_line_made_to_be_slow_is_not() -> None:
    hostile = (
        "could not insert insmod modprobe func arg# type " * 20000 + "format error Invalid argument\n"
    ) * 2
    started = time.process_time()
    gather(joined(log_lines(io.BytesIO(hostile.encode()), "log"), spans))
    assert time.process_time() - started < 60


def test_bytes_that_are_not_utf_8_are_read() -> None:
    assert read(b"caf\xe9 [    1.000000] x\n")[0].text.startswith("caf")


class Endless(io.RawIOBase):
    """A log of this many bytes that is nowhere: a failure at its start and its end, noise between."""

    START = (
        b"[    0.000000] Linux version 6.12.1 (x) #1 SMP\n"
        b"[    1.000001] BPF: [103111] FUNC ask_fair \n[    1.000002] BPF: type_id=9\n[    1.000003] BPF:  \n"
        b"[    1.000004] BPF: Invalid name\n[    1.000005] BPF: \n"
        b"[    1.000006] failed to validate module [first] BTF: -22\n"
    )
    NOISE = (
        b"[    2.000000] usb 1-1: new high-speed USB device number 7 using xhci_hcd\n"
        b"[    2.000001] BPF: [103111] FUNC ask_fair \n[    2.000002] BPF: Invalid name\n"
        b"[    2.000003] failed to validate module [noise] BTF: -22\n" + b"x" * 8_000_000 + b"\n"
        b"  CC [M]  drivers/net/ethernet/intel/ice/ice_main.o\n"
    ) + b"[    2.000004] audit: type=1400 audit(1700000000.000:9): apparmor allowed\n" * 900
    END = b"[    9.000006] failed to validate module [last] BTF: -40\n"

    def __init__(self, size: int) -> None:
        self._parts = self._made(size)
        self._left = memoryview(b"")

    def _made(self, size: int) -> Iterator[bytes]:
        yield self.START
        for _ in range(size // len(self.NOISE)):
            yield self.NOISE
        yield self.END

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while not self._left:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._left = memoryview(part)
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def test_two_hundred_megabytes_pass_in_little_memory() -> None:
    stream = io.BufferedReader(Endless(200_000_000))
    tracemalloc.start()
    try:
        evidence = gather(joined(log_lines(stream, "log"), spans))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
    assert [one.module for one in evidence.refused] == ["first", "noise", "last"]
    assert evidence.refused[1].times == 200_000_000 // len(Endless.NOISE)
