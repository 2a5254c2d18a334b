"""Curves that grow: asked for any part of them, they answer as fast with a million points as with a hundred.

Pure: no file, no clock, no widget. The lowest, the highest and the sum of every block of points are kept beside them,
so that what is drawn loses no spike and looks at few points.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Point = tuple[float, float]

BLOCK = 8
"""Points, or blocks of the level below, that a block takes together."""
FORGOTTEN = 1e-3
"""Weight of what is so old that smoothing need not look at it."""


class Level:
    """Blocks of one size."""

    def __init__(self) -> None:
        self.lows: list[float] = []
        self.highs: list[float] = []
        self.sums: list[float] = []
        self.positive: list[float] = []
        """The lowest value above zero, which is what a logarithmic axis can show; infinity where there is none."""

    @property
    def columns(self) -> tuple[list[float], ...]:
        return self.lows, self.highs, self.sums, self.positive


class Curve:
    """A series followed while it grows: what can be drawn of it, and where it was no number.

    Its lists of points and gaps only grow; where something is replaced, so is the list.
    """

    def __init__(self) -> None:
        self.x: list[float] = []
        """Where there are numbers, rising."""
        self.y: list[float] = []
        self.gaps: list[float] = []
        """Where there was something else."""
        self.strange: list[float] = []
        """What stood there: NaN or an infinity."""
        self._levels: list[Level] = []
        self._seen = 0
        self._last: Point | None = None

    def __len__(self) -> int:
        return len(self.x)

    def follow(self, source: Sequence[Point]) -> bool:
        """Take over what ``source`` has more than at the last call; whether there was anything.

        A source that was rewritten is read afresh, and a point at an earlier x (a resumed run) replaces what came
        after it.
        """
        rewritten = len(source) < self._seen or (self._seen > 0 and not _same(source[self._seen - 1], self._last))
        if rewritten:
            self.__init__()  # type: ignore[misc]
        new = source[self._seen :]
        if not new:
            return rewritten
        xs, ys = [x for x, _ in new], [y for _, y in new]
        if self._goes_on(xs, ys):
            self.x += xs
            self.y += ys
        else:
            for x, y in new:
                self._add(x, y)
        self._build()
        self._seen, self._last = len(source), source[-1]
        return True

    def _goes_on(self, xs: list[float], ys: list[float]) -> bool:
        """Whether these simply come after what there is, numbers all: nearly always."""
        end = max(self.x[-1] if self.x else -math.inf, self.gaps[-1] if self.gaps else -math.inf)
        rising = xs[0] > end and all(one < other for one, other in pairwise(xs))
        return rising and all(map(math.isfinite, ys))

    def _add(self, x: float, y: float) -> None:
        if self.x and self.x[-1] >= x:
            self._cut(bisect_left(self.x, x))
        keep = bisect_left(self.gaps, x)
        if keep < len(self.gaps):
            self.gaps, self.strange = self.gaps[:keep], self.strange[:keep]
        if math.isfinite(y):
            self.x.append(x)
            self.y.append(y)
        else:
            self.gaps.append(x)
            self.strange.append(y)

    def _cut(self, keep: int) -> None:
        self.x, self.y = self.x[:keep], self.y[:keep]
        for level in self._levels:
            keep //= BLOCK
            for column in level.columns:
                del column[keep:]

    def _build(self) -> None:
        """Make the blocks that have become full."""
        below: tuple[list[float], ...] = (self.y, self.y, self.y, self.y)
        number = 0
        while len(below[0]) >= BLOCK:
            if number == len(self._levels):
                self._levels.append(Level())
            level = self._levels[number]
            for begin in range(len(level.lows) * BLOCK, len(below[0]) // BLOCK * BLOCK, BLOCK):
                lows, highs, sums, positive = (column[begin : begin + BLOCK] for column in below)
                low = min(lows)
                level.lows.append(low)
                level.highs.append(max(highs))
                level.sums.append(sum(sums))
                level.positive.append(low if low > 0 else min((y for y in positive if y > 0), default=math.inf))
            below = level.columns
            number += 1

    def copy(self) -> Curve:
        """The same as it is now, which goes on being so."""
        other = Curve()
        other.x, other.y = list(self.x), list(self.y)
        other.gaps, other.strange = list(self.gaps), list(self.strange)
        other._build()
        return other

    def point(self, index: int) -> Point | None:
        """That at an index; None where there is none."""
        return (self.x[index], self.y[index]) if 0 <= index < len(self.x) else None

    def within(self, left: float, right: float) -> tuple[int, int]:
        """First and last-but-one index of the points from ``left`` to ``right``."""
        return bisect_left(self.x, left), bisect_right(self.x, right)

    def extremes(self, begin: int, end: int, log: bool = False) -> tuple[float, float] | None:
        """Lowest and highest of the points from index ``begin`` up to ``end``; with ``log`` of those above zero."""
        begin, end = max(begin, 0), min(end, len(self.y))
        if begin >= end:
            return None
        high = self._fold(begin, end, 1, max, -math.inf)
        if not log:
            return self._fold(begin, end, 0, min, math.inf), high
        return (self._fold(begin, end, 3, _lowest_positive, math.inf), high) if high > 0 else None

    def _fold(self, begin: int, end: int, column: int, fold: Callable[[Iterable[float]], float], found: float) -> float:
        """One figure of a part: of its ends from the points, of the middle from the largest blocks there are."""
        values = self.y
        for level in self._levels:
            if end - begin < 3 * BLOCK:
                break
            first, last = -(-begin // BLOCK), end // BLOCK
            found = fold((found, *values[begin : first * BLOCK], *values[last * BLOCK : end]))
            values, begin, end = level.columns[column], first, last
        return fold((found, *values[begin:end]))

    def nearest(self, x: float) -> int | None:
        """Index of the point nearest to ``x``."""
        after = bisect_left(self.x, x)
        near = [index for index in (after - 1, after) if 0 <= index < len(self.x)]
        return min(near, key=lambda index: abs(self.x[index] - x), default=None)

    def nearest_x(self, x: float, direction: int = 0) -> float | None:
        """Where something is, a number or not, nearest to ``x``: on both sides, from it on or up to it."""
        found = []
        for places in (self.x, self.gaps):
            before, after = bisect_right(places, x) - 1, bisect_left(places, x)
            found += places[max(before, 0) : before + 1] if direction <= 0 else []
            found += places[after : after + 1] if direction >= 0 else []
        return min(found, key=lambda place: abs(place - x), default=None)

    def smoothed(self, begin: int, end: int, strength: float, most: int) -> tuple[list[float], list[float]]:
        """The exponential average at the points from index ``begin`` up to ``end``, corrected for its beginning.

        ``strength`` is the weight of the past at each point, from 0 to below 1. Where there are more than ``most``
        points, it is given once for each of equal blocks of them.
        """
        size, level = 1, -1
        while (end - begin) > most * size and level + 1 < len(self._levels):
            size, level = size * BLOCK, level + 1
        sums = self.y if level < 0 else self._levels[level].sums
        reach = math.ceil(math.log(FORGOTTEN) / math.log(strength)) if strength > 0 else 0
        past = strength**size
        begin, end = begin // size, -(-end // size)
        total = weight = 0.0
        xs: list[float] = []
        ys: list[float] = []
        for index in range(max(0, begin - reach // size), min(end, len(sums))):
            total = past * total + (1 - past) * sums[index] / size
            weight = past * weight + (1 - past)
            if index >= begin:
                xs.append(self.x[(index + 1) * size - 1])
                ys.append(total / weight)
        if size > 1 and (done := len(sums) * size) < len(self.y) and end > len(sums):  # the block not yet full
            tail = self.y[done:]
            past = strength ** len(tail)
            total, weight = past * total + (1 - past) * sum(tail) / len(tail), past * weight + (1 - past)
            xs.append(self.x[-1])
            ys.append(total / weight)
        return xs, ys


class Clock:
    """When which step was done: step to seconds and back, between the steps by interpolation, beyond at their pace."""

    def __init__(self) -> None:
        self._steps = Curve()
        self._times: list[float] = []
        """Never falling, as a clock that was set back would have it."""
        self._last: Point | None = None

    def __bool__(self) -> bool:
        return len(self._times) > 1 and self._times[-1] > self._times[0]

    def follow(self, source: Sequence[Point]) -> bool:
        """Take over (step, wall seconds) that are new; whether there were any."""
        known = len(self._times)
        if not self._steps.follow(source):
            return False
        steps = self._steps
        if steps.point(known - 1) != self._last:  # some were done again
            known = 0
        del self._times[known:]
        for wall in steps.y[len(self._times) :]:
            self._times.append(max(wall, self._times[-1]) if self._times else wall)
        self._last = steps.point(len(steps) - 1)
        return True

    @property
    def origin(self) -> float:
        """Wall seconds of the first step."""
        return self._times[0] if self._times else 0.0

    def time_of(self, step: float) -> float:
        """Wall seconds of a step."""
        return _along(self._steps.x, self._times, step)

    def step_at(self, time: float) -> float:
        """The step done at a moment, in wall seconds."""
        return _along(self._times, self._steps.x, time)


def _along(inputs: Sequence[float], outputs: Sequence[float], value: float) -> float:
    """Straight between the known pairs; beyond them at the pace from the first to the last."""
    if len(inputs) < 2:
        return outputs[0] if outputs else value
    after = bisect_right(inputs, value)
    if after == 0 or after == len(inputs):
        first, last, at = 0, -1, 0 if after == 0 else -1
    else:
        first, last, at = after - 1, after, after - 1
    run = inputs[last] - inputs[first]
    pace = (outputs[last] - outputs[first]) / run if run else 0.0
    return outputs[at] + (value - inputs[at]) * pace


def _lowest_positive(values: Iterable[float]) -> float:
    return min((value for value in values if value > 0), default=math.inf)


def _same(one: Point, other: Point | None) -> bool:
    return (
        other is not None and one[0] == other[0] and (one[1] == other[1] or (one[1] != one[1] and other[1] != other[1]))
    )
