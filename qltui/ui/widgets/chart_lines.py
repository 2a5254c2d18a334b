"""The lines of a chart: what is given to it, and what it keeps of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qltui.runs.curves import Clock, Curve
from qltui.ui.plotting import Tracer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qltui.runs.curves import Point

MARKS = "abcdefghijklmnopqrstuvwxyz"


class Line(NamedTuple):
    """A named series. Lines of several runs may share a chart: their names tell them apart, and so do their marks."""

    name: str
    points: Sequence[Point]
    """(step, value), or (wall seconds, value)."""
    mark: str = ""
    """A character that stands on the line where there are several; a letter if none is given."""
    scattered: bool = False
    """Points on their own, drawn as ``×``, such as evaluations."""
    by_wall: bool = False
    """Whether x is in wall seconds."""
    clock: Clock | None = None
    """When the steps of this line's run were done, as far as that is known."""
    key: str = ""
    """What the series is called where a part of it can be read anew; empty where none can."""


class Followed:
    """A line as the chart has read it so far, on an axis of steps or of seconds since its run's first step."""

    def __init__(self, line: Line) -> None:
        self.curve = Curve()
        self.line = line
        self.values, self.smoothed = Tracer(), Tracer()

    def follow(self, line: Line, mark: str) -> bool:
        """Take over what is new; whether there was anything."""
        changed = (line.name, line.scattered) != (self.line.name, self.line.scattered)
        self.line = line._replace(points=(), mark=mark)
        return self.curve.follow(line.points) or changed

    def can_be_by(self, time: bool) -> bool:
        """Whether its points have a place on an axis of seconds, or else of steps."""
        return self.line.by_wall == time or bool(self.line.clock)

    def own(self, place: float, time: bool) -> float:
        """What a place on the axis is in the line's own unit."""
        clock = self.line.clock
        if self.line.by_wall:
            return place + self._origin if time else clock.time_of(place) if clock else place
        return clock.step_at(place + clock.origin) if time and clock else place

    def placed(self, x: float, time: bool) -> float:
        """Where something at ``x``, in the line's own unit, is on the axis."""
        clock = self.line.clock
        if self.line.by_wall:
            return x - self._origin if time else clock.step_at(x) if clock else x
        return clock.time_of(x) - clock.origin if time and clock else x

    @property
    def _origin(self) -> float:
        if self.line.clock:
            return self.line.clock.origin
        return self.curve.x[0] if self.curve.x else 0.0

    def ends(self, time: bool) -> tuple[float, float] | None:
        """Where it begins and ends on the axis; of what was sampled while no step was done only what came after."""
        known = [*self.curve.x[:1], *self.curve.gaps[:1]], [*self.curve.x[-1:], *self.curve.gaps[-1:]]
        if not known[0]:
            return None
        first, last = self.placed(min(known[0]), time), self.placed(max(known[1]), time)
        if self.line.by_wall and not time:
            first = max(first, 0.0)
        return (first, last) if last >= first else None


def marked(lines: Sequence[Line]) -> list[str]:
    """The mark of each line: none where there is but one that is drawn through."""
    drawn = [line for line in lines if not line.scattered]
    if len(drawn) < 2:
        return ["×" if line.scattered else "" for line in lines]
    letters = iter(MARKS * (len(lines) // len(MARKS) + 1))
    return [line.mark or ("×" if line.scattered else next(letters)) for line in lines]
