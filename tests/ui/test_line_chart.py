"""The chart as a widget: what its rows show, at any size, and what keys and the mouse do."""

from __future__ import annotations

from typing import Any

import pytest
from support.screen import until
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from qltui.runs.curves import Clock
from qltui.ui.widgets.chart_lines import Line
from qltui.ui.widgets.line_chart import LineChart

CURVE = [(float(step), 2.0 - step / 100) for step in range(1, 101)]
NAN = float("nan")


class ChartApp(App[None]):
    """A chart and nothing else."""

    def __init__(self, title: str = "") -> None:
        super().__init__()
        self.heading = title

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"rule": "#333333", "muted": "#888888"}

    def compose(self) -> ComposeResult:
        yield LineChart(self.heading, empty="nothing yet")


def chart_of(pilot: Pilot[Any]) -> LineChart:
    return pilot.app.query_one(LineChart)


def show(pilot: Pilot[Any], curve: list[tuple[float, float]], evaluations: list[tuple[float, float]] = []) -> None:  # noqa: B006
    chart_of(pilot).show([Line("training", curve), Line("evaluation", evaluations, scattered=True)])


def rows(pilot: Pilot[None]) -> list[str]:
    chart = pilot.app.query_one(LineChart)
    strips = [chart.render_line(y) for y in range(chart.content_size.height)]
    assert all(segment.style is not None for strip in strips for segment in strip)
    assert {strip.cell_length for strip in strips} == {chart.content_size.width}
    return [strip.text for strip in strips]


async def test_it_says_what_is_awaited_until_there_is_a_value() -> None:
    async with ChartApp().run_test(size=(60, 15)) as pilot:
        assert any("nothing yet" in row for row in rows(pilot))
        show(pilot, [(1, NAN)])
        assert any("not a number so far" in row for row in rows(pilot))


async def test_it_marks_evaluations_and_values_that_are_no_number() -> None:
    async with ChartApp().run_test(size=(60, 15)) as pilot:
        broken = [(x, float("nan") if x == 50 else y) for x, y in CURVE]
        show(pilot, broken, [(20, 1.9), (80, 1.2)])
        shown = rows(pilot)
        assert shown[0].count("!") == 1
        assert "".join(shown).count("×") == 2


async def test_axes_have_at_most_four_labels() -> None:
    async with ChartApp().run_test(size=(120, 40)) as pilot:
        show(pilot, CURVE)
        *plot, rule, labels = rows(pilot)
        assert 2 <= sum("┤" in row for row in plot) <= 4
        assert rule.count("┬") == len(labels.split()) <= 4


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (10, 3), (24, 5), (40, 10), (200, 60)])
async def test_it_is_drawn_whole_at_any_size(size: tuple[int, int]) -> None:
    async with ChartApp().run_test(size=size) as pilot:
        show(pilot, CURVE, [(50, 1.5)])
        assert len(rows(pilot)) == size[1]


async def test_it_follows_a_resize() -> None:
    async with ChartApp().run_test(size=(100, 30)) as pilot:
        show(pilot, CURVE)
        await pilot.resize_terminal(50, 12)
        await until(pilot, lambda: len(rows(pilot)) == 12, "as high as the terminal")
        assert any(ord("\u2800") < ord(character) <= ord("\u28ff") for character in "".join(rows(pilot)))


async def test_the_logarithmic_axis_is_labelled_with_powers() -> None:
    async with ChartApp().run_test(size=(80, 24)) as pilot:
        show(pilot, [(float(x), 10.0 ** (3 - x)) for x in range(1, 7)])
        chart_of(pilot).log_scale = True
        labels = [row.split("┤")[0].strip() for row in rows(pilot) if "┤" in row]
        assert labels == ["10", "0.1", "0.001"]


def shown(pilot: Pilot[Any]) -> tuple[float, float]:
    chart = chart_of(pilot)
    assert chart.whole
    return chart.span.shown(*chart.whole)


