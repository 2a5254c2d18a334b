"""The log with a line to type in: what to search for, or what lines must have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input

from qltui.ui.widgets.entry import Entry
from qltui.ui.widgets.log_tail import LogTail

if TYPE_CHECKING:
    from textual.app import ComposeResult

WANTED = {"search": "search for", "filter": "only lines with"}


class LogPanel(Vertical):
    """A log; its prompt is hidden until it is asked for."""

    DEFAULT_CSS = """
    LogPanel {
        & > LogTail { height: 1fr; }
        & > Input { display: none; height: 1; border: none; padding: 0; }
        & > Input.-asked { display: block; }
    }
    """
    BINDINGS = [
        Binding("escape", "leave", "leave", show=False, id="log.leave", tooltip="End typing, search for nothing")
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._asked = "search"

    def compose(self) -> ComposeResult:
        yield LogTail()
        yield Entry(compact=True)

    @property
    def log_tail(self) -> LogTail:
        """The log itself."""
        return self.query_one(LogTail)

    @property
    def _prompt(self) -> Input:
        return self.query_one(Input)

    @on(LogTail.Asked)
    def _ask(self, message: LogTail.Asked) -> None:
        message.stop()
        self.ask(message.what)

    def ask(self, what: str) -> None:
        """Let a text be typed to ``search`` for, or to ``filter`` by."""
        self._asked, prompt = what, self._prompt
        prompt.placeholder = WANTED[what]
        with prompt.prevent(Input.Changed):
            prompt.value = self.log_tail.searched if what == "search" else self.log_tail.filtered
        prompt.add_class("-asked")
        self.screen.set_focus(prompt)  # at once, for keys that are here already

    @on(Input.Changed)
    def _take(self, message: Input.Changed) -> None:
        """Search or filter as one types."""
        message.stop()
        (self.log_tail.search if self._asked == "search" else self.log_tail.filter)(message.value)

    @on(Input.Submitted)
    def _end(self, message: Input.Submitted) -> None:
        message.stop()
        self._close()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape is the prompt's while it is there."""
        return self._prompt.has_focus if action == "leave" else True

    def action_leave(self) -> None:
        """End typing; what was typed does not count."""
        self._prompt.value = ""
        self._close()

    def _close(self) -> None:
        self._prompt.remove_class("-asked")
        self.screen.set_focus(self.log_tail)
