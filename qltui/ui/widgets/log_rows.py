"""Which rows a log comes to: the lines that were chosen, cut or wrapped to a width. Knows no widget."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, set_cell_size

from qltui.runs.log_book import ERROR, INFO, WARNING, LogBook

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qltui.runs.log_book import Entry
    from qltui.runs.logs import LogLine

ALL_RANKS = -1
LEVELS = {"every line": (INFO, WARNING, ERROR), "warnings and errors": (WARNING, ERROR), "errors": (ERROR,)}
"""Levels that are shown, by what that is called, in the order of the key that changes it."""
MARKS = {ERROR: "✗ ", WARNING: "▲ ", INFO: ""}
LEAST_ROOM = 10


class Row(NamedTuple):
    """A row on screen; without an entry it stands for lines that were let go, or that were folded."""

    entry: Entry | None
    begin: int
    """Character of the entry's text it begins with."""
    folded: int = 0
    """Rows it stands for."""


class LogRows:
    """The rows of a book under the choices made; after a choice has changed, :meth:`lay_out`."""

    def __init__(self) -> None:
        self.book = LogBook()
        self.rows: deque[Row] = deque()
        self.rank = ALL_RANKS
        self.level = next(iter(LEVELS))
        self.filtered = ""
        """What lines must have; capitals count where it has any."""
        self.wraps = False
        self.width = 80
        self._fresh = 0
        """Rows at the end that came since the last were folded."""
        self.pattern: re.Pattern[str] | None = None
        """What is searched for."""

    def lay_out(self) -> None:
        """Make all rows anew, folded ones too."""
        self._fresh = 0
        gap = [Row(None, 0)] if self.book.has_gap else []
        self.rows = deque([*self._rows(self.book.older), *gap, *self._rows(self.book.live)])

    def add(self, lines: Sequence[LogLine]) -> None:
        """Take new lines."""
        was_timed = self.book.is_timed
        new, gone = self.book.add(lines)
        if self.wraps or self.filtered or self.level != "every line" or was_timed != self.book.is_timed:
            self.lay_out()  # a line that goes on may have more rows now, or any at all
            return
        for entry in gone:
            while self.rows and (self.rows[0].entry is entry or self.rows[0].folded):
                self.rows.popleft()
        rows = self._rows(new)
        self.rows.extend(rows)
        self._fresh = min(self._fresh + len(rows), len(self.rows))

    def fold(self, most: int) -> None:
        """Of the rows that came since this was called last keep so many, bad lines and then the newest; fold others."""
        fresh = [self.rows.pop() for _ in range(self._fresh)][::-1]
        self._fresh = 0
        kept = sorted(sorted(range(len(fresh)), key=lambda at: (_is_bad(fresh[at]), at))[-most:])
        if len(kept) < len(fresh):
            self.rows.append(Row(None, 0, len(fresh) - len(kept)))
        self.rows.extend(fresh[at] for at in kept)

    @property
    def is_folded(self) -> bool:
        """Whether rows were left out."""
        return any(row.folded for row in self.rows)

    def put_before(self, lines: Sequence[LogLine]) -> int:
        """Take lines read back from the file; returns how many rows stand above now that did not."""
        added = self._rows(self.book.put_before(lines))
        if self.book.has_gap:
            self.lay_out()
        else:
            self.rows.extendleft(reversed(added))
        return len(added)

    def forget_older(self) -> None:
        """Let go of what was read back."""
        if self.book.older:
            self.book.forget_older()
            self.lay_out()

    def _rows(self, entries: Iterable[Entry]) -> list[Row]:
        return [row for entry in entries if self._is_chosen(entry) for row in self._rows_of(entry)]

    def _is_chosen(self, entry: Entry) -> bool:
        return (
            self.rank in (ALL_RANKS, entry.rank)
            and entry.level in LEVELS[self.level]
            and (not self.filtered or pattern(self.filtered).search(entry.text) is not None)
        )

    def _rows_of(self, entry: Entry) -> list[Row]:
        if not self.wraps or entry.bar:
            return [Row(entry, 0)]
        room, text = max(LEAST_ROOM, self.width - len(self.beginning(entry))), entry.text
        if text.isascii():
            return [Row(entry, begin) for begin in range(0, max(1, len(text)), room)]
        rows, begin = [Row(entry, 0)], 0
        while cell_len(text[begin:]) > room:
            begin += max(1, len(_fitting(text[begin:], room)))
            rows.append(Row(entry, begin))
        return rows

    def beginning(self, entry: Entry) -> str:
        """What stands before an entry's text: its time, in a column where many tell it, its rank, its level if bad."""
        if self.book.is_timed:
            return f"{entry.time:<9}r{entry.rank:<3}{MARKS[entry.level]}"
        return f"r{entry.rank:<3}{entry.time + ' ' if entry.time else ''}{MARKS[entry.level]}"

    def text(self, row: Row) -> tuple[str, str]:
        """Beginning and text of a row; of a line that is cut the last column says so."""
        if row.folded:
            return "", f"… {row.folded:,} line{'s' if row.folded > 1 else ''} more"
        if row.entry is None:
            return "", "⋯ lines left out here are in the file"
        beginning, text = self.beginning(row.entry), row.entry.text[row.begin :]
        room = max(LEAST_ROOM, self.width - len(beginning))
        if cell_len(text) > room:
            text = _fitting(text, room) if self.wraps and not row.entry.bar else _fitting(text, room - 1) + "…"
        return (" " * len(beginning) if row.begin else beginning), text

    def matches(self) -> list[tuple[Entry, int]]:
        """Entries with what is searched for, and the row each begins at."""
        if self.pattern is None:
            return []
        found, rows = self.pattern.search, enumerate(self.rows)
        return [(row.entry, at) for at, row in rows if row.entry and not row.begin and found(row.entry.text)]


def _is_bad(row: Row) -> bool:
    return row.entry is not None and row.entry.level != INFO


def pattern(text: str) -> re.Pattern[str]:
    """Finds a text; capitals count where it has any."""
    return re.compile(re.escape(text), 0 if text != text.lower() else re.IGNORECASE)


def _fitting(text: str, columns: int) -> str:
    """The beginning of a text that fits; a wide character that would be cut is left out."""
    cut = set_cell_size(text, columns)
    return cut if text.startswith(cut) else cut[:-1]
