"""Fixes and evidence of a diagnosis, as lists to choose from."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from textual.actions import SkipAction
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from qltui.runs.post_mortem import is_appliable
from qltui.ui import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from qltui.runs.diagnosis.causes.cause import Fix
    from qltui.runs.diagnosis.diagnosis import Evidence

INDENT = 3
LEAST = 20


class Entry(NamedTuple):
    """One of a list: what stands first, then more in lines of its own."""

    head: str
    more: tuple[tuple[str, str], ...] = ()
    """(text, style)."""
    mark: str = ""
    """Before the head."""
    key: str = ""
    """What a key does with it: at the right end of the first line."""


class DiagnosisList(OptionList):
    """As high as its entries are; what scrolls is the page around it, which follows the cursor."""

    DEFAULT_CSS = """
    DiagnosisList {
        height: auto;
        max-height: 1000;
        padding: 0;
        text-wrap: wrap;
        overflow: hidden;
        &, &:focus { border: none; }
        & > .option-list--option { padding: 0; }
    }
    """

    class Chosen(Message):
        """An entry was chosen, by Enter or a click."""

        def __init__(self, chooser: DiagnosisList, place: int) -> None:
            super().__init__()
            self.chooser, self.place = chooser, place

        @property
        def control(self) -> DiagnosisList:
            """The list."""
            return self.chooser

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._entries: list[Entry] = []
        self._drawn_for: tuple[int, list[Entry]] | None = None
        self._rows: list[int] = []

    def show(self, entries: Sequence[Entry]) -> None:
        """List these."""
        self._entries = list(entries)
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        """Words go on in other places."""
        self._draw()

    def _draw(self) -> None:
        width = self.size.width
        if not width or self._drawn_for == (width, self._entries):
            return
        self._drawn_for = width, list(self._entries)
        drawn = [lines_of(entry, width) for entry in self._entries]
        self._rows = [len(lines) for lines in drawn]
        chosen = self.highlighted
        self.set_options([Option(Content("\n").join(lines)) for lines in drawn])
        if self.has_focus and drawn:
            self.highlighted = min(chosen or 0, len(drawn) - 1)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Say which."""
        event.stop()
        self.post_message(self.Chosen(self, event.option_index))

    # The cursor goes on where another list or the page begins

    def on_focus(self) -> None:
        """The cursor is seen where the keys go."""
        if self.highlighted is None and self.option_count:
            self.highlighted = 0

    def on_blur(self) -> None:
        """It is nowhere else."""
        self.highlighted = None

    def action_cursor_down(self) -> None:
        """To the next, at the end into the next list."""
        if self.highlighted is not None and self.highlighted >= self.option_count - 1:
            self._leave(1)
        else:
            super().action_cursor_down()

    def action_cursor_up(self) -> None:
        """To the one before; from the first into the list before."""
        if not self.highlighted:
            self._leave(-1)
        else:
            super().action_cursor_up()

    def _leave(self, by: int) -> None:
        lists = [one for one in self.screen.query(DiagnosisList) if one.option_count]
        place = lists.index(self) + by if self in lists else -1
        if not 0 <= place < len(lists):
            raise SkipAction
        lists[place].focus(scroll_visible=False)
        lists[place].highlighted = 0 if by > 0 else lists[place].option_count - 1

    def rows_of_cursor(self) -> Region:
        """Where the entry under the cursor stands in the list."""
        place = self.highlighted or 0
        return Region(0, sum(self._rows[:place]), self.size.width, (self._rows or [1])[place])


def lines_of(entry: Entry, width: int) -> list[Content]:
    """An entry in lines of this width, those after the first a little to the right."""
    room = max(width - INDENT, LEAST)
    beside = len(entry.key) + 2 if entry.key else 0
    first, *rest = _wrapped(entry.head, max(room - beside, LEAST))
    key = entry.key.rjust(room - len(first)) if beside else ""
    lines = [Content.assemble((entry.mark.ljust(INDENT), "bold $accent"), (first, "bold"), (key, "$secondary"))]
    lines += [Content.assemble(" " * INDENT, (text, "bold")) for text in rest]
    for text, style in entry.more:
        lines += [Content.assemble(" " * INDENT, (line, style)) for line in _wrapped(text, room)]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(words.plain(text), width, break_on_hyphens=False) or [""]


def entry_of_fix(place: int, fix: Fix, is_ours: bool) -> Entry:
    """A fix with its effect, what it changes and what its key does."""
    more: list[tuple[str, str]] = [(fix.effect, "$foreground")] if fix.effect else []
    if fix.patch:
        more.append((", ".join(f"{field} = {value}" for field, value in fix.patch), "$muted"))
    elif fix.command:
        more.append((fix.command, "$muted"))
    key = key_of_fix(fix, is_ours)
    return Entry(fix.title, tuple(more), str(place), f"[{place}] {key}" if key and place < 10 else "")


def key_of_fix(fix: Fix, is_ours: bool) -> str:
    """What a fix's key does; '' where it is for people to do."""
    if is_ours and is_appliable(fix):
        return "apply + resume" if fix.patch else "resume"
    return "copy command" if fix.command else ""


def entry_of_evidence(one: Evidence) -> Entry:
    """A line that tells it, under where it stands."""
    return Entry(f"{words.path(one.file)}:{one.line}", ((one.text, "$foreground"),), "▸")
