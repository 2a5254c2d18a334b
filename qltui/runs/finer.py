"""A part of a long run's curves, finer than the whole is read: step by step from the events, or from levels.

The whole of a run of a million steps is some thousand points, so that it is there at once; who looks closer gets what
lies there. A part costs about as much whatever the run's length: events are found by halving their file.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, NamedTuple

from engine.events import read_json
from engine.events.event_log import parse
from qltui.runs.levels import WIDTHS, read_part
from qltui.runs.reduction import NAME, NONSENSE, levels_of
from qltui.runs.state import RunState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

    from engine.events import RunDirectory
    from qltui.runs.state import Point

STEPS = 4000
"""Steps up to which a part is read from events: a tenth of a second."""
MOST_ROWS = 4000
"""Rows of a level up to which a part is read from it."""
LINE = 64 * 1024
"""Bytes that are not halved any more but read."""
MOST_BYTES = 32 * 1024 * 1024
"""Bytes read of a file that is not what it should be; four thousand steps have some megabytes."""


class Part(NamedTuple):
    """Curves from one step to another."""

    left: float
    right: float
    width: int
    """Steps that two points stand for, the lowest and the highest of them; 1 is every step."""
    series: dict[str, list[Point]]
    at_end: bool = False
    """Whether it goes on to the newest step there was when it was read."""

    def covers(self, left: float, right: float) -> bool:
        """Whether all of that lies in it."""
        return self.left <= left and right <= self.right


def read_finer(run: RunDirectory, left: float, right: float) -> Part | None:
    """The curves of rank 0 from step ``left`` to ``right``, as fine as that many can be; None where nothing is finer.

    Never raises on what is missing, torn or of a newer version. Takes a tenth of a second: for a thread.
    """
    if right - left <= STEPS:
        return _part(left, right, 1, _steps(run, left, right))
    for _ in range(3):  # the supervisor may replace files between two looks
        document = read_json(levels_of(run) / f"{NAME}.json") or {}
        try:
            for level, width in enumerate(WIDTHS[:-1]):
                if (right - left) / width > MOST_ROWS:
                    continue
                series = read_part(levels_of(run), NAME, document["ladder"], level, left, right)
                if series:
                    return _part(left, right, width, series)
            return None
        except NONSENSE:
            continue
    return None


def _part(left: float, right: float, width: int, series: dict[str, list[Point]]) -> Part | None:
    """What was read, to the end that it has."""
    if not series.get("wall"):
        return None
    last = series["wall"][-1][0]
    return Part(left, min(right, last), width, series, at_end=last < right)


def _steps(run: RunDirectory, left: float, right: float) -> dict[str, list[Point]]:
    """Every step from the events; of steps that a resumed attempt did again, as it did them."""
    parts: list[list[dict[str, Any]]] = []
    for attempt in reversed(run.attempts()):
        found = _events(attempt.events(0), left, right)
        parts.append(found)
        if found:
            right = min(right, _step(found[0]) - 1)
        if right < left:
            break
    state = RunState()
    for event in (event for part in reversed(parts) for event in part):
        state.apply(event)
    return state.series


def _events(path: str | os.PathLike[str], left: float, right: float) -> list[dict[str, Any]]:
    """Step and evaluation events of a file from one step to another; [] where it can't be read."""
    try:
        with open(path, "rb") as file:
            low, high = 0, os.fstat(file.fileno()).st_size
            while high - low > LINE:
                middle = (low + high) // 2
                if _first_step(file, middle) < left:
                    low = middle
                else:
                    high = middle
            found = []
            for event in _told(file, low, MOST_BYTES):
                if _step(event) > right:
                    break
                if _step(event) >= left:
                    found.append(event)
            return found
    except OSError:
        return []


def _first_step(file: BinaryIO, offset: int) -> float:
    """The step of the first step event after an offset; infinity if there is none near."""
    steps = (_step(event) for event in _told(file, offset, MOST_BYTES // 4) if event["kind"] == "step")
    return next(steps, math.inf)


def _told(file: BinaryIO, offset: int, most: int) -> Iterator[dict[str, Any]]:
    """Step and evaluation events in the whole lines after an offset, in so many bytes."""
    file.seek(offset)
    if offset:
        file.readline(most)
    while file.tell() < offset + most and (line := file.readline(most)):
        event = parse(line) if line.startswith(b"{") else None
        if event is not None and event.get("kind") in ("step", "evaluation"):
            yield event


def _step(event: dict[str, Any]) -> float:
    step = event.get("step")
    return step if isinstance(step, int) else -math.inf
