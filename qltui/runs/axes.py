"""The axes of a chart: which part of the plane is shown, and the round numbers written beside it. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MARGIN = 0.04
"""Share of the height left free above and below the curves."""
LEAST, MOST = 1e-290, 4e307
"""Heights between which the arithmetic holds."""
MINUTE, HOUR, DAY = 60, 3600, 86400
TIMES = (1, 2, 5, 10, 15, 30, *(n * MINUTE for n in (1, 2, 5, 10, 15, 30)), *(n * HOUR for n in (1, 2, 3, 6, 12)), DAY)
"""Seconds between the ticks of a time axis; beyond them whole days."""


class View:
    """The part of the plane that is shown; with ``log``, ``bottom`` and ``top`` are powers of ten."""

    __slots__ = ("bottom", "left", "log", "right", "top")

    def __init__(self, left: float, right: float, bottom: float, top: float, log: bool = False) -> None:
        self.left, self.right, self.bottom, self.top, self.log = left, right, bottom, top, log

    def height_of(self, y: float) -> float:
        """``y`` as a share of the height, 0 at the bottom."""
        value = math.log10(y) if self.log else y
        return (value - self.bottom) / (self.top - self.bottom)

    def across(self, x: float) -> float:
        """``x`` as a share of the width, 0 at the left."""
        return (x - self.left) / (self.right - self.left)


def fitted(left: float, right: float, bounds: Iterable[tuple[float, float] | None], log: bool = False) -> View | None:
    """The view from ``left`` to ``right`` that is as high as ``bounds`` (lowest, highest); None if there are none."""
    known = [bound for bound in bounds if bound]
    if not known:
        return None
    if left == right:
        left, right = left - 1, right + 1
    ends = min(low for low, _ in known), max(high for _, high in known)
    bottom, top = (min(max(end, -MOST), MOST) for end in ends)
    if log:
        bottom, top = math.log10(bottom), math.log10(top)
    margin = (top - bottom) * MARGIN if top - bottom > LEAST else max(abs(top) * 0.1, 1e-9)
    return View(left, right, bottom - margin, top + margin, log)


def room_to_grow(end: float, column: float) -> float:
    """The end of an axis for what ends at ``end`` now: beyond it by at most two columns, ``column`` wide each.

    It stays where it is while these fill, so that a curve that grows need not be drawn anew with every point.
    """
    if not 0 < column < math.inf:
        return end
    unit = 2.0 ** (math.floor(math.log2(column)) + 1)
    return math.ceil(end / unit) * unit


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most ``most`` round numbers from ``low`` to ``high``, a step of 1, 2 or 5 times a power of ten apart."""
    if not low < high or most < 1 or not math.isfinite(high - low):
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
    powers = range(max(math.floor(bottom), -323), min(math.ceil(top), 308) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [value for value in found if 0 < value < math.inf and bottom <= math.log10(value) <= top]
        if 2 <= len(found) <= most:
            return found
    if len(found) > most:
        return found[:: math.ceil(len(found) / most)]
    return [value for value in ticks(10**bottom, 10**top, most) if value > 0]


def level_ticks(view: View, unit: float, most: int) -> tuple[list[float], float]:
    """Heights to be labelled, round in ``unit``, and by how many units they are apart, 0 on a logarithmic axis."""
    if view.log:
        shift = math.log10(unit)
        return [value * unit for value in log_ticks(view.bottom - shift, view.top - shift, most)], 0.0
    values = ticks(view.bottom / unit, view.top / unit, most)
    return [value * unit for value in values], values[1] - values[0] if len(values) > 1 else 0.0


def time_ticks(low: float, high: float, most: int) -> list[float]:
    """At most ``most`` round times from ``low`` to ``high``, in seconds."""
    if not low < high or most < 1:
        return []
    if high - low < most:
        return ticks(low, high, most)
    wanted = (high - low) / most
    steps = [*TIMES, max(DAY, math.ceil(wanted / DAY) * DAY), (math.ceil(wanted / DAY) + 1) * DAY]
    for step in steps[bisect_left(TIMES, wanted) :]:
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first + 1 <= most:
            return [float(index * step) for index in range(first, last + 1)]
    return []


def tick_text(value: float, step: float = 0.0) -> str:
    """A tick's label, with no more digits than its neighbours, ``step`` away, make needful."""
    size = abs(value)
    if not size:
        return "0"
    if size < 1e-3 or size >= 1e6:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    if step:
        return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
    return f"{value:,.3g}" if size < 1000 else f"{value:,.0f}"


def time_text(seconds: float) -> str:
    """A time on an axis, as ``0``, ``45s``, ``2:30``, ``1:02:30`` or ``3d 04h``."""
    sign, whole = "-" * (seconds < 0), abs(seconds)
    if whole < MINUTE:
        return f"{sign}{whole:.3g}s" if whole else "0"
    whole = round(whole)
    days, hours, minutes = whole // DAY, whole // HOUR % 24, whole // MINUTE % 60
    if days:
        return f"{sign}{days}d {hours:02}h"
    return f"{sign}{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{sign}{minutes}:{whole % 60:02}"
