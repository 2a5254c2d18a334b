"""Which part of the x axis a chart shows, and whether it moves on with the run. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AT_THE_EDGE = 1e-9
"""Share of the whole that counts as none."""
NEARLY_ALL = 0.98
"""Share of the whole from which zooming out shows all."""


class Span:
    """All of a run, or a window; live, its right end is the newest point, frozen it stays where it is."""

    def __init__(self) -> None:
        self.window: float | None = None
        """Width of what is shown; None for all."""
        self.end: float | None = None
        """Right end of a frozen window; None while live. A frozen one always has a width."""

    @property
    def live(self) -> bool:
        return self.end is None

    def shown(self, first: float, last: float) -> tuple[float, float]:
        """Left and right end, where ``first`` and ``last`` are those of everything."""
        right = last if self.end is None else self.end
        return (first if self.window is None else right - self.window), right

    def show_all(self) -> None:
        """Everything, live."""
        self.window = self.end = None

    def zoom(self, factor: float, at: float, first: float, last: float, least: float) -> None:
        """Show ``factor`` times as much, no less than ``least``, with the place at a share ``at`` of the width kept."""
        left, right = self.shown(first, last)
        width = max((right - left) * factor, least)
        if width >= (last - first) * NEARLY_ALL:
            if factor > 1 or self.window is not None:
                self.show_all()
            return
        self._place(left + at * (right - left - width), width, first, last)

    def pan(self, share: float, first: float, last: float) -> None:
        """Move by a share of the width; at the right end it is live again."""
        left = self.shown(first, last)[0]
        if self.window is not None:
            self._place(left + share * self.window, self.window, first, last)

    def to_begin(self, first: float, last: float) -> None:
        if self.window is not None:
            self._place(first, self.window, first, last)

    def freeze(self, first: float, last: float) -> None:
        """Stay where it is."""
        left, right = self.shown(first, last)
        self.window, self.end = right - left, right

    def follow(self) -> None:
        """Be live, with a window as wide as now."""
        self.end = None

    def convert(self, change: Callable[[float], float], first: float, last: float) -> None:
        """Show the same in another unit; ``first`` and ``last`` are in the old one."""
        if self.window is None:
            return
        left, right = self.shown(first, last)
        self.window = max(change(right) - change(left), 0.0) or None
        self.end = change(right) if self.end is not None and self.window else None

    def _place(self, left: float, width: float, first: float, last: float) -> None:
        left = min(max(left, first), last - width)
        at_end = left + width >= last - (last - first) * AT_THE_EDGE
        self.window, self.end = width, None if at_end else left + width
