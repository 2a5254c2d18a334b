"""Every screen as it was when somebody last looked at it: ``make snapshots`` takes them anew, ``git diff`` shows how.

Clock, folders and machine are the same everywhere, and so must be what is on screen.
"""

from __future__ import annotations

import os
from pathlib import Path

from support.album import NOW, album
from support.screen import until, until_seen
from support.written_runs import WrittenRun

from qltui.ui.screens.confirm import Confirm
from qltui.ui.screens.doctor import Doctor
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.presets import Presets
from qltui.ui.screens.review import Review
from qltui.ui.screens.run_actions import STOP_DETAIL
from qltui.ui.screens.runs import Runs
from qltui.ui.widgets.too_small import TooSmall

CHOSEN = {"model.path": "meta-llama/Llama-3.1-8B", "method.name": "int8", "training.optimizer": "adamw_8bit"}


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
        await until_seen(taken.pilot, "nothing unusual")
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
