"""All that is to be said of how a run fares: verdicts, audits with what they measured, phases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.containers import Container, VerticalScroll
from textual.content import Content

from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.widget import Widget


class Over(Container):
    """Room for what comes and goes over a screen, whose layer ``over`` it takes.

    It is not painted itself: what has a parent that is has all of that painted anew when it comes or goes.
    """

    DEFAULT_CSS = """
    Over { layer: over; dock: top; height: 100%; visibility: hidden; align: center middle; }
    """


class Condition(VerticalScroll):
    """Sections of lines, each under its heading, over the screen that has it; away until it is opened.

    A widget that is there all the time: a screen of its own would have Textual work out every style of both, at its
    opening and at its end. It goes with the cursor, whatever takes that.
    """

    DEFAULT_CSS = """
    Condition {
        display: none;
        visibility: visible;
        & > Line { height: auto; }
    }
    """
    BINDINGS = [
        Binding("escape,q,h,enter,f1", "close", "close", id="condition.close", key_display="esc",
                tooltip="Back to the monitor"),
    ]  # fmt: skip

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(id=id, classes="dialog")
        self.border_title = Content(title).markup
        self._before: Widget | None = None
        """What had the cursor."""

    def compose(self) -> ComposeResult:
        yield Line(markup=False)

    def open(self, sections: Sequence[tuple[str, Sequence[Content]]]) -> None:
        """Show these; those without lines are left out."""
        told = [[Content.styled(heading, "bold $accent"), *lines, Content("")] for heading, lines in sections if lines]
        self.query_one(Line).update(Content("\n").join([line for section in told for line in section][:-1]))
        self._before = self.screen.focused
        self.scroll_home(animate=False)
        self.display = True
        self.screen.set_focus(self, scroll_visible=False)

    def action_close(self) -> None:
        """Leave, with the cursor where it was."""
        self.display = False
        self.screen.set_focus(self._before, scroll_visible=False)

    def on_blur(self) -> None:
        """Leave, unless it is the terminal that lost its cursor."""
        if self.app.app_focus:
            self.display = False