async def test_keys_zoom_move_and_show_all() -> None:
    async with ChartApp("Loss").run_test(size=(80, 20)) as pilot:
        curve = list(CURVE)
        show(pilot, curve)
        await pilot.press("plus")
        assert shown(pilot) == (50.5, 100)
        assert "last 50 steps" in rows(pilot)[0]
        curve.append((110.0, 0.5))
        show(pilot, curve)
        assert shown(pilot) == (60.5, 110), "live: it moves on with the run"
        await pilot.press("left")
        left, right = shown(pilot)
        assert right < 110
        assert "frozen" in rows(pilot)[0]
        curve.append((120.0, 0.5))
        show(pilot, curve)
        assert shown(pilot) == (left, right), "frozen: it stays"
        await pilot.press("home")
        assert shown(pilot)[0] == 1
        await pilot.press("end")
        assert shown(pilot)[1] == 120
        await pilot.press("minus", "minus")
        assert shown(pilot) == (1, 120)
        await pilot.press("f")
        curve.append((130.0, 0.5))
        show(pilot, curve)
        assert shown(pilot) == (1, 120), "held still"
        await pilot.press("0")
        assert shown(pilot) == (1, 130)


async def test_the_height_is_that_of_what_is_shown() -> None:
    async with ChartApp().run_test(size=(80, 20)) as pilot:
        show(pilot, [(1.0, 1000.0), *((float(x), x / 100) for x in range(2, 200))])
        view = chart_of(pilot).view()
        assert view
        assert view.top > 1000
        await pilot.press("plus")
        view = chart_of(pilot).view()
        assert view
        assert 1.9 < view.top < 2.2


async def test_a_cursor_line_says_the_values_and_escape_takes_it_away() -> None:
    async with ChartApp("Loss").run_test(size=(100, 20)) as pilot:
        show(pilot, [(x, NAN if x == 98 else y) for x, y in CURVE], [(99, 1.25)])
        await pilot.press("shift+left")
        assert "step 100  training 1" in rows(pilot)[0]
        assert sum("│" in row[20:] for row in rows(pilot)) > 10
        await pilot.press("shift+left")
        assert "step 99  training 1.01  × 1.25" in rows(pilot)[0]
        await pilot.press("shift+left")
        assert "step 98  training nan" in rows(pilot)[0]
        await pilot.press("shift+right", "shift+right")
        assert "step 100" in rows(pilot)[0]
        await pilot.press("escape")
        assert "step" not in rows(pilot)[0]


async def test_of_many_points_in_a_column_the_cursor_says_lowest_and_highest() -> None:
    async with ChartApp("Loss").run_test(size=(100, 20)) as pilot:
        show(pilot, [(float(x), 9.0 if x == 1985 else 1.0) for x in range(2000)])
        await pilot.press("shift+left", "shift+left")
        assert "training 1 to 9" in rows(pilot)[0]


async def test_the_mouse_zooms_drags_inspects_and_shows_all() -> None:
    async with ChartApp("Loss").run_test(size=(80, 20)) as pilot:
        show(pilot, CURVE)
        await pilot._post_mouse_events([events.MouseScrollUp], LineChart, offset=(42, 10), button=0)
        left, right = shown(pilot)
        assert right - left == pytest.approx(99 * 0.8)
        assert left > 1
        assert right < 100, "the place under the mouse stays"
        await pilot.mouse_down(LineChart, offset=(30, 10))
        await pilot._post_mouse_events([events.MouseMove], LineChart, offset=(35, 10), button=1)
        await pilot.mouse_up(LineChart, offset=(35, 10))
        assert shown(pilot)[0] < left
        assert chart_of(pilot).cursor is None, "a drag is no click"
        await pilot.mouse_down(LineChart, offset=(30, 10))
        left = shown(pilot)[0]
        await pilot.hover(LineChart, offset=(60, 10))
        await pilot._post_mouse_events([events.MouseMove], LineChart, offset=(65, 10), button=1)
        assert shown(pilot)[0] == left, "the button was let go outside"
        await pilot.click(LineChart, offset=(40, 10))
        assert "training" in rows(pilot)[0]
        await pilot.click(LineChart, offset=(40, 10), times=2)
        assert shown(pilot) == (1, 100)
        assert chart_of(pilot).cursor is None


async def test_lines_on_each_other_are_told_apart_by_marks() -> None:
    async with ChartApp("Memory").run_test(size=(100, 20)) as pilot:
        lines = [Line(f"GPU {n}", [(float(x), 5.0) for x in range(50)], str(n)) for n in range(4)]
        chart_of(pilot).show(lines)
        plot = "".join(rows(pilot)[1:-2])
        assert all(str(n) in plot for n in range(4)), "none hides another"
        assert "0 GPU 0  1 GPU 1  2 GPU 2  3 GPU 3" in rows(pilot)[0]


