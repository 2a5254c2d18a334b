"""One chart large, live as the run goes on, with all that can be done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on, work
from textual.binding import Binding
from textual.content import Content
from textual.message import Message

from qltui.runs.chart_export import ExportedLine, Picture, Written, export_chart
from qltui.ui import words
from qltui.ui.screens.page import HELP, Page
from qltui.ui.widgets.chart_canvas import STRENGTHS
from qltui.ui.widgets.chart_drawing import COLOURS
from qltui.ui.widgets.chart_finer import Finer
from qltui.ui.widgets.chart_grid import KINDS
from qltui.ui.widgets.chart_lines import Followed
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.line import Line as TextLine
from qltui.ui.widgets.line_chart import LineChart
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import ComposeResult

    from qltui.ui.widgets.chart_grid import Charts
    from qltui.ui.widgets.chart_lines import Line

AXES = ("by step", "by time")
MARKED = ("$primary", "$accent", "$secondary", "$success", "$warning", "$foreground")
"""Colours of lines, as the chart draws them."""


class LargeChart(LineChart):
    """A chart with room for its keys in the footer."""

    BINDINGS = [
        Binding("plus,equals_sign,up", "zoom(-1)", "zoom", id="large.zoom", key_display="+ -",
                tooltip="Show less of the run, larger, or more of it"),
    ]  # fmt: skip

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "open" and super().check_action(action, parameters)

    @property
    def state(self) -> str:
        """All of how it is drawn, in words."""
        part = super().state.removeprefix("log").removeprefix(" · ")
        words = [part or "all of the run", AXES[self.time], "logarithmic" if self.log_scale else "linear"]
        if self.smoothed:
            words.append(f"smoothed {self.smoothing:g}" if self.smoothing else "not smoothed")
        return " · ".join(["live", *words] if self.span.live else words)

    def _values_in_heading(self) -> bool:
        return False


class ChartScreen(Page):
    """Begins as the small chart was, and leaves that as it is."""

    CSS_PATH = "chart.tcss"
    BINDINGS = [
        Binding("l", "log_scale", "log-y", id="large.log-scale", tooltip="Logarithmic or linear y axis"),
        Binding("s", "smoothing", "smooth", id="large.smoothing", tooltip="Smooth more, or not at all"),
        Binding("e", "export", "export", id="large.export", tooltip="Write it as CSV, SVG and PNG"),
        Binding("t", "axis", "time", id="large.axis", show=False, tooltip="The time since the first step, or the step"),
        Binding("tab,n", "turn(1)", "next", id="large.next", show=False, tooltip="The next chart"),
        Binding("shift+tab,p", "turn(-1)", "previous", id="large.previous", show=False, tooltip="The chart before"),
        HELP,
        Binding("q,escape", "back", "back", id="large.back", key_display="q", tooltip="Back to all charts"),
    ]

    class Exported(Message):
        """Files were written, or could not be."""

        def __init__(self, written: Written | None, problem: str = "") -> None:
            super().__init__()
            self.written, self.problem = written, problem

    def __init__(self, charts: Charts, small: LineChart, run_path: Path) -> None:
        """Show the chart of ``charts`` that is ``small``, large; ``run_path`` is the folder that exports go to."""
        super().__init__()
        self._charts, self._small, self._run_path = charts, small, run_path

    def compose(self) -> ComposeResult:
        yield TitleBar(words.plain(self._run_path.name))
        yield self._large(self._small)
        yield TextLine(id="values", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self._charts.follow(self._follow)
        self.chart.focus()
        self._follow(self._charts.lines)

    def on_unmount(self) -> None:
        self._charts.unfollow(self._follow)

    @property
    def chart(self) -> LineChart:
        """The large one."""
        return self.query_one(LineChart)

    def _large(self, small: LineChart) -> LineChart:
        """A chart of the same, in the same state."""
        chart = LargeChart(
            small.title.partition(" [")[0], empty=small.empty, written=small.written, smoothed=small.smoothed,
            unit=small.unit, unit_name=small.unit_name, id="large",
        )  # fmt: skip
        chart.span.window, chart.span.end = small.span.window, small.span.end
        chart.set_reactive(LineChart.log_scale, small.log_scale)
        chart.set_reactive(LineChart.by_time, small.by_time)
        chart.set_reactive(LineChart.smoothing, small.smoothing)
        chart.cursor = small.cursor
        chart.finer = Finer(small.finer.reader)
        return chart

    def _follow(self, lines: dict[str, list[Line]]) -> None:
        if not self.query(LineChart):  # it is being left: its widgets go first
            return
        name = str(self._small.id).removeprefix("chart-")
        if name in lines:
            self.chart.show(lines[name])
        self._say()

    @on(LineChart.Moved)
    def _say(self) -> None:
        """The values at the cursor."""
        chart = self.chart
        said = [Content(text) if part == "value" else _coloured(text, part) for text, part in chart.readout()]
        hint = Content.styled("shift+← → values   ← → move   0 all   f freeze   t time   n next chart", "$muted")
        self.query_one("#values", TextLine).update(Content("").join(said) if said else hint, layout=False)

    # Keys

    def action_log_scale(self) -> None:
        """Another y axis."""
        self.chart.log_scale = not self.chart.log_scale
        self._say()

    def action_smoothing(self) -> None:
        """The next strength, after the last none."""
        chart = self.chart
        chart.smoothing = next((strength for strength in STRENGTHS if strength > chart.smoothing), STRENGTHS[0])
        self._say()

    def action_axis(self) -> None:
        """Another x axis, where both are known."""
        chart, before = self.chart, self.chart.time
        chart.by_time = not before
        if chart.time == before:
            chart.by_time = before
            self.app.notify("When which step was done is not known.", severity="warning", timeout=4)
        self._say()

    async def action_turn(self, by: int) -> None:
        """Show another chart of the run."""
        names = [kind.name for kind in KINDS]
        at = names.index(str(self._small.id).removeprefix("chart-"))
        self._small = self._charts.chart(names[(at + by) % len(names)])
        await self.chart.remove()
        await self.mount(self._large(self._small), before="#values")
        self.chart.focus()
        self._follow(self._charts.lines)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Some charts are not smoothed."""
        return None if action == "smoothing" and not self._small.smoothed else True

    # Export

    def action_export(self) -> None:
        """Ask where to, and write it."""
        from qltui.ui.screens.chart_saving import ChartSaving

        view = self.chart.view()
        if view is None:
            self.app.notify("There is nothing to export yet.", severity="warning", timeout=4)
            return
        chart, time = self.chart, self.chart.time
        lines = [_exported(one, time) for one in chart.shown if one.curve.x or one.curve.gaps]
        title = f"{words.plain(self._run_path.name)}: {chart.title}{', ' * bool(chart.unit_name)}{chart.unit_name}"
        picture = Picture(title, lines, view, time, chart.way.smoothing, chart.unit)

        def answered(stem: Path | None) -> None:
            if stem is not None:
                self._write(picture, stem)

        self.app.push_screen(ChartSaving(self._run_path, chart.title), answered)

    @work(thread=True, group="export", exit_on_error=False)
    def _write(self, picture: Picture, stem: Path) -> None:
        try:
            self.post_message(self.Exported(export_chart(picture, stem)))
        except OSError as error:
            problem = f"{words.path(error.filename or stem)} can't be written ({error.strerror}): say another place."
            self.post_message(self.Exported(None, problem))

    @on(Exported)
    def _say_where(self, event: Exported) -> None:
        if event.written is None:
            self.app.notify(words.plain(event.problem), title="Not exported", severity="error", markup=False, timeout=8)
            return
        first, *more = event.written.files
        files = ", ".join([words.path(first), *(path.suffix for path in more)])
        note = f"\n{event.written.note}" if event.written.note else ""
        self.app.notify(f"{files}{note}", title="Exported", markup=False, timeout=8)


def _coloured(text: str, part: str) -> Content:
    number = int(part.rpartition("-")[2]) if part.startswith("line-") else 0
    return Content.styled(text, f"bold {MARKED[number % COLOURS]}")


def _exported(one: Followed, time: bool) -> ExportedLine:
    """A line as it is now, for a thread that writes it down."""
    still = Followed(one.line)
    still.curve = one.curve.copy()
    clock = one.line.clock
    return ExportedLine(
        one.line.name, still.curve, lambda place: still.own(place, time), lambda x: still.placed(x, time),
        one.line.scattered, one.line.by_wall, clock.time_of if clock and not one.line.by_wall else None,
    )  # fmt: skip
