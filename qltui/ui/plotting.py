"""Curves to braille dots: pure functions, no widget. Two dots across and four down make one character cell."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import copysign, log10
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qltui.runs.axes import View
    from qltui.runs.curves import Curve

LEFT, RIGHT = (
    [sum(bit for place, bit in enumerate(bits) if four >> place & 1) for four in range(16)]
    for bits in ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
)
"""Bits of a braille character by four dots of its left or right column, the lowest of them the lowest bit; the
character itself is U+2800 plus them."""
FAR = 1e4
"""Heights of a chart beyond which a value need not be told from another."""


def edges_of(view: View, places: int, own: Callable[[float], float] = float) -> list[float]:
    """Where each of ``places`` columns begins, and the last ends, with the view's ends in the middle of the outer two.

    ``own`` turns a place on the axis into the curve's own unit.
    """
    step = (view.right - view.left) / max(places - 1, 1)
    return [own(view.left + (column - 0.5) * step) for column in range(places + 1)]


class _Pen:
    """Sets dots: a whole number for each column of them, its lowest bit the lowest dot."""

    def __init__(self, view: View, across: int, rows: int) -> None:
        self.columns = [0] * across
        self.rows = rows
        self._log, self._bottom = view.log, view.bottom
        self._top = rows * 4 - 1
        self._scale = self._top / (view.top - view.bottom)
        self._far = FAR * rows

    def level(self, y: float) -> int:
        """The row of dots of a value, from the bottom."""
        found = ((log10(y) if self._log else y) - self._bottom) * self._scale
        return round(found) if -self._far < found < self._far else round(copysign(self._far, found))

    def fill(self, column: int, low: int, high: int) -> None:
        """A stroke in a column."""
        if low < 0:
            low = 0
        if high > self._top:
            high = self._top
        if low <= high:
            self.columns[column] |= (2 << high) - (1 << low)

    def join(self, left: int, start: int, right: int, end: int) -> None:
        """A straight line from one column's last level to a later column's first."""
        slope = (end - start) / (right - left)
        low = start
        for column in range(left + 1, right + 1):
            high = round(start + slope * (column - left))
            # Meet half way, so that a steep line is one stroke and not two.
            middle = (low + high) // 2
            if column > 0:
                self.fill(column - 1, min(low, middle), max(low, middle))
            if column < len(self.columns):
                self.fill(column, min(middle, high), max(middle, high))
            low = high

    def cells(self) -> list[bytearray]:
        """The dots as braille bits, one bytearray a row, top row first."""
        grid = [bytearray(len(self.columns) // 2) for _ in range(self.rows)]
        for place, (left, right) in enumerate(zip(self.columns[::2], self.columns[1::2], strict=False)):
            both = left | right
            if both:
                lowest, highest = ((both & -both).bit_length() - 1) >> 2, (both.bit_length() - 1) >> 2
                for row in range(lowest, highest + 1):
                    shift = row * 4
                    grid[-1 - row][place] = LEFT[left >> shift & 15] | RIGHT[right >> shift & 15]
        return grid


class _Place(NamedTuple):
    """How far a curve is traced: up to its last column with a point, from where it goes on when it has grown."""

    column: int
    begin: int
    """Index of the column's first point."""
    before: tuple[int, int, int] | None
    """Column, level and index of the last point drawn."""
    since: int
    """First column with dots that may become more."""
    dots: list[int]
    """Those columns up to this one."""


