"""A run's charts in the monitor, and one of them large: with a run that goes on meanwhile."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.generated_runs import Size, generate
from support.screen import text_of, until, until_on, until_seen
from support.written_runs import WrittenRun
from textual.pilot import Pilot
from textual.widgets import Input

from qltui.runs import reduction
from qltui.ui.app import QltuiApp
from qltui.ui.screens.chart import ChartScreen
from qltui.ui.screens.chart_saving import ChartSaving
from qltui.ui.screens.monitor import Monitor
from qltui.ui.widgets.chart_grid import KINDS, Charts, Extremes
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.line_chart import LineChart


@asynccontextmanager
async def watching(run: WrittenRun, size: tuple[int, int] = (120, 36)) -> AsyncIterator[Pilot[Any]]:
    for number in range(1, 41):
        run.step(number, float("nan") if number == 30 else 3.0 - number / 20)
    async with QltuiApp(lambda: Monitor(run.run.path)).run_test(size=size) as pilot:
        await until(pilot, lambda: pilot.app.screen.query_one(Charts).chart("loss").followed, "the run read")
        await until(pilot, lambda: len(loss_of(pilot)) == 39, "every step")
        yield pilot


def loss_of(pilot: Pilot[Any]) -> list[float]:
    charts = next(screen for screen in pilot.app.screen_stack if isinstance(screen, Monitor)).query_one(Charts)
    followed = charts.chart("loss").followed
    return followed[0].curve.y if followed else []


def large(pilot: Pilot[Any]) -> LineChart:
    screen = pilot.app.screen
    assert isinstance(screen, ChartScreen)
    return screen.chart


async def open_large(pilot: Pilot[Any]) -> None:
    pilot.app.screen.query_one(Charts).chart("loss").focus()
    await pilot.press("enter")
    await until_on(pilot, ChartScreen)
    await until_seen(pilot, "all of the run")


async def test_every_chart_is_there_or_a_key_away(written_run: WrittenRun, size: tuple[int, int]) -> None:
    async with watching(written_run, size) as pilot:
        charts = pilot.app.screen.query_one(Charts)
        seen = set()
        for kind in KINDS:
            await until_seen(pilot, f"▸ {kind.title}")
            seen.add(charts.focused)
            charts.next_chart()
            await pilot.pause()
        assert len(seen) == len(KINDS)
        await until_seen(pilot, "▸ Loss")


async def test_enter_shows_a_chart_large_and_escape_goes_back(written_run: WrittenRun, size: tuple[int, int]) -> None:
    async with watching(written_run, size) as pilot:
        await open_large(pilot)
        assert len(pilot.app.screen.query_one(Footer).shown) == 6
        assert "live · all of the run · by step · linear · smoothed 0.85" in text_of(pilot)
        written_run.step(41, 0.5)
        await until(pilot, lambda: large(pilot).whole == (1, 41), "it goes on with the run")
        await pilot.press("shift+left")
        await until_seen(pilot, "step 41  training 0.5000")
        await pilot.press("escape")
        assert large(pilot).cursor is None, "escape takes the cursor line first"
        await pilot.press("escape")
        await until_on(pilot, Monitor)
        written_run.step(42, 0.5)
        await until(pilot, lambda: len(loss_of(pilot)) == 41, "the small one goes on")


async def test_what_is_under_a_large_chart_paints_nothing(
    written_run: WrittenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(written_run) as pilot:
        monitor = pilot.app.screen
        await open_large(pilot)
        await pilot.pause()
        painted: list[Any] = []
        monkeypatch.setattr(pilot.app.screen, "refresh", lambda *regions, **_: painted.append(regions))
        monitor.query_one(Charts).refresh()
        monitor.query_one(Footer).refresh()
        await pilot.pause(0.2)
        assert not monitor.is_current
        assert painted == [], "nor has the large one to be painted anew"
        monkeypatch.undo()
        await pilot.press("escape")
        await until_on(pilot, Monitor)
        assert monitor.is_current


async def test_keys_of_the_large_chart_change_how_it_is_drawn(written_run: WrittenRun) -> None:
    async with watching(written_run) as pilot:
        await open_large(pilot)
        await pilot.press("l", "s", "t")
        await until_seen(pilot, "live · all of the run · by time · logarithmic · smoothed 0.95")
        await pilot.press("s", "s", "t", "plus")
        await until_seen(pilot, "by step · logarithmic · not smoothed")
        await until_seen(pilot, "last 20 steps")
        await pilot.press("f")
        await until_seen(pilot, "frozen, 20 to 40")
        await pilot.press("question_mark")
        await until_seen(pilot, "Hold the chart still, or follow the run again")


async def test_other_charts_are_a_key_away(written_run: WrittenRun) -> None:
    async with watching(written_run) as pilot:
        await open_large(pilot)
        for kind in [*KINDS[1:], KINDS[0]]:
            await pilot.press("n")
            await until_seen(pilot, f"▸ {kind.title}")
            assert ("smoothed" in text_of(pilot)) is kind.smoothed
        await pilot.press("p")
        await until_seen(pilot, "▸ Memory")
        assert large(pilot).has_focus


async def test_it_is_exported_to_the_folder_of_the_run(written_run: WrittenRun, size: tuple[int, int]) -> None:
    async with watching(written_run, size) as pilot:
        await open_large(pilot)
        await pilot.press("e")
        await until_on(pilot, ChartSaving)
        await pilot.press("enter")
        table = written_run.run.path / "charts" / "loss.csv"
        await until(pilot, lambda: any("loss.csv" in one.message for one in pilot.app._notifications), "told where")
        found = list(csv.reader(table.open()))
        assert len(found) == 41
        assert found[30][:2] + found[30][3:] == ["training", "30", "nan"]
        assert table.with_suffix(".svg").read_text().startswith("<svg")


async def test_it_is_exported_to_another_place_but_over_none(written_run: WrittenRun, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("kept")
    async with watching(written_run) as pilot:
        await open_large(pilot)
        await pilot.press("e")
        await until_on(pilot, ChartSaving)
        pilot.app.screen.query_one(Input).value = str(tmp_path / "mine.svg")
        await pilot.press("enter")
        await until_seen(pilot, "mine.csv is there already: Enter again writes over it.")
        assert (tmp_path / "mine.csv").read_text() == "kept"
        await pilot.press("enter")
        await until(pilot, (tmp_path / "mine.svg").exists, "the files")
        await until(pilot, lambda: "training" in (tmp_path / "mine.csv").read_text(), "written over")


async def test_a_place_that_cannot_be_written_is_told(written_run: WrittenRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with watching(written_run) as pilot:
        await open_large(pilot)
        await pilot.press("e")
        await until_on(pilot, ChartSaving)
        pilot.app.screen.query_one(Input).value = str(tmp_path / "file" / "mine")
        await pilot.press("enter")
        await until(pilot, lambda: any("say another place" in one.message for one in pilot.app._notifications), "told")


def telemetry(gpus: int) -> dict[str, list[tuple[float, float]]]:
    return {f"gpu{n}.memory_used": [(1e9 + s, 2.0**30 * (n + 1)) for s in range(50)] for n in range(gpus)}


@pytest.mark.parametrize(
    ("gpus", "lines"), [(0, ["rank 0"]), (2, ["GPU 0", "GPU 1"]), (64, ["most of 64 GPUs", "least"])]
)
async def test_memory_has_a_line_for_each_gpu_or_the_extremes_of_many(
    written_run: WrittenRun, gpus: int, lines: list[str]
) -> None:
    async with watching(written_run) as pilot:
        charts = pilot.app.screen.query_one(Charts)
        charts.show({"memory": [(1, 2.0**30)], "wall": []}, {**telemetry(gpus), "gpu0.utilization": [(1e9, 5.0)]})
        followed = charts.chart("memory").followed
        assert [one.line.name for one in followed] == lines
        if gpus == 64:
            assert followed[0].curve.y[-1] == 64 * 2.0**30
            assert followed[1].curve.y[-1] == 2.0**30


def test_extremes_go_on_with_the_series() -> None:
    many, extremes = {"0": [(1.0, 5.0), (2.0, 6.0)], "1": [(1.0, 3.0)]}, Extremes()
    extremes.follow(many)
    assert (extremes.highest, extremes.lowest) == ([(1, 5), (2, 6)], [(1, 3), (2, 6)])
    many["0"].append((3.0, 1.0))
    many["1"] += [(2.0, 9.0), (3.0, 2.0)]
    extremes.follow(many)
    assert (extremes.highest[2:], extremes.lowest[2:]) == ([(3, 2)], [(3, 1)])


async def test_a_long_run_is_read_step_by_step_where_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduction, "SMALL", 0)
    monkeypatch.setattr(reduction, "ROWS", (0, 8))  # as if there were a million steps
    size = Size(9000, spikes=(1234,), gpus=False)
    run = generate(tmp_path / "run", size, samples=False)
    async with QltuiApp(lambda: Monitor(run.run.path)).run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: loss_of(pilot), "the run read")
        assert len(loss_of(pilot)) < 500
        chart = pilot.app.screen.query_one(Charts).chart("loss")
        chart.focus()
        await pilot.press("enter")
        await until_on(pilot, ChartScreen)
        large = pilot.app.screen.query_one(LineChart)
        large.inspect(1234)
        for _ in range(8):
            await pilot.press("plus")
        await until(pilot, lambda: "every step" in large.state, "the steps read")
        large.inspect(1234)
        await until_seen(pilot, "step 1,234")
        assert float(readout_of(large)) > 50
        await pilot.press("0")
        assert "every step" not in large.state


def readout_of(chart: LineChart) -> str:
    return next(text for text, part in chart.readout()[2:] if part == "value")
