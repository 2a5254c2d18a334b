"""Curves to braille dots: pure functions, no widget. Two dots across and four down make one character cell."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SMOOTHING = 0.85
"""Weight of the past in the smoothed curve; corrected at its start, as Adam's averages are."""

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille character by column and row of the dot; the character itself is U+2800 plus them."""

Point = tuple[float, float]


class Points:
    """A curve that is followed while it grows: what can be drawn, its smoothed twin, and where it was no number."""

    def __init__(self) -> None:
        self.x: list[float] = []
        self.y: list[float] = []
        self.smooth: list[float] = []
        self.gaps: list[float] = []
        self._seen = 0
        self._last: Point | None = None

    def follow(self, source: Sequence[Point]) -> bool:
        """Take over what ``source`` has more than at the last call; whether there was anything.

        A source that was rewritten is read afresh, and a point at an earlier x (a resumed run) replaces what came
        after it.
        """
        rewritten = len(source) < self._seen or (self._seen > 0 and source[self._seen - 1] != self._last)
        if rewritten:
            self.__init__()  # type: ignore[misc]
        new = source[self._seen :]
        for x, y in new:
            self._add(x, y)
        self._seen = len(source)
        self._last = source[-1] if source else None
        return rewritten or bool(new)

    def _add(self, x: float, y: float) -> None:
        while self.x and self.x[-1] >= x:
            for values in (self.x, self.y, self.smooth):
                values.pop()
        while self.gaps and self.gaps[-1] >= x:
            self.gaps.pop()
        if not math.isfinite(y):
            self.gaps.append(x)
            return
        done = len(self.x)
        past = self.smooth[-1] * (1 - SMOOTHING**done) if done else 0.0
        self.smooth.append((SMOOTHING * past + (1 - SMOOTHING) * y) / (1 - SMOOTHING ** (done + 1)))
        self.x.append(x)
        self.y.append(y)


class View(NamedTuple):
    """The part of the plane that is shown; with ``log``, ``bottom`` and ``top`` are powers of ten."""

    left: float
    right: float
    bottom: float
    top: float
    log: bool = False

    def height_of(self, y: float) -> float:
        """``y`` as a share of the height, 0 at the bottom."""
        value = math.log10(y) if self.log else y
        return (value - self.bottom) / (self.top - self.bottom)

    def across(self, x: float) -> float:
        """``x`` as a share of the width, 0 at the left."""
        return (x - self.left) / (self.right - self.left)


def view_of(curves: Sequence[tuple[Sequence[float], Sequence[float]]], log: bool = False) -> View | None:
    """The view that shows all of the curves, each (xs, ys) of finite numbers; None if there is nothing to show."""
    xs = [x for across, _ in curves if across for x in (across[0], across[-1])]
    bounds = [bound for _, ys in curves for bound in _bounds(ys, log)]
    if not xs or not bounds:
        return None
    left, right = min(xs), max(xs)
    if left == right:
        left, right = left - 1, right + 1
    bottom, top = min(bounds), max(bounds)
    if log:
        bottom, top = math.log10(bottom), math.log10(top)
    margin = (top - bottom) * 0.04 or max(abs(top) * 0.1, 1e-9)
    return View(left, right, bottom - margin, top + margin, log)


def _bounds(ys: Sequence[float], log: bool) -> tuple[float, ...]:
    if log:  # zero and less have no logarithm
        ys = [y for y in ys if y > 0]
    return (min(ys), max(ys)) if ys else ()


def trace(
    xs: Sequence[float], ys: Sequence[float], view: View, columns: int, rows: int, gaps: Sequence[float] = ()
) -> list[bytearray]:
    """A curve as braille bits, one bytearray of ``columns`` a row, top row first.

    Every column of dots shows all values from the lowest to the highest that fall into it, so that no spike is lost
    however many points there are; neighbouring columns are joined unless a gap lies between them.
    """
    across, down = columns * 2, rows * 4
    grid = [bytearray(columns) for _ in range(rows)]
    if view.log:
        kept = [(x, y) for x, y in zip(xs, ys, strict=True) if y > 0]
        xs, ys = [x for x, _ in kept], [y for _, y in kept]

    def level(y: float) -> int:
        return round(view.height_of(y) * (down - 1))

    def fill(column: int, low: int, high: int) -> None:
        bits = DOTS[column & 1]
        for dot in range(max(low, 0), min(high, down - 1) + 1):
            row = down - 1 - dot
            grid[row >> 2][column >> 1] |= bits[row & 3]

    step = (view.right - view.left) / (across - 1)
    begin = bisect_left(xs, view.left - step / 2)
    before: tuple[int, int, float] | None = None  # column, level and x of the last point drawn
    for column in range(across):
        end = bisect_left(xs, view.left + (column + 0.5) * step, begin)
        if begin == end:
            continue
        bucket = ys[begin:end]
        fill(column, level(min(bucket)), level(max(bucket)))
        first = level(bucket[0])
        if before and bisect_right(gaps, before[2]) == bisect_left(gaps, xs[begin]):
            _join(fill, before[0], before[1], column, first)
        before = column, level(bucket[-1]), xs[end - 1]
        begin = end
    return grid


def _join(fill: Callable[[int, int, int], None], left: int, start: int, right: int, end: int) -> None:
    """A straight line from one column's last level to a later column's first."""
    slope = (end - start) / (right - left)
    low = start
    for column in range(left + 1, right + 1):
        high = round(start + slope * (column - left))
        # Meet half way, so that a steep line is one stroke and not two.
        middle = (low + high) // 2
        fill(column - 1, min(low, middle), max(low, middle))
        fill(column, min(middle, high), max(middle, high))
        low = high


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most ``most`` round numbers from ``low`` to ``high``, a step of 1, 2 or 5 times a power of ten apart."""
    if not low < high or most < 1:
        return []
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20, 50):
        step = power * factor
        first = math.ceil(low / step - 1e-9)
        last = math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(index * step, 12) for index in range(first, last + 1)]
    return []


def log_ticks(bottom: float, top: float, most: int) -> list[float]:
    """At most ``most`` round numbers between 10**bottom and 10**top: powers of ten, with 2 and 5 where they fit."""
    powers = range(math.floor(bottom), math.ceil(top) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [value for value in found if bottom <= math.log10(value) <= top]
        if 2 <= len(found) <= most:
            return found
    if len(found) > most:
        return found[:: math.ceil(len(found) / most)]
    return ticks(10**bottom, 10**top, most)


def tick_text(value: float, step: float = 0.0) -> str:
    """A tick's label, with no more digits than its neighbours, ``step`` away, make needful."""
    size = abs(value)
    if value and (size < 1e-3 or size >= 1e6):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    if step:
        return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
    return f"{value:,.3g}" if size < 1000 else f"{value:,.0f}"
