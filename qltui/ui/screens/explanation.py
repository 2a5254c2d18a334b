"""Something explained at length, over the screen it is about; any of its keys closes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult


class Explanation(ModalScreen[None]):
    """A title and lines below it, which scroll."""

    CSS = """
    Explanation .dialog { width: 92; }
    Explanation Static { height: auto; }
    """
    BINDINGS = [
        Binding(
            "escape,q,enter,f1,w,e", "dismiss", "close", key_display="esc", id="explanation.close",
            tooltip="Back to the screen",
        ),
    ]  # fmt: skip

    def __init__(self, title: str, lines: Sequence[Content]) -> None:
        super().__init__()
        self._title, self._lines = title, lines

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = Content(self._title).markup
            dialog.border_subtitle = "esc closes"
            yield Static(Content("\n").join(self._lines), markup=False)

    def on_click(self) -> None:
        """A click closes it, too."""
        self.dismiss()
