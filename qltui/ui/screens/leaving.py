"""What is to become of a live run that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

if TYPE_CHECKING:
    from textual.app import ComposeResult

ANSWERS = (
    ("leave", "Leave it running", "q", "It needs neither this app nor this terminal; watch it again at any time."),
    ("stop", "Stop and save", "s", "It saves after its current step and ends; it can be resumed from there."),
    ("kill", "Kill", "x", "It ends at once; what it learnt since its newest checkpoint is lost."),
)
"""Answer, what its button says, its key, and what comes of it."""


class Leaving(ModalScreen[str | None]):
    """Answers ``leave``, ``stop`` or ``kill``; None where the user stays."""

    CSS_PATH = "leaving.tcss"
    BINDINGS = [
        *(
            Binding(key, f"answer('{answer}')", says, id=f"leaving.{answer}", tooltip=detail)
            for answer, says, key, detail in ANSWERS
        ),
        Binding("escape,n", "stay", "Stay", id="leaving.stay", tooltip="Go on watching"),
        Binding("down,right", "app.focus_next", show=False, id="leaving.next", tooltip="The next answer"),
        Binding("up,left", "app.focus_previous", show=False, id="leaving.previous", tooltip="The answer before"),
    ]

    def __init__(self, name: str) -> None:
        """Ask about the run of this name, which is plain text already."""
        super().__init__()
        self._name_of_run = name

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(f"{self._name_of_run} is at work. What is to become of it?", id="question", markup=False)
            for answer, says, key, detail in ANSWERS:
                yield Button(f"{says}  ({key})", id=answer, compact=True)
                yield Static(detail, classes="muted", markup=False)
            yield Static("Enter takes the answer that is marked; escape goes on watching.", id="hint", markup=False)

    def on_mount(self) -> None:
        self.query_one("#leave").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id)

    def action_answer(self, answer: str) -> None:
        """Close with an answer."""
        self.dismiss(answer)

    def action_stay(self) -> None:
        """Close without one."""
        self.dismiss(None)
