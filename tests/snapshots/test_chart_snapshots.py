"""A chart large, and the place it is exported to."""

from __future__ import annotations

from pathlib import Path

from support.album import album
from support.screen import until_on, until_seen
from support.written_runs import WrittenRun

from qltui.ui.screens.chart import ChartScreen
from qltui.ui.screens.chart_saving import ChartSaving
from qltui.ui.screens.monitor import Monitor
from qltui.ui.widgets.chart_grid import Charts


async def test_chart(home: Path, size: tuple[int, int]) -> None:
    run = WrittenRun(home / "state", ranks=2)
    for number in range(1, 41):
        run.step(number, float("nan") if number == 22 else 2.5 - number / 20 + (number % 7) / 20)
        if number % 10 == 0:
            run.emit("evaluation", loss=2.4 - number / 20, when="during")
    async with album(size, lambda: Monitor(run.run.path)) as (taken, app):
        await until_seen(taken.pilot, "40 / 100")
        app.screen.query_one(Charts).chart("loss").focus()
        await taken.pilot.press("enter")
        await until_on(taken.pilot, ChartScreen)
        await until_seen(taken.pilot, "all of the run")
        await taken.pilot.press("plus", "shift+left", "shift+left")
        await taken.take("chart")
        await taken.pilot.press("e")
        await until_on(taken.pilot, ChartSaving)
        app.screen.query_one("#stem").value = "charts/loss"
        await taken.take("chart-saving")
