"""The app in real terminals, odd ones included."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.painted import Painted
from support.terminal import Terminal
from support.written_runs import WrittenRun

Open = Callable[..., Terminal]


@pytest.fixture
def open_app(tmp_path: Path) -> Iterator[Open]:
    opened: list[Terminal] = []

    def start(code: str, **environment: str) -> Terminal:
        everything = {**os.environ, "COLORTERM": "truecolor", "QLTUI_HOME": str(tmp_path / "home"), **environment}
        opened.append(Terminal([sys.executable, "-c", code], everything))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@pytest.fixture
def busy_run(tmp_path: Path) -> WrittenRun:
    run = WrittenRun(tmp_path / "home")
    for number in range(1, 30):
        run.step(number, float("nan") if number == 9 else 2 - number / 30)
    run.log("a line of the log\n")
    run.emit("evaluation", loss=1.2, when="during")
    return run


def watch(run: WrittenRun) -> str:
    return f"from pathlib import Path; from qltui.ui.app import watch; watch(Path({str(run.run.path)!r}))"


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "screen"}, {"TERM": "linux"}, {"LANG": "C"}])
def test_the_monitor_stands_any_terminal(open_app: Open, busy_run: WrittenRun, environment: dict[str, str]) -> None:
    terminal = open_app(watch(busy_run), **environment)
    terminal.read_until("a line of the log")
    terminal.send("l4412")
    terminal.send("q\r")
    terminal.read_until("Leave it running")
    terminal.send("q")
    assert os.waitstatus_to_exitcode(terminal.wait()) == 0
    assert b"Traceback" not in terminal.output
    assert b"demo goes on" in terminal.output


def test_no_colour_is_sent_where_none_is_wanted(open_app: Open, busy_run: WrittenRun) -> None:
    import re

    terminal = open_app(watch(busy_run), NO_COLOR="1")
    terminal.read_until("a line of the log")
    colours = {match.groups() for match in re.finditer(rb"[34]8;2;(\d+);(\d+);(\d+)", terminal.output)}
    assert all(red == green == blue for red, green, blue in colours), "grey is all that Textual sends then"


def test_bytes_that_are_no_utf8_do_no_harm(open_app: Open) -> None:
    terminal = open_app("from qltui.ui.app import run_app; run_app()")
    terminal.read_until("Presets")
    os.write(terminal.master, b"\x1b[M\x43\xa0\x30")  # an X10 mouse report beyond column 95
    terminal.read_for(1)
    terminal.send("d")
    terminal.read_until("look again")
    assert b"UnicodeDecodeError" not in terminal.output


def test_the_mouse_moves_charts_whatever_way_the_terminal_tells_of_it(open_app: Open, busy_run: WrittenRun) -> None:
    terminal = open_app(watch(busy_run))
    terminal.read_until("a line of the log")
    terminal.read_until("evaluation")
    terminal.send("\x1b[<64;20;6M")  # the wheel, over the loss
    terminal.read_until("frozen")
    for report in (b"\x1b[M\x60\xa0\x26", b"\x1b[M\x20\xff\xff", b"\x1b[M\x40\x85\x26", b"\x1b[M\x23\xa0\x26"):
        os.write(terminal.master, report)  # X10: wheel, button, drag and release beyond column 95
        terminal.read_for(0.3)
    terminal.send("\x1b[<0;20;6M\x1b[<32;24;6M\x1b[<0;24;6m0")
    terminal.read_for(0.5)
    terminal.send("q\r")
    assert os.waitstatus_to_exitcode(terminal.wait()) == 0
    assert b"Traceback" not in terminal.output


def test_constant_resizing_does_no_harm(open_app: Open) -> None:
    terminal = open_app("from qltui.ui.app import run_app; run_app()")
    terminal.read_until("Presets")
    terminal.send("n")
    for number in range(60):
        terminal.resize(*((120, 36), (40, 10), (1, 1), (80, 24), (300, 90))[number % 5])
        terminal.read_for(0.02)
    terminal.resize(40, 10)
    terminal.read_until("needed: 72 x 20")
    screen = Painted(80, 24)
    terminal.output = b""
    terminal.resize(80, 24)
    terminal.read_until("review")
    screen.feed(terminal.output)
    assert "▸Model◂" in screen.text
    assert "needed" not in screen.text
    assert b"Traceback" not in terminal.output


def test_a_lost_terminal_ends_the_app_at_once(open_app: Open) -> None:
    terminal = open_app("from qltui.ui.app import run_app; run_app()")
    terminal.read_until("Presets")
    terminal.hang_up()
    assert os.waitstatus_to_exitcode(terminal.wait()) == -signal.SIGHUP
