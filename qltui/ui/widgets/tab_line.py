"""Names in a line, one of them chosen: by a click here, or by keys of the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Static

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events


class Tab(Static):
    """One name; a click chooses it."""

    def __init__(self, name: str) -> None:
        super().__init__(name, markup=False)
        self.tab = name

    def on_click(self, event: events.Click) -> None:
        """Ask for it."""
        event.stop()
        self.post_message(TabLine.Chosen(self.tab))

    def mark(self, *, is_open: bool) -> None:
        """Set apart by arrows as well as by weight."""
        self.update(f"▸{self.tab}◂" if is_open else f" {self.tab} ")
        self.set_class(is_open, "-open")


class TabLine(Horizontal):
    """The names; what is done with the chosen one is the screen's."""

    DEFAULT_CSS = """
    TabLine {
        height: 1;
        & Tab { width: auto; color: $muted; }
        & Tab:hover { color: $foreground; }
        & Tab.-open { color: $foreground; text-style: bold; }
    }
    """

    class Chosen(Message):
        """A name was chosen."""

        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    async def show(self, names: Sequence[str], chosen: str) -> None:
        """Show these names."""
        if [tab.tab for tab in self.query(Tab)] != list(names):
            await self.remove_children()
            await self.mount(*(Tab(name) for name in names))
        for tab in self.query(Tab):
            tab.mark(is_open=tab.tab == chosen)

    def beside(self, by: int) -> str | None:
        """The name ``by`` places from the chosen one, round the ends; None without names."""
        tabs = list(self.query(Tab))
        place = next((place for place, tab in enumerate(tabs) if tab.has_class("-open")), 0)
        return tabs[(place + by) % len(tabs)].tab if tabs else None
