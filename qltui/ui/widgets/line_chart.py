"""A live line chart in braille: cheap at any number of points, and no spike is ever averaged away."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from qltui.ui.plotting import Point, Points, View, log_ticks, tick_text, ticks, trace, view_of

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_LABELS = 4
"""Labels an axis has at most."""
EMPTY_CELL = 0x2800


class Frame(NamedTuple):
    """How a chart's area is divided: the plot, a gutter left of it for labels and two rows of axis under it."""

    gutter: int
    columns: int
    rows: int
    axis: bool


class LineChart(Widget):
    """Raw values, a smoothed curve over them, and the points of a second series as ``×``.

    Values that are no number leave a gap, marked ``!`` at the top.
    """

    COMPONENT_CLASSES = {
        "line-chart--axis", "line-chart--label", "line-chart--grid", "line-chart--raw", "line-chart--smooth",
        "line-chart--mark", "line-chart--gap", "line-chart--empty",
    }  # fmt: skip
    DEFAULT_CSS = """
    LineChart {
        & .line-chart--axis { color: $rule; }
        & .line-chart--label { color: $muted; }
        & .line-chart--grid { color: $rule 60%; }
        & .line-chart--raw { color: $primary 45%; }
        & .line-chart--smooth { color: $primary; text-style: bold; }
        & .line-chart--mark { color: $accent; text-style: bold; }
        & .line-chart--gap { color: $error; text-style: bold; }
        & .line-chart--empty { color: $muted; }
    }
    """

    log_scale = reactive(False, init=False)
    """Whether heights are logarithmic; values of zero and less are then left out."""

    def __init__(self, *, empty: str, id: str | None = None) -> None:
        """Make a chart that says ``empty`` until there is something to draw."""
        super().__init__(id=id)
        self._empty = empty
        self._line = Points()
        self._marks = Points()
        self._lines: list[Strip] = []
        self._drawn: tuple[Size, str] | None = None

    def show(self, line: Sequence[Point], marks: Sequence[Point] = ()) -> None:
        """Draw what the two series hold now; they may have grown, been thinned or begun anew."""
        changed = self._line.follow(line)
        if self._marks.follow(marks) or changed:
            self._redraw()

    def watch_log_scale(self) -> None:
        self._redraw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn = None

    def render_line(self, y: int) -> Strip:
        if self._drawn != (self.content_size, self.app.theme):
            self._lines = self._draw()
            self._drawn = (self.content_size, self.app.theme)
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.content_size.width, self.rich_style)

    def _redraw(self) -> None:
        """Draw, and repaint only the rows that came out differently."""
        if not self.is_attached or not self.content_size:
            return
        before, self._lines = self._lines, self._draw()
        self._drawn = (self.content_size, self.app.theme)
        if len(before) != len(self._lines):
            self.refresh()
            return
        # Regions to refresh are counted from the widget's corner, its border included.
        left, top = self.content_region.offset - self.region.offset
        width = self.content_size.width
        rows = [y for y, (old, new) in enumerate(zip(before, self._lines, strict=True)) if old != new]
        if rows:
            self.refresh(*(Region(left, top + y, width, 1) for y in rows))

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"line-chart--{part}")

    def _draw(self) -> list[Strip]:
        width, height = self.content_size
        view = view_of([(self._line.x, self._line.y), (self._marks.x, self._marks.y)], self.log_scale)
        if view is None or width < 4 or height < 1:
            return self._draw_empty(width, height)
        axis = height >= 5 and width >= 24
        plot_rows = height - 2 if axis else height
        levels = self._levels(view, plot_rows) if axis else {}
        gutter = max(map(len, levels.values()), default=0) + 1 if axis else 0
        frame = Frame(gutter, width - gutter - axis, plot_rows, axis)
        lines = self._draw_plot(view, frame, levels)
        return lines + self._draw_axis(view, frame) if axis else lines

    def _draw_empty(self, width: int, height: int) -> list[Strip]:
        style = self._style("empty")
        text = "not a number so far" if self._line.gaps else self._empty
        return [
            Strip([Segment(text[:width].center(width) if y == height // 2 else " " * width, style)], width)
            for y in range(height)
        ]

    def _levels(self, view: View, rows: int) -> dict[int, str]:
        """Labels of the y axis by row."""
        most = min(MOST_LABELS, max(2, rows // 3))
        if view.log:
            values = log_ticks(view.bottom, view.top, most)
            step = 0.0
        else:
            values = ticks(view.bottom, view.top, most)
            step = values[1] - values[0] if len(values) > 1 else 0.0
        return {round((1 - view.height_of(value)) * (rows - 1)): tick_text(value, step) for value in values}

    def _draw_plot(self, view: View, frame: Frame, levels: dict[int, str]) -> list[Strip]:
        _, columns, rows, axis = frame
        line = self._line
        raw = trace(line.x, line.y, view, columns, rows, line.gaps)
        smooth = trace(line.x, line.smooth, view, columns, rows, line.gaps)
        marks = self._cells(view, frame, self._marks)
        gaps = {round(view.across(x) * (columns - 1)) for x in line.gaps if view.left <= x <= view.right}
        axis_style, label_style, grid_style = self._style("axis"), self._style("label"), self._style("grid")
        raw_style, smooth_style = self._style("raw"), self._style("smooth")
        strips = []
        for row in range(rows):
            cells: list[tuple[str, Style]] = []
            for column in range(columns):
                if row == 0 and column in gaps:
                    cells.append(("!", self._style("gap")))
                elif (column, row) in marks:
                    cells.append(("×", self._style("mark")))
                elif bits := smooth[row][column]:
                    cells.append((chr(EMPTY_CELL + bits), smooth_style))
                elif bits := raw[row][column]:
                    cells.append((chr(EMPTY_CELL + bits), raw_style))
                else:
                    cells.append(("┈" if row in levels else " ", grid_style))
            segments = list(runs(cells))
            if axis:
                label = levels.get(row, "").rjust(frame.gutter - 1) + " "
                segments = [Segment(label, label_style), Segment("┤" if row in levels else "│", axis_style), *segments]
            strips.append(Strip(segments, frame.gutter + axis + columns))
        return strips

    def _cells(self, view: View, frame: Frame, points: Points) -> set[tuple[int, int]]:
        """Column and row of the cell each point falls into."""
        return {
            (round(view.across(x) * (frame.columns - 1)), round((1 - view.height_of(y)) * (frame.rows - 1)))
            for x, y in zip(points.x, points.y, strict=True)
            if y > 0 or not view.log
        }

    def _draw_axis(self, view: View, frame: Frame) -> list[Strip]:
        gutter, columns, _, _ = frame
        values = [value for value in ticks(view.left, view.right, MOST_LABELS) if value == int(value)]
        places = {round(view.across(value) * (columns - 1)): tick_text(value) for value in values}
        rule = "".join("┬" if column in places else "─" for column in range(columns))
        labels = [" "] * columns
        free = 0
        for place, text in places.items():
            begin = min(max(place - len(text) // 2, 0), columns - len(text))
            if begin >= free:
                labels[begin : begin + len(text)] = text
                free = begin + len(text) + 1
        indent, axis_style = " " * gutter, self._style("axis")
        return [
            Strip([Segment(f"{indent}╰{rule}", axis_style)], gutter + 1 + columns),
            Strip([Segment(f"{indent} {''.join(labels)}", self._style("label"))], gutter + 1 + columns),
        ]


def runs(cells: Sequence[tuple[str, Style]]) -> list[Segment]:
    """Characters with their styles as segments, neighbours of one style joined."""
    segments: list[Segment] = []
    text, style = "", Style()
    for character, next_style in cells:
        if text and next_style is not style:
            segments.append(Segment(text, style))
            text = ""
        text += character
        style = next_style
    return [*segments, Segment(text, style)] if text else segments