class Tracer:
    """Traces a curve again and again; of one that has grown only what is new.

    Lists that are given again may have grown, but not have changed otherwise.
    """

    def __init__(self) -> None:
        self._drawn: tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float], object] | None = None
        """What was traced: points, gaps, edges and scale."""
        self._place: _Place | None = None
        self._columns: list[int] = []

    def trace(
        self, xs: Sequence[float], ys: Sequence[float], edges: Sequence[float], view: View, rows: int,
        gaps: Sequence[float] = (), extremes: Callable[[int, int, bool], tuple[float, float] | None] | None = None,
    ) -> list[bytearray]:  # fmt: skip
        """A curve as braille bits, one bytearray a row, top row first; ``edges`` are those of its columns of dots.

        Every column of dots shows all values from the lowest to the highest that fall into it, so that no spike is
        lost however many points there are; neighbouring columns are joined unless a gap lies between them.
        ``extremes`` finds the lowest and highest of a part faster than by looking at each value.
        """
        across = len(edges) - 1
        pen = _Pen(view, across, rows)
        extremes = extremes or (lambda begin, end, log: _extremes(ys[begin:end], log))

        def joined(one: int, other: int) -> bool:
            """Whether a line goes from a point to the next that is shown."""
            return not gaps or bisect_right(gaps, xs[one]) == bisect_left(gaps, xs[other])

        def shown(index: int) -> bool:
            return not view.log or ys[index] > 0

        scale = view.bottom, view.top, view.log, rows, across
        place = self._place = self._place_to_go_on(xs, ys, gaps, edges, scale)
        if place:
            first, begin, before = place.column, place.begin, place.before
            pen.columns[: first + 1] = [*self._columns[: place.since], *place.dots]
        else:
            first, begin, before = 0, bisect_left(xs, edges[0]), None
            if 0 < begin < len(xs) and shown(begin - 1) and shown(begin) and joined(begin - 1, begin):
                before = -1, _crossing(pen, xs, ys, begin, edges[0]), begin - 1
        for column in range(first, across):
            end = bisect_left(xs, edges[column + 1], begin)
            if begin == end or not (found := extremes(begin, end, view.log)):
                begin = end
                continue
            since = max(before[0], 0) if before else column
            self._place = _Place(column, begin, before, since, pen.columns[since : column + 1])
            low = pen.level(found[0])
            if end - begin == 1:
                start = last = low
            else:
                start = pen.level(ys[begin]) if shown(begin) else low
                last = pen.level(ys[end - 1]) if shown(end - 1) else low
            pen.fill(column, low, pen.level(found[1]))
            if before and joined(before[2], begin):
                pen.join(before[0], before[1], column, start)
            before = column, last, end - 1
            begin = end
        if before and begin < len(xs) and begin and shown(begin) and shown(begin - 1) and joined(before[2], begin):
            pen.join(before[0], before[1], across, _crossing(pen, xs, ys, begin, edges[-1]))
        self._drawn, self._columns = (xs, ys, gaps, edges, scale), pen.columns
        return pen.cells()

    def _place_to_go_on(
        self, xs: Sequence[float], ys: Sequence[float], gaps: Sequence[float], edges: Sequence[float], scale: object
    ) -> _Place | None:
        """Where the last drawing ended, if all up to there is as it was."""
        if self._drawn is None or self._place is None:
            return None
        before_xs, before_ys, before_gaps, before_edges, before_scale = self._drawn
        column, begin = self._place.column, self._place.begin
        is_same = (
            scale == before_scale
            and gaps is before_gaps
            and edges[: column + 1] == before_edges[: column + 1]
            and (xs is before_xs or xs[:begin] == before_xs[:begin])
            and (ys is before_ys or ys[:begin] == before_ys[:begin])
            and (begin >= len(xs) or xs[begin] >= edges[column])
        )
        return self._place if is_same else None


def _crossing(pen: _Pen, xs: Sequence[float], ys: Sequence[float], after: int, edge: float) -> int:
    """The level at which the line to the point at index ``after`` comes over an edge."""
    share = (edge - xs[after - 1]) / (xs[after] - xs[after - 1])
    start, end = pen.level(ys[after - 1]), pen.level(ys[after])
    return round(start + share * (end - start))


def _extremes(values: Sequence[float], log: bool) -> tuple[float, float] | None:
    if log:  # zero and less have no logarithm
        values = [value for value in values if value > 0]
    return (min(values), max(values)) if values else None


def row_of(y: float, view: View, rows: int) -> int:
    """The row of cells that has the dots of a value, from the top; outside of them where the value is."""
    top = rows * 4 - 1
    return (top - round(min(max(view.height_of(y), -FAR), FAR) * top)) >> 2


def cells_of(curve: Curve, edges: Sequence[float], view: View, rows: int) -> set[tuple[int, int]]:
    """Column and row of the cells that points fall into, of many in one column those of the lowest and highest."""
    found = set()
    begin = bisect_left(curve.x, edges[0])
    for column in range(len(edges) - 1):
        end = bisect_left(curve.x, edges[column + 1], begin)
        for y in set(curve.extremes(begin, end, view.log) or ()):
            row = row_of(y, view, rows)
            if 0 <= row < rows:
                found.add((column, row))
        begin = end
    return found


def columns_of(places: Sequence[float], edges: Sequence[float]) -> set[int]:
    """Columns that any of ``places``, which rise, falls into."""
    if not places:
        return set()
    starts = [bisect_left(places, edge) for edge in edges]
    return {column for column in range(len(edges) - 1) if starts[column] < starts[column + 1]}
