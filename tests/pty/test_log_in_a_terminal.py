"""What a log may hold, and what a stalled terminal may do, to the app in a real pseudo-terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nasty_logs import PIECES
from support.painted import Painted
from support.terminal import Terminal
from support.written_runs import WrittenRun

ARRIVED = "the last line of all"


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    run = WrittenRun(tmp_path / "home", ranks=1)
    run.step(1, 1.0)
    return run


@pytest.fixture
def terminal(run: WrittenRun) -> Iterator[Terminal]:
    code = f"from pathlib import Path; from qltui.ui.app import watch; watch(Path({str(run.run.path)!r}))"
    terminal = Terminal([sys.executable, "-c", code], {**os.environ, "COLORTERM": "truecolor"})
    yield terminal
    terminal.close()


def test_nothing_of_a_log_reaches_the_terminal_but_text(run: WrittenRun, terminal: Terminal) -> None:
    terminal.read_until("Log")
    with open(run.attempt.log(0), "ab") as log:
        for piece in PIECES:
            log.write(b"here: " + piece + b"\n")
        log.write(b"x" * 1_000_000 + b"\x1b]52;c;aGVsbG8=\x07\n" + ARRIVED.encode() + b"\n")
    terminal.read_until(ARRIVED)
    sent = terminal.output.decode("utf-8", "replace")
    for forbidden in (
        "\x1b]52",
        "\x1b]8;",
        "\x1b]0;",
        "\x1bP",
        "\x00",
        "\x08",
        "\x0e",
        "\x9b",
        "\x9d",
        "\u202e",
        "\u0301" * 5,
    ):
        assert forbidden not in sent
    screen = Painted(120, 36)
    screen.feed(terminal.output)
    assert f"r0  {ARRIVED}" in screen.text
    terminal.send("q")
    terminal.read_for(1)
    assert b"Traceback (most recent call last):\r\n" not in terminal.output


def test_a_terminal_that_does_not_read_finds_the_newest_line_later(run: WrittenRun, terminal: Terminal) -> None:
    terminal.read_until("Log")
    for second in range(4):  # nobody reads; the app's own writes fill the line's buffer
        run.log("".join(f"flood {second} {number} {'#' * (number % 90)}\n" for number in range(10_000)))
        terminal.resize(120, 36 - second % 2)
        time.sleep(1)
    run.log(f"{ARRIVED}\n")
    terminal.read_until(ARRIVED)
    assert terminal.alive()
