"""`demo-cpu` trains, several terminals show it, and everything goes wrong that can: one after the other, on one run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nasty_logs import PIECES
from support.painted import Painted
from support.runs import Cli, events, wait_for
from support.terminal import Terminal

from engine.events import RunDirectory, is_alive, read_json
from qltui.runs import status

QLTUI = [sys.executable, "-m", "qltui"]
STALL_SECONDS = 30
OWN = re.compile(r"\x1b\]22;[a-z-]*\x07")
"""What Textual itself sends with such bytes: the shape of the mouse pointer."""
STEP = re.compile(r"step ([\d,]+)")
SETTINGS = {
    "training.max_steps": 100_000, "training.generate_answers": 0, "training.eval_every": 0, "training.save_every": 0,
}  # fmt: skip
NEVER_SENT = (
    "\x1b]52", "\x1b]8;", "\x1b]0;", "\x1bP", "\x1b_", "\x00", "\x07", "\x08", "\x0b", "\x0e", "\x7f", "\x9b", "\x9d",
    "\u202e", "\u2066", "\u200b", "\ufeff", "\U000e0041", "\u0301" * 5,
)  # fmt: skip

pytestmark = pytest.mark.timeout(300)


class Screen(Terminal):
    """A terminal of which one sees what stands on it."""

    def resize(self, columns: int, rows: int) -> None:
        super().resize(columns, rows)
        self.painted, self.fed = Painted(columns, rows), len(self.output)

    def text(self) -> str:
        """What stands there, once what has come by now is drawn."""
        self.read_for(0.3)
        self.painted.feed(self.output[self.fed :])
        self.fed = len(self.output)
        return self.painted.text

    def sees(self, text: str, seconds: float = 25, is_there: bool = True) -> str:
        """Wait until a text stands there, or none of it any more."""
        deadline = time.monotonic() + seconds
        while (text in (screen := self.text())) != is_there:
            assert time.monotonic() < deadline, f"{text!r} should {'' if is_there else 'not '}be in\n{screen}"
        return screen

    def leaves(self) -> None:
        """Leave the run as it is."""
        self.send("q")
        self.sees("Leave it running")
        self.send("q")
        assert os.waitstatus_to_exitcode(self.wait()) == 0
        assert b"Traceback" not in self.output


class Training:
    """The run, and the terminals that were opened on it."""

    def __init__(self, home: Path) -> None:
        self.cli = Cli(home)
        self.terminals: list[Screen] = []
        chosen = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
        self.cli("launch", "demo-cpu", *chosen)
        self.run = self.cli.directory("last")
        wait_for(lambda: self.steps() >= 3, 120, "steps")

    def steps(self) -> int:
        """Steps done, as the run's own events tell."""
        if not self.run.attempts():
            return 0
        return max((event["step"] for event in events(self.run, "step")), default=0)

    def goes_on(self) -> None:
        """Assert that steps come."""
        before = self.steps()
        wait_for(lambda: self.steps() > before, 60, "a step")

    def open(self, *command: str, **environment: str) -> Screen:
        """The monitor in a terminal of its own, or another command."""
        everything = {**self.cli.environment, "COLORTERM": "truecolor", **environment}
        self.terminals.append(Screen([*(command or (*QLTUI, "watch", self.run.id))], everything))
        return self.terminals[-1]


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:
    training = Training(tmp_path_factory.mktemp("faults") / "home")
    yield training
    for terminal in training.terminals:
        terminal.close()
    training.cli("stop", "last", "--now", check=False)


@pytest.fixture(scope="module")
def stalled(training: Training) -> tuple[Screen, float]:
    """A monitor nobody reads from now on, and since when; its test is the last but one."""
    terminal = training.open()
    terminal.read_until("Log [4]")
    return terminal, time.monotonic()


@pytest.fixture(scope="module")
def monitor(training: Training, stalled: tuple[Screen, float]) -> Screen:
    """A monitor that is read."""
    terminal = training.open()
    terminal.read_until("Log [4]")
    return terminal


def shows_steps(training: Training, screen: Screen) -> None:
    """Assert that the screen follows the run."""
    step = training.steps() + 1
    wait_for(lambda: shown_step(screen) >= step, 90, f"step {step} on\n{screen.painted.text}")


