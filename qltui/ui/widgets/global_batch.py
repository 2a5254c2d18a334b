"""The rows of one optimizer step, live; another number typed here is divided by the planner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from qltui.ui.widgets.entry import Entry

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from qltui.runs.batching import Batch

MOST = 1_000_000
HINT = "rows; Enter splits your number"


class GlobalBatch(Vertical):
    """One line to type into, and one that tells what it is made of."""

    DEFAULT_CSS = """
    GlobalBatch {
        height: auto;
        margin-bottom: 1;
        & Horizontal { height: 1; }
        & .label { width: 22; }
        & Input { width: 16; background: $panel; padding: 0 1; height: 1; }
        & .note { width: 1fr; padding-left: 1; color: $muted; text-wrap: nowrap; text-overflow: ellipsis; }
        & #made-of { height: auto; padding-left: 22; }
    }
    """

    class Wanted(Message):
        """So many rows are wanted for a step."""

        def __init__(self, rows: int) -> None:
            super().__init__()
            self.rows = rows

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: int | None = None
        """As it is, whatever is being typed."""

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static("Global batch", classes="label", markup=False)
            entry = Entry(compact=True, select_on_focus=True, restrict=r"[0-9]*", max_length=len(str(MOST)))
            yield entry
            yield Static(HINT, classes="note", markup=False)
        yield Static(id="made-of", markup=False)

    def show(self, batch: Batch | None) -> None:
        """Tell what a step takes now; what is being typed stays."""
        line = self.query_one("#made-of", Static)
        if batch is None:
            line.update(Content.styled("not known until the field that is wrong is mended", "$muted"))
            return
        line.update(Content.assemble(batch.product, (f"\n{batch.pace}", "$muted")))
        entry = self.query_one(Input)
        if not (entry.has_focus and entry.value != str(self._rows or "")):
            entry.value = str(batch.rows)
        self._rows = batch.rows

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._ask(event.value)

    @on(Input.Blurred)
    def _left(self, event: Input.Blurred) -> None:
        event.stop()
        self._ask(event.value)

    def _ask(self, text: str) -> None:
        rows = int(text) if text else 0
        if 1 <= rows <= MOST and rows != self._rows:
            self.post_message(self.Wanted(rows))
        elif self._rows is not None:
            self.query_one(Input).value = str(self._rows)
