"""What is to be remembered of a run: a text and tags, typed in a dialog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static, TextArea

from qltui.runs import notes
from qltui.ui.widgets.entry import Entry, Lines

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from engine.events import RunDirectory


class Annotating(ModalScreen[bool]):
    """Keeps what was typed; answers whether anything was kept."""

    CSS = """
    Annotating {
        & .dialog { width: 76; }
        & Label { color: $muted; }
        & TextArea { height: 7; border: none; padding: 0; background: $panel; margin-bottom: 1; }
        & Input { background: $panel; }
        & #said { height: auto; margin: 1 0; color: $muted; }
        & #answers { height: auto; align-horizontal: right; }
        & Button { margin-left: 2; padding: 0 2; }
    }
    """
    BINDINGS = [
        Binding("f2", "keep", "keep", id="annotating.keep", tooltip="Keep note and tags"),
        Binding("escape", "leave", "leave", id="annotating.leave", tooltip="Change nothing"),
    ]

    def __init__(self, run: RunDirectory, name: str) -> None:
        super().__init__()
        self._run, self._name = run, name
        self._found = notes.read(run)

    def compose(self) -> ComposeResult:
        hint = "F2 keeps both, Tab goes to the tags and the buttons, Escape changes nothing."
        if self._found.is_damaged:
            hint = f"▲ {notes.notes_file(self._run).name} is damaged: this is what can be read. {hint}"
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = self._name
            yield Label("Note")
            yield Lines(self._found.text, id="note", tab_behavior="focus", show_line_numbers=False)
            yield Label("Tags: words to find it by")
            yield Entry(" ".join(self._found.tags), id="tags", compact=True)
            yield Static(hint, id="said", markup=False)
            with Horizontal(id="answers"):
                yield Button("Keep", id="keep", variant="primary", compact=True)
                yield Button("Leave", id="leave", compact=True)

    def on_mount(self) -> None:
        note = self.query_one(TextArea)
        note.move_cursor(note.document.end)
        note.focus()

    @on(Input.Submitted)
    @on(Button.Pressed, "#keep")
    def action_keep(self) -> None:
        """Write it into the run's folder."""
        text, tags = self.query_one(TextArea).text, notes.tags_in(self.query_one(Input).value)
        taken = {tag.lower() for tag in self._found.tags} - {tag.lower() for tag in tags}
        try:
            notes.annotate(self._run, text, tags, taken)
        except (notes.BadNote, OSError) as error:
            self.query_one("#said", Static).update(f"✗ {error}")
            return
        self.dismiss(True)

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss(False)
