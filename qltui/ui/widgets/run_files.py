"""The files of a run behind tabs, and whatever else is to be read beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.containers import Vertical
from textual.message import Message

from qltui.ui.widgets.source_text import SourceText
from qltui.ui.widgets.tab_line import TabLine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import ComposeResult


class RunFiles(Vertical):
    """One text at a time, by its name; a name without a text stands for something that is shown elsewhere."""

    DEFAULT_CSS = """
    RunFiles { height: 1fr; & SourceText { margin-top: 1; } }
    """

    class Turned(Message):
        """Another name was chosen."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._texts: Mapping[str, str] = {}
        self.shown = ""
        """Name of what is shown."""

    def compose(self) -> ComposeResult:
        yield TabLine()
        yield SourceText(id="source")

    async def show(self, texts: Mapping[str, str]) -> None:
        """Show these, the one that was shown before if it is among them, else the first."""
        self._texts = texts
        await self.turn_to(self.shown if self.shown in texts else next(iter(texts), ""))

    async def turn_to(self, name: str) -> None:
        """Show another of them."""
        await self.query_one(TabLine).show(list(self._texts), name)
        source = self.query_one(SourceText)
        text = self._texts.get(name, "")
        source.display = bool(text)
        if text != source.text:
            source.show(text, name)
        if name != self.shown:
            self.shown = name
            self.post_message(self.Turned(name))

    async def turn(self, by: int) -> None:
        """Show the next one, or the one before."""
        name = self.query_one(TabLine).beside(by)
        if name is not None:
            await self.turn_to(name)

    @on(TabLine.Chosen)
    async def _choose(self, event: TabLine.Chosen) -> None:
        event.stop()
        await self.turn_to(event.tab)