async def test_runs_are_laid_over_each_other_by_name() -> None:
    async with ChartApp("Loss").run_test(size=(100, 20)) as pilot:
        other = [(x, y + 1) for x, y in CURVE[:40]]
        chart_of(pilot).show([Line("first", CURVE), Line("second", other)])
        assert "a first  b second" in rows(pilot)[0]
        await pilot.press("shift+left")
        assert "a 1  b 2.6" in rows(pilot)[0]
        chart_of(pilot).show([Line("second", other)])
        assert chart_of(pilot).whole == (1, 40)


async def test_x_is_the_time_where_it_is_known() -> None:
    async with ChartApp("Loss").run_test(size=(100, 20)) as pilot:
        chart, clock = chart_of(pilot), Clock()
        chart.by_time = True
        chart.show([Line("training", CURVE, clock=clock)])
        assert not chart.time, "nobody knows when which step was done"
        clock.follow([(step, 1e9 + 60 * step) for step, _ in CURVE])
        chart.show([Line("training", [*CURVE, (101.0, 0.9)], clock=clock)])
        assert chart.whole == (0, 6000)
        assert "1:00:00" in rows(pilot)[-1]
        await pilot.press("plus")
        chart.by_time = False
        assert shown(pilot) == (51, 101), "the same part of the run"


async def test_samples_by_the_clock_have_a_place_among_steps() -> None:
    async with ChartApp("Memory").run_test(size=(100, 20)) as pilot:
        chart, clock = chart_of(pilot), Clock()
        samples = [(1e9 + second, 5.0) for second in range(-100, 6000, 10)]
        chart.show([Line("GPU 0", samples, by_wall=True, clock=clock)])
        assert chart.time, "before the first step there is the time alone"
        clock.follow([(step, 1e9 + 60 * step) for step, _ in CURVE])
        chart.show([Line("GPU 0", [*samples, (1e9 + 6000, 5.0)], by_wall=True, clock=clock)])
        assert not chart.time
        assert chart.whole == (0, 100)


async def test_only_what_changed_is_painted() -> None:
    async with ChartApp("Loss").run_test(size=(80, 20)) as pilot:
        show(pilot, CURVE)
        await pilot.pause()
        chart, painted = chart_of(pilot), []
        chart.refresh = lambda *regions, **_: painted.extend(regions)  # type: ignore[method-assign]
        show(pilot, CURVE)
        assert painted == []
        chart.inspect(50)
        assert painted
        assert max(region.width for region in painted) < 80
        painted.clear()
        chart.inspect(52)
        assert sum(region.area for region in painted) < 20 * 70


async def test_a_new_point_is_painted_without_the_rest() -> None:
    async with ChartApp("Loss").run_test(size=(80, 20)) as pilot:
        curve = [(float(x), float(x % 7)) for x in range(1, 2001)]
        show(pilot, curve)
        await pilot.pause()
        chart, painted = chart_of(pilot), []
        chart.refresh = lambda *regions, **_: painted.append(sum(region.area for region in regions))  # type: ignore[method-assign]
        for x in range(2001, 2017):
            curve.append((float(x), float(x % 7)))
            show(pilot, curve)
        assert len(painted) <= 16
        assert sum(area > 400 for area in painted) <= 1, "the axis moves now and then only"


async def test_smoothing_is_drawn_where_it_is_wanted() -> None:
    async with ChartApp().run_test(size=(80, 20)) as pilot:
        show(pilot, [(float(x), float(x % 2)) for x in range(400)])
        with_it = rows(pilot)
        chart_of(pilot).smoothing = 0.0
        assert rows(pilot) != with_it


@pytest.mark.parametrize("key", ["plus", "minus", "left", "right", "home", "end", "0", "f", "shift+left", "escape"])
async def test_no_key_harms_a_chart_without_points(key: str) -> None:
    async with ChartApp("Loss").run_test(size=(80, 20)) as pilot:
        await pilot.press(key)
        show(pilot, [(3.0, 1.0)])
        await pilot.press(key, key)
        assert len(rows(pilot)) == 20


async def test_wide_characters_in_a_name_keep_the_cells_in_place() -> None:
    async with ChartApp("Loss").run_test(size=(80, 20)) as pilot:
        chart_of(pilot).show([Line("漢字の実行", CURVE), Line("e\u0301te\u0301", CURVE)])
        assert "漢字の実行" in rows(pilot)[0]
