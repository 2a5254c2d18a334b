"""The chart as a widget: what its rows show, at any size."""

from __future__ import annotations

import pytest
from support.screen import until
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from qltui.ui.widgets.line_chart import LineChart

CURVE = [(float(step), 2.0 - step / 100) for step in range(1, 101)]


class ChartApp(App[None]):
    """A chart and nothing else."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"rule": "#333333", "muted": "#888888"}

    def compose(self) -> ComposeResult:
        yield LineChart(empty="nothing yet")


def rows(pilot: Pilot[None]) -> list[str]:
    chart = pilot.app.query_one(LineChart)
    strips = [chart.render_line(y) for y in range(chart.content_size.height)]
    assert all(segment.style is not None for strip in strips for segment in strip)
    assert {strip.cell_length for strip in strips} == {chart.content_size.width}
    return [strip.text for strip in strips]


async def test_it_says_what_is_awaited_until_there_is_a_value() -> None:
    async with ChartApp().run_test(size=(60, 15)) as pilot:
        assert any("nothing yet" in row for row in rows(pilot))
        pilot.app.query_one(LineChart).show([(1, float("nan"))])
        assert any("not a number so far" in row for row in rows(pilot))


async def test_it_marks_evaluations_and_values_that_are_no_number() -> None:
    async with ChartApp().run_test(size=(60, 15)) as pilot:
        broken = [(x, float("nan") if x == 50 else y) for x, y in CURVE]
        pilot.app.query_one(LineChart).show(broken, [(20, 1.9), (80, 1.2)])
        shown = rows(pilot)
        assert shown[0].count("!") == 1
        assert "".join(shown).count("×") == 2


async def test_axes_have_at_most_four_labels() -> None:
    async with ChartApp().run_test(size=(120, 40)) as pilot:
        pilot.app.query_one(LineChart).show(CURVE)
        *plot, rule, labels = rows(pilot)
        assert 2 <= sum("┤" in row for row in plot) <= 4
        assert rule.count("┬") == len(labels.split()) <= 4


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (10, 3), (24, 5), (40, 10), (200, 60)])
async def test_it_is_drawn_whole_at_any_size(size: tuple[int, int]) -> None:
    async with ChartApp().run_test(size=size) as pilot:
        pilot.app.query_one(LineChart).show(CURVE, [(50, 1.5)])
        assert len(rows(pilot)) == size[1]


async def test_it_follows_a_resize() -> None:
    async with ChartApp().run_test(size=(100, 30)) as pilot:
        pilot.app.query_one(LineChart).show(CURVE)
        await pilot.resize_terminal(50, 12)
        await until(pilot, lambda: len(rows(pilot)) == 12, "as high as the terminal")
        assert any(ord("\u2800") < ord(character) <= ord("\u28ff") for character in "".join(rows(pilot)))


async def test_the_logarithmic_axis_is_labelled_with_powers() -> None:
    async with ChartApp().run_test(size=(80, 24)) as pilot:
        chart = pilot.app.query_one(LineChart)
        chart.show([(float(x), 10.0 ** (3 - x)) for x in range(1, 7)])
        chart.log_scale = True
        labels = [row.split("┤")[0].strip() for row in rows(pilot) if "┤" in row]
        assert labels == ["10", "0.1", "0.001"]
