"""The run's figures, each with its newest value and its course."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from qltui.ui import words
from qltui.ui.plotting import Point, Points, trace, view_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROWS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("loss", "loss", lambda value: words.number(value, ".4f")),
    ("eval_loss", "eval loss", lambda value: words.number(value, ".4f")),
    ("learning_rate", "learning rate", words.rate),
    ("grad_norm", "gradient norm", lambda value: words.number(value, ".3f")),
    ("tokens_per_second", "tokens/s", words.number),
)
"""Series, its label, and how its values are written."""

MOST_ROWS = 3
"""Rows a series takes at most; the third is left empty between courses."""
LABEL = 14
VALUE = 9


class Trends(Widget):
    """A row for each series of a run, more where there is room."""

    COMPONENT_CLASSES = {"trends--label", "trends--value", "trends--course"}
    DEFAULT_CSS = """
    Trends {
        & .trends--label { color: $muted; }
        & .trends--value { color: $foreground; text-style: bold; }
        & .trends--course { color: $primary 80%; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._series = {name: Points() for name, _, _ in ROWS}

    def show(self, series: Mapping[str, Sequence[Point]]) -> None:
        """Draw what the series hold now."""
        changed = [self._series[name].follow(series.get(name, ())) for name, _, _ in ROWS]
        if any(changed):
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        course_style = self.get_component_rich_style("trends--course")
        each = max(1, min(MOST_ROWS, self.content_size.height // len(ROWS)))
        index, line = divmod(y, each)
        if index >= len(ROWS):
            return Strip.blank(width, course_style)
        name, label, written = ROWS[index]
        points = self._series[name]
        columns = max(0, width - LABEL - VALUE - 3)
        course = " " * columns
        view = view_of([(points.x, points.y)])
        if view and columns > 3 and len(points.x) > 1:
            bits = trace(points.x, points.y, view, columns, each if each < 3 else each - 1, points.gaps)
            row = bits[line] if line < len(bits) else b""
            course = "".join(chr(0x2800 + bit) if bit else " " for bit in row).ljust(columns)
        value = written(points.y[-1] if points.y else None)
        if line > 0:
            label = value = ""
        segments = [
            Segment(label.ljust(LABEL), self.get_component_rich_style("trends--label")),
            Segment(value.rjust(VALUE) + "  ", self.get_component_rich_style("trends--value")),
            Segment(course, course_style),
        ]
        return Strip(segments).adjust_cell_length(width, course_style)
