"""Curves of several runs in one chart, a line each; it goes on with those that are live."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual import on, work
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.worker import Worker, WorkerState

from engine.events import RunDirectory
from qltui.runs.overlay import MOST, RunCurves, newest
from qltui.ui import words
from qltui.ui.screens.chart import MARKED
from qltui.ui.screens.page import HELP, Page
from qltui.ui.widgets.chart_canvas import STRENGTHS
from qltui.ui.widgets.chart_drawing import COLOURS
from qltui.ui.widgets.chart_lines import Line
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.line import Line as TextLine
from qltui.ui.widgets.line_chart import LineChart
from qltui.ui.widgets.runs_columns import fitted
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from textual.app import ComposeResult

    from qltui.ui.widgets import chart_drawing as drawing

READ_SECONDS = 0.1
"""Time spent on a run before the next has its turn."""
POLL_SECONDS = 1
AXES = ("step", "tokens", "time")


class Kind(NamedTuple):
    """A series that is laid over those of other runs."""

    series: str
    title: str
    written: Callable[[float | None], str]
    smoothed: bool = True
    unit: float = 1.0


KINDS = (
    Kind("loss", "Loss", lambda value: words.number(value, ".4f")),
    Kind("eval_loss", "Evaluation loss", lambda value: words.number(value, ".4f"), smoothed=False),
    Kind("grad_norm", "Gradient norm", lambda value: words.number(value, ".3g")),
    Kind("tokens_per_second", "Tokens/s", words.number),
    Kind("memory", "Memory of rank 0", words.size, smoothed=False, unit=2**30),
)


class OverlayChart(LineChart):
    """A chart whose x axis may count tokens, and whose lines are named under it."""

    axis = "step"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "open" and super().check_action(action, parameters)

    @property
    def state(self) -> str:
        """All of how it is drawn, in words."""
        smoothed = [f"smoothed {self.smoothing:g}"] if self.smoothed and self.smoothing else []
        part = super().state.removeprefix("log").removeprefix(" · ")
        if self.axis == "tokens":
            part = part.replace(" steps", " tokens")
        scale = ["logarithmic"] if self.log_scale else []
        return " · ".join([*([part] if part else []), f"by {self.axis}", *scale, *smoothed])

    def readout(self) -> list[drawing.Text]:
        """Place and values at the cursor."""
        told = super().readout()
        if told and self.axis == "tokens" and self.cursor is not None:
            told[0] = (f"{self.cursor:,.0f} tokens", told[0][1])
        return told

    def _values_in_heading(self) -> bool:
        return False

    def _heading_left(self) -> list[drawing.Text]:
        return [(self.title, "title")]

    def _heading_rights(self) -> list[list[drawing.Text]]:
        return [[(self.state, "state")]]


class Overlay(Page):
    """The runs are told apart by digits on their lines, and by colour."""

    CSS = """
    Overlay {
        & OverlayChart { height: 1fr; margin: 0 1; }
        & #legend { height: auto; padding: 0 2; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """
    BINDINGS = [
        Binding("tab,n", "turn(1)", "next series", id="overlay.next", tooltip="The next series"),
        Binding("shift+tab,p", "turn(-1)", id="overlay.previous", show=False, tooltip="The series before"),
        Binding("x", "axis", "axis", id="overlay.axis", tooltip="By step, by tokens trained on, or by time"),
        Binding("l", "log_scale", "log-y", id="overlay.log-scale", tooltip="Logarithmic or linear y axis"),
        Binding("s", "smoothing", "smooth", id="overlay.smoothing", tooltip="Smooth more, or not at all"),
        HELP,
        Binding("q,escape", "back", "back", id="overlay.back", key_display="q", tooltip="Back to the runs"),
    ]

    class Read(Message):
        """The runs were read on."""

        def __init__(self, lines: list[Line], legend: list[dict[str, Any]], kind: Kind, axis: str, whole: bool) -> None:
            super().__init__()
            self.lines, self.legend, self.kind, self.axis, self.whole = lines, legend, kind, axis, whole

    def __init__(self, run_paths: Sequence[Path]) -> None:
        """Show ``MOST`` runs at most."""
        super().__init__()
        self._runs = [RunCurves(RunDirectory(path)) for path in run_paths[:MOST]]
        self._kind, self._axis = KINDS[0], AXES[0]
        self._legend: list[dict[str, Any]] = []
        self._is_reading = self._is_due = False

    def compose(self) -> ComposeResult:
        yield TitleBar(f"{len(self._runs)} run{'s' * (len(self._runs) != 1)} over each other")
        yield OverlayChart(KINDS[0].title, empty="reading …", written=KINDS[0].written, id="overlay")
        yield TextLine(id="legend", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.chart.focus()
        self.set_interval(POLL_SECONDS, self._follow)
        self._poll()

    @property
    def chart(self) -> OverlayChart:
        """The one chart."""
        return self.query_one(OverlayChart)

    # Reading

    def _follow(self) -> None:
        """Read on where there may be more."""
        if not all(run.is_finished for run in self._runs):
            self._poll()

    def _poll(self) -> None:
        self._is_due = self._is_reading
        if not self._is_reading:
            self._is_reading = True
            self._read(self._kind, self._axis)

    @work(thread=True, group="overlay", exit_on_error=False)
    def _read(self, kind: Kind, axis: str) -> None:
        for run in self._runs:
            if not run.is_finished:
                run.read(READ_SECONDS)
        lines = [line_of(run, str(place), kind, axis) for place, run in enumerate(self._runs, 1)]
        legend = [{**run.described, "newest": newest(run.series[kind.series])} for run in self._runs]
        self.post_message(self.Read(lines, legend, kind, axis, all(run.is_caught_up for run in self._runs)))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Go on reading after a run that could not be read."""
        if event.worker.group == "overlay" and event.state is WorkerState.ERROR:
            self._is_reading = False
        super().on_worker_state_changed(event)

    @on(Read)
    def _show(self, event: Read) -> None:
        self._is_reading = False
        if self._is_due or not event.whole:
            self._poll()
        if (event.kind, event.axis) != (self._kind, self._axis):  # something else is asked for by now
            return
        chart = self.chart
        if (chart.title, chart.axis) != (event.kind.title, event.axis):
            chart.show([])
            chart.span.show_all()
            chart.inspect(None)
            chart.title, chart.axis, chart.unit = event.kind.title, event.axis, event.kind.unit
            chart.written, chart.smoothed = event.kind.written, event.kind.smoothed
            chart.by_time = event.axis == "time"
            chart.show([])
        chart.empty = "nothing yet" if event.whole else "reading …"
        self._legend = event.legend
        chart.show(event.lines)
        self._say()

    # Legend

    @on(LineChart.Moved)
    def _say(self) -> None:
        """The runs, each with its value at the cursor line, or its newest."""
        told = self.chart.readout()
        at = {mark.strip(): value for (mark, _), (value, _) in zip(told[1::2], told[2::2], strict=True)}
        lines = [Content.styled(told[0][0] if told else "newest values", "$muted")]
        width = max(self.size.width - 4, 20)
        for number, one in enumerate(self._legend):
            mark = str(number + 1)
            value = (
                (at.get(mark, "–") if len(self._legend) > 1 else next(iter(at.values()), "–"))
                if told
                else self._newest(one)
            )
            lines.append(legend_line(one, mark, MARKED[number % COLOURS], value, width))
        self.query_one("#legend", TextLine).update(Content("\n").join(lines))

    def _newest(self, one: dict[str, Any]) -> str:
        point = one["newest"]
        return f"{self._kind.written(point.value)} at step {point.step:,.0f}" if point else "–"

    # Keys

    def action_turn(self, by: int) -> None:
        """Another series."""
        self._kind = KINDS[(KINDS.index(self._kind) + by) % len(KINDS)]
        self._poll()

    def action_axis(self) -> None:
        """Another x axis."""
        self._axis = AXES[(AXES.index(self._axis) + 1) % len(AXES)]
        self._poll()

    def action_log_scale(self) -> None:
        """Another y axis."""
        self.chart.log_scale = not self.chart.log_scale

    def action_smoothing(self) -> None:
        """The next strength, after the last none."""
        chart = self.chart
        chart.smoothing = next((strength for strength in STRENGTHS if strength > chart.smoothing), STRENGTHS[0])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Some series are not smoothed."""
        return None if action == "smoothing" and not self._kind.smoothed else True


def line_of(run: RunCurves, mark: str, kind: Kind, axis: str) -> Line:
    """A run's series as a line of the chart."""
    points = run.series[kind.series]
    name = f"{mark} {run.run.path}"
    if axis == "tokens":
        return Line(name, run.by_tokens(points), mark)
    return Line(name, list(points), mark, clock=run.clock() if axis == "time" else None)


def legend_line(one: dict[str, Any], mark: str, colour: str, value: str, width: int) -> Content:
    """A run in the legend: mark, name, value and what it is."""
    state = words.state(words.plain(one["state"]))[0]
    about = " · ".join(words.plain(one[key]) for key in ("method", "strategy") if one[key])
    name = max(min(width - 44, 44), 14)
    return Content.assemble(
        (f"{mark} ━ ", f"bold {colour}"), (f"{fitted(words.plain(one['name']), name, False)}  ", colour),
        f"{fitted(value, 24, False)}  ", (f"{state}  {about}", "$muted"),
    )  # fmt: skip
