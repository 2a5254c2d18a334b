"""A run's charts side by side; one with the cursor can be shown large."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual import on
from textual.containers import Container
from textual.message import Message

from qltui.runs.curves import Clock
from qltui.ui import words
from qltui.ui.widgets.chart_lines import Line
from qltui.ui.widgets.line_chart import LineChart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from textual import events
    from textual.app import ComposeResult

    from qltui.runs.curves import Point
    from qltui.ui.widgets.chart_finer import Reader

MOST_GPUS = 8
"""GPUs that get a line each; of more, the one with the most and the one with the least are shown."""
MEMORY = ".memory_used"


class Kind(NamedTuple):
    """A chart of the grid."""

    name: str
    title: str
    written: Callable[[float | None], str]
    smoothed: bool
    empty: str = "nothing yet"
    unit: float = 1.0
    """What heights are labelled in."""
    unit_name: str = ""


KINDS = (
    Kind("loss", "Loss", lambda value: words.number(value, ".4f"), True, "the first step is still to come"),
    Kind("learning-rate", "Learning rate", words.rate, False),
    Kind("grad-norm", "Gradient norm", lambda value: words.number(value, ".3g"), True),
    Kind("tokens", "Tokens/s", words.number, True),
    Kind("memory", "Memory", words.size, False, unit=2**30, unit_name="GiB"),
)
SMALL = (60, 12)
"""Columns and rows below which there is room for one chart only."""
SIDE_BY_SIDE = 110
"""Columns from which the others stand beside the loss and not under it."""


class Charts(Container):
    """Loss, learning rate, gradient norm, tokens per second and memory of a run, laid out by the room there is.

    Where there is room for one only it is the loss; a key shows the next.
    """

    DEFAULT_CSS = """
    Charts {
        layout: vertical;
        & > #chart-loss { height: 1fr; }
        & > #chart-others { height: 1fr; layout: grid; grid-size: 2; grid-gutter: 0 2; }
        & LineChart { height: 1fr; min-height: 1; }
        &.-beside { layout: horizontal; }
        &.-beside > #chart-loss { width: 1fr; height: 100%; margin-right: 2; }
        &.-beside > #chart-others { width: 1fr; height: 100%; }
        &.-one > #chart-others { layout: vertical; }
        &.-one .-unseen { display: none; }
    }
    """

    class Opened(Message):
        """A chart is to be shown large."""

        def __init__(self, charts: Charts, chart: LineChart) -> None:
            super().__init__()
            self.charts, self.chart = charts, chart

        @property
        def control(self) -> Charts:
            return self.charts

    def __init__(self, *, key: str = "", id: str | None = None) -> None:
        """Make the charts; ``key``, which shows and hides them, is named in the first one's heading."""
        super().__init__(id=id)
        self._key = f" [{key}]" if key else ""
        self._clock = Clock()
        self._lines: dict[str, list[Line]] = {}
        self._followers: list[Callable[[dict[str, list[Line]]], None]] = []
        self._extremes = Extremes()
        self._one = KINDS[0].name

    def compose(self) -> ComposeResult:
        charts = [
            LineChart(
                kind.title + self._key * (kind is KINDS[0]), empty=kind.empty, written=kind.written,
                smoothed=kind.smoothed, unit=kind.unit, unit_name=kind.unit_name, id=f"chart-{kind.name}",
            )
            for kind in KINDS
        ]  # fmt: skip
        yield charts[0]
        yield Container(*charts[1:], id="chart-others")

    @property
    def lines(self) -> dict[str, list[Line]]:
        """What each chart shows, by its name."""
        return self._lines

    def chart(self, name: str) -> LineChart:
        """One of ``KINDS`` by its name."""
        return self.query_one(f"#chart-{name}", LineChart)

    def read_finer_by(self, reader: Reader) -> None:
        """Have parts of a long run that are looked at read by ``reader``, in threads."""
        for kind in KINDS:
            self.chart(kind.name).finer.reader = reader

    @property
    def focused(self) -> LineChart | None:
        """The chart with the cursor, if it is one of these."""
        one = self.screen.focused
        return one if isinstance(one, LineChart) and self in one.ancestors else None

    def show(self, series: Mapping[str, Sequence[Point]], telemetry: Mapping[str, Sequence[Point]]) -> None:
        """Draw what a snapshot of a run holds now."""
        for _ in self.show_in_parts(series, telemetry):
            pass

    def show_in_parts(
        self, series: Mapping[str, Sequence[Point]], telemetry: Mapping[str, Sequence[Point]]
    ) -> Iterator[None]:
        """The same, a chart at each step."""
        self._clock.follow(series.get("wall", ()))
        self._lines = {
            "loss": [
                Line("training", series.get("loss", ()), clock=self._clock, key="loss"),
                Line("evaluation", series.get("eval_loss", ()), scattered=True, clock=self._clock, key="eval_loss"),
            ],
            "learning-rate": [
                Line("learning rate", series.get("learning_rate", ()), clock=self._clock, key="learning_rate")
            ],
            "grad-norm": [Line("gradient norm", series.get("grad_norm", ()), clock=self._clock, key="grad_norm")],
            "tokens": [
                Line("tokens/s", series.get("tokens_per_second", ()), clock=self._clock, key="tokens_per_second")
            ],
            "memory": self._memory(series, telemetry),
        }
        for name, lines in self._lines.items():
            self.chart(name).show(lines)
            yield
        for follower in list(self._followers):
            follower(self._lines)

    def _memory(self, series: Mapping[str, Sequence[Point]], telemetry: Mapping[str, Sequence[Point]]) -> list[Line]:
        """A line for each GPU; without any, what rank 0 has allocated."""
        gpus = {
            name.removeprefix("gpu").removesuffix(MEMORY): points
            for name, points in telemetry.items()
            if name.startswith("gpu") and name.endswith(MEMORY) and points
        }
        if not gpus:
            return [Line("rank 0", series.get("memory", ()), clock=self._clock, key="memory")]
        if len(gpus) > MOST_GPUS:
            self._extremes.follow(gpus)
            return [
                Line(f"most of {len(gpus)} GPUs", self._extremes.highest, "+", by_wall=True, clock=self._clock),
                Line("least", self._extremes.lowest, "-", by_wall=True, clock=self._clock),
            ]
        order = sorted(gpus, key=lambda index: (len(index), index))
        return [Line(f"GPU {i}", gpus[i], i[-1:], by_wall=True, clock=self._clock) for i in order]

    def follow(self, follower: Callable[[dict[str, list[Line]]], None]) -> None:
        """Have ``follower`` called with the lines whenever there may be something new."""
        self._followers.append(follower)

    def unfollow(self, follower: Callable[[dict[str, list[Line]]], None]) -> None:
        """Call it no more."""
        if follower in self._followers:
            self._followers.remove(follower)

    # Layout

    def on_resize(self, event: events.Resize) -> None:
        """As many charts as there is room for."""
        columns, rows = event.size
        self.set_class(columns < SMALL[0] or rows < SMALL[1], "-one")
        self.set_class(columns >= SIDE_BY_SIDE and rows >= SMALL[1], "-beside")
        self._show_one()

    def _show_one(self) -> None:
        one = self.has_class("-one")  # elsewhere the class would change nothing but take its time
        for kind in KINDS:
            self.chart(kind.name).set_class(one and kind.name != self._one, "-unseen")
        self.query_one("#chart-others").set_class(one and self._one == "loss", "-unseen")

    def next_chart(self) -> None:
        """Move on to the next chart, which takes the place of the one before where there is room for one only."""
        charts = [self.chart(kind.name) for kind in KINDS]
        if self.focused in charts:
            self._one = KINDS[(charts.index(self.focused) + 1) % len(KINDS)].name
        self._show_one()
        self.chart(self._one).focus()

    def toggle_log(self) -> None:
        """Switch between a linear and a logarithmic y axis: of the chart with the cursor, else of the loss."""
        chart = self.focused or self.chart(self._one)
        chart.log_scale = not chart.log_scale

    @on(LineChart.Opened)
    def _open(self, event: LineChart.Opened) -> None:
        event.stop()
        self.post_message(self.Opened(self, event.chart))


class Extremes:
    """The highest and the lowest of many series at each time, followed while they grow."""

    def __init__(self) -> None:
        self.highest: list[Point] = []
        self.lowest: list[Point] = []

    def follow(self, many: Mapping[str, Sequence[Point]]) -> None:
        """Take over what came after the newest time known, of any series."""
        after = self.highest[-1][0] if self.highest else float("-inf")
        bounds: dict[float, tuple[float, float]] = {}
        for points in many.values():
            for x, y in reversed(points):
                if x <= after:
                    break
                low, high = bounds.get(x, (y, y))
                bounds[x] = min(low, y), max(high, y)
        for x in sorted(bounds):
            self.lowest.append((x, bounds[x][0]))
            self.highest.append((x, bounds[x][1]))
