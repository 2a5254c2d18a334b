"""Every screen as it was when somebody last looked at it: ``make snapshots`` takes them anew, ``git diff`` shows how.

Clock, folders and machine are the same everywhere, and so must be what is on screen.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.screen import until, until_seen
from support.snapshots import differs, settled
from support.written_runs import WrittenRun
from textual.pilot import Pilot

from qltui.facts import doctor, machine
from qltui.ui.app import QltuiApp
from qltui.ui.screens.confirm import Confirm
from qltui.ui.screens.doctor import Doctor
from qltui.ui.screens.home import Home
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.presets import Presets
from qltui.ui.screens.review import Review
from qltui.ui.screens.run_actions import STOP_DETAIL
from qltui.ui.screens.runs import Runs
from qltui.ui.widgets.too_small import TooSmall

HERE = Path(__file__).parent
NOW = 1_800_000_000.0
FACTS = [
    doctor.Fact("Python", "3.11.7", "ok"),
    doctor.Fact("GPUs", "none seen", "warn", "Runs go on CPU ranks, which is slow: take a small model."),
    doctor.Fact("shared memory", "64 MB at /dev/shm", "bad", "Ranks need more: start it with --shm-size=8g."),
]  # fmt: skip
CHOSEN = {"model.path": "meta-llama/Llama-3.1-8B", "method.name": "int8", "training.optimizer": "adamw_8bit"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A world that is the same on every machine."""
    for name, folder in {"QLTUI_HOME": "state", "HOME": "", "XDG_CONFIG_HOME": "config", "HF_HOME": "hub"}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(machine, "here", lambda _home: machine.parse("4xA40"))
    monkeypatch.setattr(doctor, "examine", lambda _home: FACTS)
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(params=[(120, 36), (80, 24)], ids=["120x36", "80x24"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    chosen: tuple[int, int] = request.param
    return chosen


class Album:
    """Compares screens with those that were kept, and tells of all that differ."""

    def __init__(self, pilot: Pilot[Any], size: tuple[int, int]) -> None:
        self.pilot, self.size = pilot, size
        self.found: list[str] = []

    async def take(self, name: str) -> None:
        """Compare what is on screen with what was kept by this name."""
        file = HERE / f"{name}-{self.size[0]}x{self.size[1]}.txt"
        if told := differs(file, await settled(self.pilot)):
            self.found.append(told)


@asynccontextmanager
async def album(size: tuple[int, int], first: Any = Home) -> AsyncIterator[tuple[Album, QltuiApp]]:
    app = QltuiApp(first)
    async with app.run_test(size=size) as pilot:
        taken = Album(pilot, size)
        yield taken, app
    assert not taken.found, "\n\n".join(taken.found)


async def test_places(home: Path, size: tuple[int, int]) -> None:
    run = WrittenRun(home / "state", ranks=2)
    for number in range(1, 41):
        run.step(number, 2.5 - number / 40 + (number % 7) / 20)
    run.emit("evaluation", loss=1.75, when="during")
    os.utime(run.attempt.launch_json, (NOW - 90, NOW - 90))
    run.log("loading the model\ntraining begins\n")
    async with album(size) as (taken, app):
        await until_seen(taken.pilot, "40 / 100")
        await taken.take("home")
        await app.push_screen(Doctor())
        await until_seen(taken.pilot, "shm-size")
        await taken.take("doctor")
        await app.push_screen(Runs())
        await until_seen(taken.pilot, "1 run, 1 live")
        await taken.take("runs")
        await app.push_screen(Monitor(run.run.path))
        await until_seen(taken.pilot, "training begins")
        await taken.take("monitor")
        await taken.pilot.press("question_mark")
        await taken.take("help")
        await taken.pilot.press("escape")
        app.push_screen(Confirm("Stop demo?", STOP_DETAIL, "Stop and save"))
        await taken.take("confirm")


async def test_wizard(home: Path, size: tuple[int, int]) -> None:
    async with album(size, lambda: NewRun(CHOSEN, "4xA40")) as (taken, app):
        screen = app.screen
        assert isinstance(screen, NewRun)
        await until(taken.pilot, lambda: screen.outlook is not None, "what the choices come to")
        for step in ("model", "data", "hardware", "method", "training"):
            await until(taken.pilot, lambda step=step: screen.step.name == step, step)
            await taken.take(f"wizard-{step}")
            await taken.pilot.press("pagedown")
        await taken.pilot.press("pageup", "f4")
        await taken.take("wizard-unfolded")


async def test_presets(home: Path, size: tuple[int, int]) -> None:
    async with album(size, Presets) as (taken, app):
        screen = app.screen
        assert isinstance(screen, Presets)
        await until_seen(taken.pilot, "fits here")
        await taken.pilot.press("end")  # the first names paths of this checkout
        await taken.take("presets")
        await taken.pilot.press("enter")
        await until(taken.pilot, lambda: isinstance(app.screen, Review), "the review")
        await until_seen(taken.pilot, "launch")
        await taken.take("review")


async def test_a_terminal_with_no_room(home: Path) -> None:
    async with album((40, 10)) as (taken, app):
        await until(taken.pilot, lambda: bool(app.screen.query(TooSmall)), "what is needed")
        await taken.take("too-small")
