"""Keys of the monitor do at once what they do, whatever else it does, and paint no more than that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.screen import press_together, text_of, until, until_seen
from support.written_runs import WrittenRun
from textual.geometry import Region
from textual.pilot import Pilot

from qltui.runs.follow import Follower, Snapshot
from qltui.ui.app import QltuiApp
from qltui.ui.screens.monitor import Monitor
from qltui.ui.widgets.chart_grid import Charts
from qltui.ui.widgets.log_panel import LogPanel
from qltui.ui.widgets.log_tail import LogTail

HEALTH = "How the run fares"


@asynccontextmanager
async def watching(run: WrittenRun, size: tuple[int, int] = (120, 36)) -> AsyncIterator[Pilot[Any]]:
    run.step(1, 1.0)
    async with QltuiApp(lambda: Monitor(run.run.path)).run_test(size=size) as pilot:
        await until_seen(pilot, "step 1 / 100")
        yield pilot


def has_focus(pilot: Pilot[Any]) -> Any:
    return pilot.app.screen.focused


async def test_health_is_closed_by_the_key_that_opened_it(written_run: WrittenRun, size: tuple[int, int]) -> None:
    async with watching(written_run, size) as pilot:
        chart = pilot.app.screen.query_one(Charts).chart("loss")
        chart.focus()
        await until(pilot, lambda: has_focus(pilot) is chart, "the cursor on the loss")
        for key in ("h", "escape", "q", "f1", "enter"):
            await pilot.press("h")
            await until_seen(pilot, HEALTH)
            assert "esc close" in text_of(pilot).splitlines()[-1]
            await pilot.press(key)
            await until(pilot, lambda: HEALTH not in text_of(pilot), f"closed by {key}")
            await until(pilot, lambda: has_focus(pilot) is chart, "the cursor back on the loss")
        press_together(pilot, "h", "h", "h", "escape", "4")
        await until(pilot, lambda: not pilot.app.screen.query_one(LogPanel).display, "the last key done")
        assert HEALTH not in text_of(pilot)


async def test_health_goes_where_the_cursor_leaves_it(written_run: WrittenRun) -> None:
    async with watching(written_run) as pilot:
        await pilot.press("h")
        await until_seen(pilot, HEALTH)
        pilot.app.app_focus = False
        await pilot.pause()
        assert HEALTH in text_of(pilot), "another window has the cursor, which comes back"
        pilot.app.app_focus = True
        await pilot.pause()
        await pilot.press("g")
        await until(pilot, lambda: HEALTH not in text_of(pilot), "the cursor on a chart")
        await pilot.press("h")
        await until_seen(pilot, HEALTH)


async def test_a_key_does_not_wait_for_a_step_that_is_drawn(
    written_run: WrittenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(written_run) as pilot:
        drawn: list[bool] = []

        def without_end(*_: Any) -> Iterator[None]:
            while "Log [4]" in text_of(pilot):
                drawn.append(True)
                yield

        monkeypatch.setattr(Charts, "show_in_parts", without_end)
        await until(pilot, lambda: drawn, "a step being drawn")
        await pilot.press("4")
        await until(pilot, lambda: "Log [4]" not in text_of(pilot), "the log hidden, and that painted")
        written_run.step(2, 1.0)
        await until_seen(pilot, "step 2 / 100")


async def test_where_the_cursor_goes_alone_is_painted(written_run: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watching(written_run) as pilot:
        monitor = pilot.app.screen
        await until(pilot, lambda: monitor.query_one(LogTail).told, "the log")
        charts = monitor.query_one(Charts)
        charts.chart("loss").focus()
        await until(pilot, lambda: has_focus(pilot) is charts.chart("loss"), "the cursor on the loss")
        painted: list[tuple[Region, ...]] = []
        refresh = Monitor.refresh

        def noted(self: Monitor, *regions: Region, **options: Any) -> Any:
            if options.get("repaint", True):
                painted.append(regions)
            return refresh(self, *regions, **options)

        monkeypatch.setattr(Monitor, "refresh", noted)
        for kind in ("learning-rate", "grad-norm"):
            await pilot.press("g")
            await until(pilot, lambda kind=kind: has_focus(pilot) is charts.chart(kind), "the cursor on the next")
            await until(pilot, lambda: text_of(pilot).count("─ ▸ ") == 1, "its mark, and no other")
        assert not painted, "not all of the screen"


class Failing(Follower):
    """Cannot be read now and then."""

    fails = False

    def poll(self) -> Snapshot:
        if self.fails:
            raise PermissionError(13, "not now", "/runs/[x]")
        return super().poll()


async def test_a_run_that_cannot_be_read_is_tried_again(written_run: WrittenRun) -> None:
    written_run.step(1, 1.0)
    source = Failing(written_run.run.path)
    async with QltuiApp(lambda: Monitor(written_run.run.path, source=source)).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "step 1 / 100")
        source.fails = True
        await until_seen(pilot, "it is tried again: PermissionError(13, 'not now')")
        source.fails = False
        written_run.step(2, 1.0)
        await until_seen(pilot, "step 2 / 100")
        await until(pilot, lambda: "tried again" not in text_of(pilot), "the warning taken back")
