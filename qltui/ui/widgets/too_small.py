"""What stands in place of a screen for which the terminal has no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Static

if TYPE_CHECKING:
    from textual.geometry import Size

NEEDED = (72, 20)
"""Columns and lines that every screen can do with."""


def is_too_small(size: Size) -> bool:
    """Whether a terminal of this size shows only what it lacks."""
    return size.width < NEEDED[0] or size.height < NEEDED[1]


class TooSmall(Static):
    """Covers a screen, which stays as it is beneath."""

    DEFAULT_CSS = """
    TooSmall {
        overlay: screen;
        position: absolute;
        offset: 0 0;
        width: 100vw;
        height: 100vh;
        background: $background;
        color: $foreground;
        content-align: center middle;
        text-align: center;
    }
    """

    def __init__(self, size: Size) -> None:
        super().__init__(markup=False)
        self.tell(size)

    def tell(self, size: Size) -> None:
        """Say what there is, and what is needed."""
        columns, lines = NEEDED
        there = f"terminal: {size.width} x {size.height}\nneeded: {columns} x {lines}"
        self.update(f"{there}\n\nmake it larger,\nor ctrl+q ends the app;\nruns go on")
