"""A chart's cells: what stands in each and in which style, before it is given to Textual. No state."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from qltui.runs.axes import level_ticks, tick_text, ticks, time_text, time_ticks
from qltui.ui.plotting import cells_of, columns_of, edges_of, row_of
from qltui.ui.widgets.chart_styles import LINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.style import Style

    from qltui.runs.axes import View
    from qltui.ui.widgets.chart_lines import Followed

MOST_LABELS = 4
"""Labels an axis has at most."""
COLOURS = len(LINES)
"""Of lines; more begin anew, and marks still tell them apart."""
BETWEEN_MARKS = 9
"""Columns from a line's mark to that of the next line, where there is room."""
EMPTY_CELL = 0x2800
SMOOTHED_PER_COLUMN = 8
"""Points of a smoothed curve in a column of dots, at most."""

Text = tuple[str, str]
"""Words and the part of the chart they belong to, which gives them their style."""


class Row(NamedTuple):
    """Cells of one line: a character each, or none beside a wide one, and the part each belongs to."""

    characters: list[str]
    parts: list[str]

    def strip(self, styles: dict[str, Style]) -> Strip:
        segments, begin = [], 0
        for part, group in groupby(self.parts):
            end = begin + sum(1 for _ in group)
            segments.append(Segment("".join(self.characters[begin:end]), styles[part]))
            begin = end
        return Strip(segments, len(self.parts))

    def changes(self, before: Row) -> tuple[int, int] | None:
        """First cell that differs from the row before, and the one after the last."""
        if self == before or len(self.parts) != len(before.parts):
            return None if self == before else (0, len(self.parts))
        differ = [
            place
            for place, (one, other) in enumerate(zip(zip(*self, strict=True), zip(*before, strict=True), strict=True))
            if one != other
        ]
        return differ[0], differ[-1] + 1


class Frame(NamedTuple):
    """How a chart's area is divided: a gutter for labels left of the plot, and two rows of axis under it."""

    gutter: int
    columns: int
    rows: int
    axis: bool
    levels: dict[int, str]
    """Labels of the y axis by row."""


class Way(NamedTuple):
    """How lines are drawn."""

    time: bool
    """By seconds, not by step."""
    smoothing: float
    """From 0, not smoothed, to below 1."""


def framed(view: View, width: int, height: int, unit: float = 1.0) -> Frame:
    """The parts of an area of ``width`` by ``height`` cells; heights are labelled in ``unit``."""
    axis = height >= 5 and width >= 24
    rows = height - 2 if axis else height
    levels = _levels(view, rows, unit) if axis else {}
    gutter = max(map(len, levels.values()), default=0) + 1 if axis else 0
    return Frame(gutter, width - gutter - axis, rows, axis, levels)