def shown_step(screen: Screen) -> int:
    """The step that the screen tells; 0 without one."""
    found = STEP.search(screen.text())
    return int(found[1].replace(",", "")) if found else 0


def test_terminals_of_every_kind_show_it_and_are_left_in_order(training: Training, monitor: Screen) -> None:
    kinds = [{"TERM": "dumb"}, {"TERM": "screen"}, {"TERM": "linux"}, {"NO_COLOR": "1"}]
    opened = [training.open(**kind) for kind in kinds]
    for terminal in opened:
        terminal.read_until("Log [4]")
    for terminal in opened:
        terminal.leaves()
    training.goes_on()


def test_nothing_of_a_log_reaches_the_terminal_but_text(training: Training, monitor: Screen) -> None:
    log = training.run.attempts()[-1].log(1)
    with open(log, "ab") as file:
        for piece in PIECES:
            file.write(b"here: " + piece + b"\n")
        file.write("in two bytes each\n".encode("utf-16"))
        file.write(b"x" * 1_000_000 + b"needle\x1b]52;c;aGVsbG8=\x07\n[rank0]: [/path] the end of it\n")
    monitor.sees("[rank0]: [/path] the end of it")
    monitor.send("/")
    monitor.read_for(1)
    monitor.send("needle\r")
    monitor.sees("not found yet")  # of a line that long only the beginning is kept
    text = OWN.sub("", monitor.output.decode("utf-8", "replace"))
    assert not [sent for sent in NEVER_SENT if sent in text]
    monitor.send("\x1b")
    monitor.sees("not found yet", is_there=False)
    monitor.send("\x1b[F")  # the letters on the way to it may have been found in a line further up
    monitor.sees("held still", is_there=False)


def test_a_log_of_a_gigabyte_and_one_put_in_its_place(training: Training, monitor: Screen) -> None:
    log = training.run.attempts()[-1].log(1)
    with open(log, "r+b") as file:
        file.seek(2**30)
        file.write(b"\nbehind a gigabyte\n")
    monitor.sees("behind a gigabyte")
    log.rename(log.with_name("old"))
    log.write_bytes(b"in its place: a line that is new\n")
    monitor.sees("in its place: a line that is new")
    os.truncate(log, 0)
    with open(log, "ab") as file:
        file.write(b"cut short\n")
    monitor.sees("cut short")
    assert int(Path(f"/proc/{monitor.pid}/statm").read_text().split()[1]) * 4096 < 300 * 2**20


def test_resizing_and_mouse_reports_of_old_terminals_do_no_harm(training: Training, monitor: Screen) -> None:
    for number in range(60):
        monitor.resize(*((120, 36), (40, 10), (1, 1), (80, 24), (300, 90))[number % 5])
        if number % 6 == 0:
            os.write(monitor.master, b"\x1b[M\x60\xa0\x26\x1b[M\x20\xff\xff\x1b[M\x23\xa0\x26")  # X10, beyond column 95
        monitor.read_for(0.02)
    monitor.resize(80, 24)
    monitor.read_for(1)
    monitor.resize(120, 36)
    monitor.sees("Log [4]")
    shows_steps(training, monitor)


def test_event_files_with_everything_in_them_that_is_no_event(training: Training, monitor: Screen) -> None:
    attempt = training.run.attempts()[-1]
    newest = events(training.run, "step")[-1]
    wrong = [
        b"[" * 100_000, b"\x00" * 999, b'{"kind": "step", "step": ', b"\xff\xfe",
        json.dumps({**newest, "step": -1}).encode(),
        json.dumps({**newest, "loss": 10**400, "step_time": "long", "wall": 1e308}).encode(),
        json.dumps({**newest, "wall": newest["wall"] - 86400}).encode(),
        json.dumps({**newest, "schema_version": 99, "kind": "dreamt"}).encode(),
        json.dumps({"kind": "started", "rank": 10**9, "attempt": 10**9, "host": [], "pid": {}}).encode(),
    ]  # fmt: skip
    with open(attempt.events(0), "ab") as file:
        file.write(b"\n".join([b"", *wrong, b""]))
    aside = attempt.events(1).rename(attempt.path / "aside")
    attempt.events(1).mkdir()  # cannot be read
    shows_steps(training, monitor)
    attempt.events(1).rmdir()
    aside.rename(attempt.events(1))
    os.truncate(attempt.events(1), os.stat(attempt.events(1)).st_size + 2**30)
    shows_steps(training, monitor)
    assert training.cli.status()["attempt"] == 1


