"""The monitor on GPUs, how a run fares in full, and the question on leaving."""

from __future__ import annotations

import os
from pathlib import Path

from support.album import NOW, album
from support.screen import until_on, until_seen
from support.written_runs import on_eight_gpus

from qltui.ui.screens.condition import Condition
from qltui.ui.screens.leaving import Leaving
from qltui.ui.screens.monitor import Monitor


async def test_a_run_on_eight_gpus(home: Path, size: tuple[int, int]) -> None:
    run = on_eight_gpus(home / "state")
    run.emit("audit", audit="weights", result="failed", detail="rank 1 computes with 3 of 9 frozen tensors")
    os.utime(run.attempt.launch_json, (NOW - 90, NOW - 90))
    async with album(size, lambda: Monitor(run.run.path)) as (taken, _app):
        await until_seen(taken.pilot, "GPU 7 does not answer")
        await taken.take("monitor-gpus")
        await taken.pilot.press("h")
        await until_on(taken.pilot, Condition)
        await taken.take("condition")
        await taken.pilot.press("escape", "q")
        await until_on(taken.pilot, Leaving)
        await taken.take("leaving")
