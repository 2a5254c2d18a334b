"""What a chart keeps of the part of a long run that it has read anew, finer than the whole."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from qltui.ui.widgets.chart_lines import Followed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qltui.runs.curves import Point
    from qltui.runs.finer import Part

    Reader = Callable[[float, float], Part | None]

FINE = 0.7
"""Points a step from which a curve is taken for one of every step."""
MARGIN = 0.5
"""Of the part that is shown, read on either side too, so that moving on a little reads nothing."""


class Finer:
    """Lines of one part, in place of the whole's where that part is shown."""

    def __init__(self, reader: Reader | None = None) -> None:
        self.reader = reader
        """Reads a part, which takes a while; None where nothing is to be read."""
        self.wanted: tuple[float, float] | None = None
        """The steps that are being read, or that nothing finer was found of."""
        self._part: Part | None = None
        self._lines: dict[str, Followed] = {}
        self._points: dict[str, list[Point]] = {}

    def wants(self, lines: Sequence[Followed], left: float, right: float) -> tuple[float, float] | None:
        """The steps to be read for a part that is shown; None where what there is will do."""
        line = next((one for one in lines if one.line.key), None)
        if self.reader is None or line is None or self.covers(left, right):
            return None
        begin, end = line.curve.within(left, right)
        if end - begin >= FINE * (right - left) or (
            self.wanted and self.wanted[0] <= left and right <= self.wanted[1]
            and right - left > (self.wanted[1] - self.wanted[0]) * MARGIN / 2
        ):  # fmt: skip
            return None
        margin = (right - left) * MARGIN
        self.wanted = max(0.0, left - margin), right + margin
        return self.wanted

    def take(self, part: Part | None) -> None:
        """Keep what was read."""
        self._part, self._lines = part, {}
        self._points = {key: list(points) for key, points in part.series.items()} if part else {}
        if part:
            self.wanted = None

    def extend(self, lines: Sequence[Followed]) -> None:
        """Take over what came after the part, where it ends with the run; let go of it where steps are done again."""
        steps = [one for one in lines if one.line.key]
        newest = max((one.curve.x[-1] for one in steps if one.curve.x), default=0.0)
        if self._part is None or not steps or not self._part.at_end or newest == self._part.right:
            return
        if newest < self._part.right:
            self.take(None)
            return
        for one in steps:
            curve, points = one.curve, self._points.setdefault(one.line.key, [])
            after = bisect_right(curve.x, self._part.right)
            gaps = bisect_right(curve.gaps, self._part.right)
            points += sorted([*zip(curve.x[after:], curve.y[after:], strict=True),
                              *zip(curve.gaps[gaps:], curve.strange[gaps:], strict=True)])  # fmt: skip
            if one.line.name in self._lines:
                self._lines[one.line.name].follow(one.line._replace(points=points), one.line.mark)
        self._part = self._part._replace(right=newest)

    def covers(self, left: float, right: float) -> bool:
        """Whether a part that is shown lies in what was read, and is not much smaller where that is still coarse."""
        part = self._part
        if part is None or not part.covers(left, right):
            return False
        return part.width == 1 or right - left > (part.right - part.left) / 8

    @property
    def width(self) -> int | None:
        """Steps that two points of the part stand for; None without one."""
        return self._part.width if self._part else None

    def line(self, one: Followed) -> Followed:
        """The finer line of one, where there is one."""
        points = self._points.get(one.line.key) if one.line.key else None
        if points is None:
            return one
        if one.line.name not in self._lines:
            finer = Followed(one.line)
            finer.follow(one.line._replace(points=points), one.line.mark)
            self._lines[one.line.name] = finer
        return self._lines[one.line.name]