def _levels(view: View, rows: int, unit: float) -> dict[int, str]:
    values, step = level_ticks(view, unit, min(MOST_LABELS, max(2, rows // 3)))
    return {row_of(value, view, rows): tick_text(value / unit, step) for value in values}


def plot(lines: Sequence[Followed], view: View, frame: Frame, way: Way) -> list[Row]:
    """The rows of the plot with the labels left of it."""
    columns, rows = frame.columns, frame.rows
    characters = [["┈" if row in frame.levels else " "] * columns for row in range(rows)]
    parts = [["grid"] * columns for _ in range(rows)]
    several = sum(not line.line.scattered for line in lines)
    apart = min(BETWEEN_MARKS, max(2, columns // (several + 1)))
    traced = [_traced(line, view, way, columns, rows) for line in lines]
    for number, (values, _) in enumerate(traced):
        kind = "raw" if way.smoothing else "line"
        _ink(values, f"{kind}-{number % COLOURS}", characters, parts, over=False)
    for number, (_, smoothed) in enumerate(traced):  # after the values of all, under which they could not be seen
        _ink(smoothed, f"line-{number % COLOURS}", characters, parts, over=True)
    _scatter(lines, view, way, characters, parts)
    grids = [smoothed or values for values, smoothed in traced]
    for number, (line, grid) in enumerate(zip(lines, grids, strict=True)):
        # Lines that lie on each other are told apart by marks at different columns.
        for column in range(2 + number * apart, columns, several * apart) if several > 1 else ():
            top = next((row for row, bits in enumerate(grid) if bits[column]), None)
            if top is not None:
                characters[top][column], parts[top][column] = line.line.mark, f"line-{number % COLOURS}"
    for line in lines:
        found = columns_of(line.curve.gaps, edges_of(view, columns, partial(line.own, time=way.time)))
        for column in found:
            characters[0][column], parts[0][column] = "!", "gap"
    if frame.axis:
        for row in range(rows):
            label = frame.levels.get(row, "").rjust(frame.gutter - 1) + " "
            characters[row][:0] = [*label, "┤" if row in frame.levels else "│"]
            parts[row][:0] = ["label"] * frame.gutter + ["axis"]
    return [Row(*row) for row in zip(characters, parts, strict=True)]


def with_cursor(rows: Sequence[Row], view: View, frame: Frame, cursor: float | None) -> list[Row]:
    """The rows of a plot with a line down at a place on the axis, if that is shown."""
    if cursor is None or not view.left <= cursor <= view.right:
        return list(rows)
    column = frame.gutter + frame.axis + round(view.across(cursor) * (frame.columns - 1))
    found = []
    for characters, parts in rows:
        line = "│" if characters[column] in " ┈" else characters[column]
        found.append(
            Row(
                [*characters[:column], line, *characters[column + 1 :]],
                [*parts[:column], "cursor", *parts[column + 1 :]],
            )
        )
    return found


def _traced(
    line: Followed, view: View, way: Way, columns: int, rows: int
) -> tuple[list[bytearray], list[bytearray]]:  # fmt: skip
    """The dots of a line that is drawn through, and those of its smoothed curve."""
    if line.line.scattered:
        return [], []
    curve = line.curve
    edges = edges_of(view, columns * 2, partial(line.own, time=way.time))
    values = line.values.trace(curve.x, curve.y, edges, view, rows, curve.gaps, curve.extremes)
    if not way.smoothing:
        return values, []
    begin, end = curve.within(edges[0], edges[-1])
    most = columns * 2 * SMOOTHED_PER_COLUMN
    xs, ys = curve.smoothed(max(begin - 1, 0), min(end + 1, len(curve)), way.smoothing, most)
    return values, line.smoothed.trace(xs, ys, edges, view, rows, curve.gaps)


def _scatter(
    lines: Sequence[Followed], view: View, way: Way, characters: list[list[str]], parts: list[list[str]]
) -> None:  # fmt: skip
    """Put down the points that stand on their own."""
    rows, columns = len(characters), len(characters[0])
    for number, line in enumerate(lines):
        if line.line.scattered:
            edges = edges_of(view, columns, partial(line.own, time=way.time))
            for column, row in cells_of(line.curve, edges, view, rows):
                characters[row][column], parts[row][column] = "×", f"line-{number % COLOURS}"


def _ink(
    grid: Sequence[bytearray], part: str, characters: list[list[str]], parts: list[list[str]], *, over: bool
) -> None:
    """Put dots down; ``over`` what is there in their cells, or together with its dots."""
    for row, bits in enumerate(grid):
        if not any(bits):
            continue
        row_characters, row_parts = characters[row], parts[row]
        for column, bit in enumerate(bits):
            if bit:
                there = ord(row_characters[column]) - EMPTY_CELL
                row_characters[column] = chr(EMPTY_CELL + (bit if over or not 0 < there < 256 else bit | there))
                row_parts[column] = part


def axis(view: View, frame: Frame, time: bool) -> list[Row]:
    """The rule under the plot and the labels under that."""
    gutter, columns = frame.gutter, frame.columns
    if time:
        values = time_ticks(view.left, view.right, MOST_LABELS)
    else:
        values = [value for value in ticks(view.left, view.right, MOST_LABELS) if value == int(value)]
    places = {round(view.across(value) * (columns - 1)): (time_text if time else tick_text)(value) for value in values}
    labels, free = [" "] * columns, 0
    for place, text in places.items():
        begin = min(max(place - len(text) // 2, 0), columns - len(text))
        if begin >= free:
            labels[begin : begin + len(text)] = text
            free = begin + len(text) + 1
    rule = ["┬" if column in places else "─" for column in range(columns)]
    indent = [" "] * gutter
    return [
        Row([*indent, "╰", *rule], ["axis"] * (gutter + 1 + columns)),
        Row([*indent, " ", *labels], ["label"] * (gutter + 1 + columns)),
    ]


def heading(width: int, left: Sequence[Text], *rights: Sequence[Text]) -> Row:
    """A rule with words at its beginning, and at its end the first of ``rights`` there is room for.

    Where there is room for none, as much of the last as there is room for.
    """
    row = _words([("─ ", "axis"), *left, (" ", "axis")])

    def fits(end: Sequence[Text]) -> bool:
        return sum(cell_len(text) for text, _ in end) + len(row.parts) + 3 <= width

    end = list(next((end for end in rights if fits(end)), rights[-1] if rights else ()))
    while end and not fits(end):
        end.pop()
    tail = _words([(" ", "axis"), *end, (" ─", "axis")]) if end else Row([], [])
    fill = max(0, width - len(row.parts) - len(tail.parts))
    characters = [*row.characters, *"─" * fill, *tail.characters]
    parts = [*row.parts, *["axis"] * fill, *tail.parts]
    return _cut(characters, parts, width)


def words_in(width: int, height: int, text: str, part: str) -> list[Row]:
    """A text in the middle of an area."""
    rows = [Row([" "] * width, [part] * width) for _ in range(height)]
    if rows:
        said = _words([(text, part)])
        before = max(0, width - len(said.parts)) // 2
        line = [*" " * before, *said.characters]
        line += [" "] * max(0, width - len(line))
        rows[height // 2] = _cut(line, [part] * len(line), width)
    return rows


def _words(texts: Iterable[Text]) -> Row:
    characters: list[str] = []
    parts: list[str] = []
    for text, part in texts:
        for character in text:
            cells = cell_len(character)
            if cells == 0:
                continue  # a combining character has no cell of its own
            characters += [character, *[""] * (cells - 1)]
            parts += [part] * cells
    return Row(characters, parts)


def _cut(characters: list[str], parts: list[str], width: int) -> Row:
    if len(characters) > width and characters[width] == "":  # half of a wide character
        characters[width - 1] = " "
    return Row(characters[:width], parts[:width])
