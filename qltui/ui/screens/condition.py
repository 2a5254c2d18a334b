"""All that is to be said of how a run fares: verdicts, audits with what they measured, phases."""

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


class Condition(ModalScreen[None]):
    """Shows sections of lines, each under its heading."""

    BINDINGS = [
        Binding("escape,q,h,enter,f1", "dismiss", "Close", id="condition.close", tooltip="Back to the monitor"),
    ]

    def __init__(self, sections: Sequence[tuple[str, Sequence[Content]]]) -> None:
        super().__init__()
        self._sections = sections

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "How the run fares"
            dialog.styles.width = 100
            for heading, lines in self._sections:
                if lines:
                    yield Static(Content.styled(heading, "bold $accent"), markup=False)
                    yield Static(Content("\n").join([*lines, Content("")]), markup=False)