def test_small_files_that_make_no_sense_and_a_folder_that_is_gone(training: Training, monitor: Screen) -> None:
    for _ in range(5):  # the supervisor writes it anew all the time
        training.run.status_json.write_bytes(b'{"state": 5, "ranks": 7, "supervisor": [], "step": "x"}')
        monitor.read_for(0.2)
    shows_steps(training, monitor)
    elsewhere = training.run.path.with_name("elsewhere")
    training.run.path.rename(elsewhere)
    try:
        monitor.sees("No such file or directory")
    finally:
        elsewhere.rename(training.run.path)
    monitor.sees("No such file or directory", is_there=False)
    shows_steps(training, monitor)


def test_settings_that_cannot_be_written_are_told(training: Training, monitor: Screen) -> None:
    full = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); import qltui.cli.main as m; "
    terminal = training.open(sys.executable, "-c", full + f"m.main(['watch', {training.run.id!r}])")
    terminal.read_until("Log [4]")
    terminal.send("\x10")  # the palette
    terminal.read_until("Search for commands")
    terminal.send("theme\r")
    terminal.read_until("nord")
    terminal.send("nord\r")
    terminal.read_until("is not kept")
    terminal.leaves()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_tmux_is_left_and_come_back_to_in_another_size(training: Training, monitor: Screen, tmp_path: Path) -> None:
    tmux = ["tmux", "-S", str(tmp_path / "t"), "-f", "/dev/null"]
    command = " ".join([*QLTUI, "watch", training.run.id])
    first = training.open(*tmux, "new-session", command, TMUX="")
    try:
        first.read_until("Log [4]")
        first.send("\x02d")
        assert os.waitstatus_to_exitcode(first.wait()) == 0
        again = training.open(*tmux, "attach", TMUX="")
        again.resize(80, 24)
        again.read_until("step")
        assert again.alive()
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True, timeout=20)
    training.goes_on()


def test_a_terminal_that_did_not_read_for_half_a_minute_finds_the_newest(
    training: Training, stalled: tuple[Screen, float]
) -> None:
    terminal, since = stalled
    before = training.steps()
    while (left := STALL_SECONDS - (time.monotonic() - since)) > 0:
        time.sleep(min(1, left))
        terminal.resize(120, 36 - int(left) % 2)  # more to paint
    training.goes_on()
    assert training.steps() > before
    terminal.read_for(2)
    terminal.resize(100, 36)
    terminal.read_for(1)
    terminal.resize(120, 36)
    shows_steps(training, terminal)
    terminal.leaves()


def test_a_run_whose_supervisor_alone_was_killed_is_adopted_and_stopped(training: Training, monitor: Screen) -> None:
    kill_supervisor(training.run)
    monitor.sees("its supervisor is gone, its ranks are not")
    assert training.cli.status()["state"] == "training"
    monitor.send("u")
    wait_for(lambda: is_alive(supervisor(training.run)), 30, "another supervisor")
    monitor.sees("its supervisor is gone", is_there=False)
    shows_steps(training, monitor)
    assert training.cli.status()["attempt"] == 1
    kill_supervisor(training.run)
    monitor.sees("its supervisor is gone, its ranks are not")
    monitor.send("s")
    monitor.sees("Stop and save")
    monitor.send("y")
    ended = training.cli.wait(training.run.id, 90)
    assert (ended["state"], ended["attempt"]) == ("stopped", 1)
    monitor.sees("stopped")


def supervisor(run: RunDirectory) -> object:
    return status.read_written(run)["supervisor"]


def kill_supervisor(run: RunDirectory) -> None:
    found = read_json(run.status_json)
    assert found is not None
    os.kill(found["supervisor"]["pid"], signal.SIGKILL)
    wait_for(lambda: is_alive(found["supervisor"]) is False, 20, "the supervisor's end")
