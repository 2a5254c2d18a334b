"""A log as plain text, around a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on, work
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from qltui.runs.post_mortem import lines_around
from qltui.ui import words
from qltui.ui.screens.page import HELP, Page
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from textual.app import ComposeResult

LINES = 1000
MARGINS = 12
"""Columns of the title that are neither path nor line."""


class TextAt(Page):
    """Lines of a file around ``line``, which is marked; without one its last lines."""

    CSS = """
    TextAt {
        & VerticalScroll { padding: 0 1; }
        & .line { height: auto; }
        & .-here { text-style: bold; background: $panel; }
    }
    """
    BINDINGS = [
        HELP,
        Binding("q,escape,o", "back", "back", id="text-at.back", key_display="q", tooltip="Back to the diagnosis"),
    ]

    class Read(Message):
        """The lines were read."""

        def __init__(self, lines: Sequence[tuple[int, str]]) -> None:
            super().__init__()
            self.lines = lines

    def __init__(self, path: Path, line: int | None) -> None:
        super().__init__()
        self._path, self._line = path, line

    def compose(self) -> ComposeResult:
        at = f"line {self._line:,}" if self._line else ""
        room = self.app.size.width - len(at) - MARGINS
        yield TitleBar(Content(words.fitted(words.path(self._path), room)), at)
        with VerticalScroll():
            yield Static("reading…", classes="line", id="before", markup=False)
            yield Static("", classes="line -here", id="here", markup=False)
            yield Static("", classes="line", id="after", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#here").display = False
        self.query_one(VerticalScroll).focus()
        self._read()

    @work(thread=True, group="read", exit_on_error=False)
    def _read(self) -> None:
        self.post_message(self.Read(lines_around(self._path, self._line, LINES)))

    @on(Read)
    def _show(self, event: Read) -> None:
        if not event.lines:
            self.query_one("#before", Static).update("There is nothing in this file, or it can't be read any more.")
            return
        digits = len(f"{event.lines[-1][0]}")
        here = self._line if any(place == self._line for place, _ in event.lines) else None
        parts = {
            "before": [one for one in event.lines if here is None or one[0] < here],
            "here": [one for one in event.lines if one[0] == here],
            "after": [one for one in event.lines if here is not None and one[0] > here],
        }
        for name, lines in parts.items():
            drawn = [_line(place, text, digits, "▶" if name == "here" else " ") for place, text in lines]
            part = self.query_one(f"#{name}", Static)
            part.update(Content("\n").join(drawn))
            part.display = bool(lines)
        self.call_after_refresh(self._scroll)

    def _scroll(self) -> None:
        scroll, here = self.query_one(VerticalScroll), self.query_one("#here")
        if here.display:
            scroll.scroll_to_center(here, animate=False, force=True)
        else:
            scroll.scroll_end(animate=False)


def _line(place: int, text: str, digits: int, mark: str) -> Content:
    return Content.assemble((f"{mark} {place:{digits}}  ", "$muted"), text)
