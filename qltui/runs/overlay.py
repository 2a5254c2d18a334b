"""The curves of several runs, read to be laid over each other: by step, by tokens trained on, or by time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from qltui.runs import status, store
from qltui.runs.curves import Clock
from qltui.runs.reduction import Reduction
from qltui.runs.state import LIVE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from engine.events import RunDirectory
    from qltui.runs.curves import Point

MOST = 8
"""Runs that are laid over each other."""


class RunCurves:
    """One run's curves, read on where the last call ended: of a long run from its levels, never for long."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.described: dict[str, Any] = {}
        """As ``store.describe`` tells of it."""
        self.is_caught_up = False
        self._reduction: Reduction | None = None

    @property
    def is_finished(self) -> bool:
        """Whether there is no more to come, as far as is known."""
        return self.is_caught_up and self.described["state"] not in LIVE

    @property
    def series(self) -> Mapping[str, list[Point]]:
        """(step, value) by name, as ``state.SERIES`` says. Copy what you keep."""
        return self._reduction.state.series if self._reduction else {}

    def read(self, seconds: float) -> bool:
        """Read on for about so long; whether nothing is left for now. Never raises on damaged files."""
        self.described = store.describe(self.run)
        if self._reduction is None:
            self._reduction = Reduction(self.run, status.read_written(self.run), curves=True)
        self.is_caught_up = self._reduction.read(seconds)
        return self.is_caught_up

    def clock(self) -> Clock:
        """When its steps were done, as far as it was read; it changes no more."""
        clock = Clock()
        clock.follow(self.series.get("wall", ()))
        return clock

    def by_tokens(self, points: Sequence[Point]) -> list[Point]:
        """The points of a series with the tokens trained on until then in place of the step."""
        steps = tokens_until(self.series)
        clock = Clock()
        clock.follow(steps)
        return [(clock.time_of(step), value) for step, value in points] if clock else []


class Final(NamedTuple):
    """The end of a series."""

    step: float
    value: float


def newest(points: Sequence[Point]) -> Final | None:
    """The newest point; None where there is none."""
    return Final(*points[-1]) if points else None


def tokens_until(series: Mapping[str, Sequence[Point]]) -> list[Point]:
    """(step, tokens trained on until then), from the speed and the seconds of each step.

    Exact while every step is there; where a long run's points stand for several steps each, they count as these do.
    """
    seconds = dict(series.get("step_time", ()))
    found: list[Point] = [(0.0, 0.0)]
    for step, speed in series.get("tokens_per_second", ()):
        before, total = found[-1]
        taken = seconds.get(step)
        if taken is not None and math.isfinite(speed * taken) and step > before:
            found.append((step, total + speed * taken * (step - before)))
    return found
