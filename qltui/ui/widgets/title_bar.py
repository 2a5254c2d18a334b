"""The first line of every screen: the program, where one is, and something on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal
from textual.widgets import Static

from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.content import Content


class TitleBar(Horizontal):
    """``QLTUI`` and the name of the screen on the left, ``right`` on the right."""

    DEFAULT_CSS = """
    TitleBar {
        height: 1;
        background: $surface;
        & #brand { width: auto; background: $primary; color: $background; text-style: bold; padding: 0 1; }
        & #place { width: 1fr; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & #aside { width: auto; padding: 0 1; color: $muted; text-wrap: nowrap; }
    }
    """

    def __init__(self, place: Content | str, right: Content | str = "") -> None:
        super().__init__()
        self._place = place
        self._right = right

    def compose(self) -> ComposeResult:
        yield Static("QLTUI", id="brand", markup=False)
        yield Line(self._place, id="place", markup=False)
        yield Line(self._right, id="aside", markup=False)

    def say(self, place: Content | str, right: Content | str) -> None:
        """Replace both texts."""
        self.query_one("#place", Static).update(place)
        self.query_one("#aside", Static).update(right)
