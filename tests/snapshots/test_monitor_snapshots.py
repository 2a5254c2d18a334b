"""The monitor of runs that fare well and ill, how one fares in full, and the question on leaving."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from support.album import NOW, album
from support.generated_runs import Size, generate
from support.screen import until, until_on, until_seen
from support.written_runs import WrittenRun, a40, on_eight_gpus

from qltui.ui.screens.leaving import Leaving
from qltui.ui.screens.monitor import Monitor
from qltui.ui.widgets.chart_grid import Charts


async def test_a_run_on_eight_gpus(home: Path, size: tuple[int, int]) -> None:
    run = on_eight_gpus(home / "state")
    run.emit("audit", audit="weights", result="failed", detail="rank 1 computes with 3 of 9 frozen tensors")
    os.utime(run.attempt.launch_json, (NOW - 90, NOW - 90))
    async with album(size, lambda: Monitor(run.run.path)) as (taken, _app):
        await until_seen(taken.pilot, "GPU 7 does not answer")
        await taken.take("monitor-gpus")
        await taken.pilot.press("h")
        await until_seen(taken.pilot, "How the run fares")
        await taken.take("condition")
        await taken.pilot.press("escape", "q")
        await until_on(taken.pilot, Leaving)
        await taken.take("leaving")


async def test_a_run_that_stands_still_while_a_driver_is_silent(
    home: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(time, "time", lambda: NOW - 400)
        run = WrittenRun(home / "state", ranks=2)
        for number in range(1, 31):
            run.step(number, 2.0 - number / 30)
    unknown = dict.fromkeys(("utilization", "power_watts", "temperature", "throttle", "memory_used", "other_memory"))
    run.sample(a40(0, **unknown), a40(1, **unknown, silent=42.0))
    os.utime(run.attempt.launch_json, (NOW - 900, NOW - 900))
    async with album(size, lambda: Monitor(run.run.path)) as (taken, _app):
        await until_seen(taken.pilot, "driver does not answer")
        await taken.take("monitor-stalled")


async def test_sixty_four_gpus_on_eight_nodes(home: Path, size: tuple[int, int]) -> None:
    folder = home / "state" / "runs" / "many-20260102-030405"
    run = generate(folder, Size(60, ranks=64, nodes=8, step_seconds=1.0, total_steps=500), state="live")
    os.utime(run.attempt.launch_json, (NOW - 90, NOW - 90))
    async with album(size, lambda: Monitor(folder)) as (taken, _app):
        await until_seen(taken.pilot, "node 0")
        await taken.take("monitor-folded")
    run.close()


async def test_a_loss_that_is_no_number_and_a_search_in_the_log(home: Path, size: tuple[int, int]) -> None:
    run = WrittenRun(home / "state", ranks=2)
    for number in range(1, 41):
        run.step(number, float("nan") if number > 34 or number == 20 else 2.5 - number / 20)
        run.log(f"step {number}/100 loss {2.5 - number / 20:.4f}\n")
    os.utime(run.attempt.launch_json, (NOW - 90, NOW - 90))
    async with album(size, lambda: Monitor(run.run.path)) as (taken, app):
        await until_seen(taken.pilot, "40 / 100")
        await until(taken.pilot, lambda: app.screen.query_one(Charts).chart("loss").followed, "the charts")
        await taken.take("monitor-nan")
        if size[1] < 30:
            await taken.pilot.press("m")
        await taken.pilot.press("slash", *"loss 1.0")
        await until_seen(taken.pilot, "“loss 1.0” 2/2")
        await taken.take("monitor-search")
