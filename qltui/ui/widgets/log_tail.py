"""The log: lines of all ranks or of one, followed or held still, older ones read from the files as one scrolls up."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual import work
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip

from qltui.runs.log_book import INFO, LINES_KEPT
from qltui.runs.logs import FIRST_LEAST, lines_before
from qltui.ui.widgets.log_rows import ALL_RANKS, LEVELS, LogRows, pattern

__all__ = ["ALL_RANKS", "LogTail"]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style
    from textual import events

    from qltui.runs.log_book import Entry
    from qltui.runs.logs import LogLine

PAGE = 64 * 1024
"""Bytes of older lines read at once: more would hold up the screen while they are taken."""


class LogTail(ScrollView, can_focus=True):
    """Text is drawn as it is: no markup, no escape codes (they were removed before).

    Scrolling up holds the view still, scrolling to the end follows again.
    """

    BINDINGS = [
        Binding("slash", "search", "search", id="log.search", key_display="/", tooltip="Search in the log"),
        Binding("n", "found(1)", "next match", id="log.next", show=False, tooltip="Next match in the log"),
        Binding("N", "found(-1)", "match before", id="log.previous", show=False, tooltip="Match before in the log"),
        Binding("f", "filter", "filter", id="log.filter", show=False, tooltip="Show only lines with a text"),
        Binding("e", "level", "levels", id="log.level", show=False, tooltip="Warnings and errors, errors, or all"),
        Binding("w", "wrap", "wrap", id="log.wrap", show=False, tooltip="Wrap long lines in the log, or cut them"),
        Binding("escape", "clear", "clear", id="log.clear", show=False, tooltip="End search and filter of the log"),
    ]  # fmt: skip
    COMPONENT_CLASSES = {f"log-tail--{name}" for name in ("rank", "text", "warning", "error", "match", "found")}
    DEFAULT_CSS = """
    LogTail {
        scrollbar-size: 1 1;
        overflow-x: hidden;
        & .log-tail--rank { color: $secondary; }
        & .log-tail--text { color: $foreground 85%; }
        & .log-tail--warning { color: $warning; }
        & .log-tail--error { color: $error; text-style: bold; }
        & .log-tail--match { color: $accent; text-style: bold underline; }
        & .log-tail--found { color: $accent; text-style: bold reverse; }
    }
    """

    told = var("")
    """Which lines are shown, and whether they are followed."""

    class Asked(Message):
        """A text is to be typed: to ``search`` for, or to ``filter`` by."""

        def __init__(self, what: str) -> None:
            super().__init__()
            self.what = what

    class Read(Message):
        """Older lines were read from the files; none at their start."""

        def __init__(self, lines: Sequence[LogLine]) -> None:
            super().__init__()
            self.lines = lines

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.following = True
        self.searched = ""
        self._log = LogRows()
        self._waiting: deque[LogLine] = deque(maxlen=LINES_KEPT)
        """New lines, while the view is held still."""
        self._found: Entry | None = None
        self._reading = False
        self._placing = False
        """The view goes along with its rows, which is no scrolling."""
        self._seeking = False
        """Older lines are read until one has what is searched for."""
        self._at_start = False
        """Nothing older is left in the files."""

    @property
    def rank(self) -> int:
        """The rank shown, or ALL_RANKS."""
        return self._log.rank

    @property
    def filtered(self) -> str:
        """What lines must have to be shown."""
        return self._log.filtered

    @property
    def ranks(self) -> set[int]:
        """Ranks that have written something."""
        return self._log.book.ranks

    def add(self, lines: Sequence[LogLine]) -> None:
        """Append lines, all at once."""
        if not self.following:
            self._waiting.extend(lines)
        elif lines:
            self._log.add(lines)
            self._grown()
        self._tell()

    def fold(self, most: int) -> None:
        """Of the lines added since this was called last show so many, while they are followed, and how many came."""
        if self.following:
            self._log.fold(most)
            self._grown()

    def _unfold(self) -> None:
        """Show every line, while what is on screen stays as far from the end as it is."""
        if self._log.is_folded:
            before = len(self._log.rows)
            self._log.lay_out()
            self._measure()
            self._placing = True
            self.scroll_to(y=self.scroll_offset.y + len(self._log.rows) - before, animate=False, immediate=True)
            self._placing = False
            self.refresh()

    def _grown(self) -> None:
        """There are more rows now, or less. Scrolling is forced, as a scrollbar that is to come is not there yet."""
        self._measure()
        if self.following:
            self.scroll_end(animate=False, force=True, immediate=True, x_axis=False)
        self.refresh()

    def _measure(self) -> None:
        """Have as many rows to scroll through as there are, without the screen's being laid out anew for each."""
        size = Size(1, len(self._log.rows))
        self.set_reactive(LogTail.virtual_size, size)
        self._scroll_update(size)

    def _show_anew(self) -> None:
        """Show what the choices now come to, at the end of it."""
        self._log.lay_out()
        self._grown()
        self.scroll_end(animate=False, force=True, immediate=True, x_axis=False)
        self._tell()

    def _tell(self) -> None:
        parts = ["all ranks" if self.rank == ALL_RANKS else f"rank {self.rank}"]
        parts += [self._log.level] if self._log.level != next(iter(LEVELS)) else []
        parts += [f"only “{self.filtered}”"] if self.filtered else []
        parts += [f"“{self.searched}” {self._count()}"] if self.searched else []
        waiting = f", {len(self._waiting):,} new" if self._waiting else ""
        parts += ["following" if self.following else f"held still{waiting}"]
        self.told = " · ".join(parts)

    def on_mount(self) -> None:
        self._tell()

    def on_resize(self) -> None:
        """Stay at the end, which is elsewhere now."""
        self._log.width = self.scrollable_content_region.width
        if self._log.wraps:
            self._log.lay_out()
            self._grown()
        self.call_after_refresh(self._stay_at_the_end)

    def _stay_at_the_end(self) -> None:
        if self.following:  # still: one may have scrolled up since
            self.scroll_end(animate=False, force=True, immediate=True, x_axis=False)

    def render_line(self, y: int) -> Strip:
        style, width = self.get_component_rich_style("log-tail--text"), self.scrollable_content_region.width
        at = self.scroll_offset.y + y
        if at >= len(self._log.rows):
            return Strip.blank(width, style)
        self._log.width = width  # a scrollbar may have come or gone
        row = self._log.rows[at]
        beginning, text = self._log.text(row)
        if row.entry and row.entry.level != INFO:
            style = self.get_component_rich_style(f"log-tail--{row.entry.level}")
        segments = [Segment(beginning, self.get_component_rich_style("log-tail--rank"))]
        segments += self._marked(text, style, row.entry)
        return Strip(segments).adjust_cell_length(width, style)

    def _marked(self, text: str, style: Style, entry: Entry | None) -> list[Segment]:
        """The text with what was searched for."""
        if self._log.pattern is None:
            return [Segment(text, style)]
        name = "found" if entry is not None and entry is self._found else "match"
        match_style = self.get_component_rich_style(f"log-tail--{name}")
        segments, end = [], 0
        for match in self._log.pattern.finditer(text):
            segments += [Segment(text[end : match.start()], style), Segment(match[0], match_style)]
            end = match.end()
        return [*segments, Segment(text[end:], style)]

    # Following

    def follow(self, following: bool) -> None:
        """Keep showing the newest line, or stand still."""
        if following and not self.following:
            self.following = True
            self._at_start = self._seeking = False
            self._log.forget_older()
            waiting, self._waiting = self._waiting, deque(maxlen=LINES_KEPT)
            self._log.add(list(waiting))
            self._grown()
        elif self.following and not following:
            self._unfold()
        self.following = following
        self._tell()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._placing:
            return
        if new_value < old_value and self.following and self.max_scroll_y > new_value:
            self.follow(False)
        elif new_value >= self.max_scroll_y and not self.following and new_value > old_value:
            self.call_later(self.follow, True)

    def action_scroll_end(self) -> None:
        """Go to the newest line and follow."""
        self.follow(True)
        self._grown()

    def action_scroll_up(self) -> None:
        """Go up, into the file where nothing is left above."""
        self._upwards()
        super().action_scroll_up()

    def action_page_up(self) -> None:
        """Go up a page, into the file where nothing is left above."""
        self._upwards()
        super().action_page_up()

    def action_scroll_home(self) -> None:
        """Go to the oldest line at hand; the next time further up, into the file."""
        self._upwards()
        super().action_scroll_home()

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._upwards()
        super()._on_mouse_scroll_up(event)

    # Older lines

    def _upwards(self) -> None:
        if self.scroll_offset.y <= self.size.height and self._log.rows:
            if self.scroll_offset.y == 0:
                self.follow(False)
            self._read_older()

    def _read_older(self) -> None:
        if not self._reading and not self._at_start:
            self._reading = True
            self._read_files(self._log.book.begins(None if self.rank == ALL_RANKS else self.rank))

    @work(thread=True, group="older", exit_on_error=False)
    def _read_files(self, begins: dict[int, tuple[str, int]]) -> None:
        size = max(FIRST_LEAST, PAGE // max(1, len(begins)))
        lines = [line for rank, (path, end) in begins.items() for line in lines_before(path, end, rank, size)]
        self.post_message(self.Read(lines))

    def on_log_tail_read(self, message: Read) -> None:
        """Put the lines above, while what is being read stays where it is."""
        message.stop()
        self._reading = False
        self._at_start = not message.lines
        if self.following or not message.lines:
            self._seeking = False
            self._tell()
            return
        added = self._log.put_before(message.lines)
        self._measure()
        self._placing = True
        self.scroll_to(y=self.scroll_offset.y + added, animate=False, immediate=True)
        self._placing = False
        self.refresh()
        if self._seeking and any(row < added for _, row in self._log.matches()):
            self._seeking = False
            self._go_to(max((row, entry) for entry, row in self._log.matches() if row < added)[1])
        elif self._seeking or not added:
            self._read_older()
        self._tell()

    # Choices

    def next_rank(self) -> None:
        """Show the next rank's lines alone; after the last one all ranks again."""
        order = [ALL_RANKS, *sorted(self.ranks)]
        self._log.rank = order[(order.index(self.rank) + 1) % len(order)]
        self._at_start = False
        self._show_anew()

    def action_level(self) -> None:
        """Show fewer levels, then all again."""
        names = list(LEVELS)
        self._log.level = names[(names.index(self._log.level) + 1) % len(names)]
        self._show_anew()

    def action_wrap(self) -> None:
        """Wrap long lines, or cut them."""
        self._log.wraps = not self._log.wraps
        self._show_anew()

    def action_search(self) -> None:
        """Ask what to search for."""
        self.post_message(self.Asked("search"))

    def action_filter(self) -> None:
        """Ask what lines must have."""
        self.post_message(self.Asked("filter"))

    def filter(self, text: str) -> None:
        """Show only lines with the text; capitals count where it has any."""
        self._log.filtered = text
        self._show_anew()

    def search(self, text: str) -> None:
        """Mark the text and go to where it last is."""
        self.searched = text
        self._log.pattern = pattern(text) if text else None
        self._found, self._seeking = None, False
        if self._log.matches():
            self.action_found(-1)
        self.refresh()
        self._tell()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape and n belong to the screen where there is nothing to clear or to go to."""
        if action == "clear":
            return bool(self.searched or self.filtered)
        return bool(self.searched) if action == "found" else True

    def action_clear(self) -> None:
        """End search and filter."""
        self.search("")
        self.filter("")

    def action_found(self, direction: int) -> None:
        """Go to the next match, after the last to the first; or to the one before, which may be in the file."""
        entries = [entry for entry, _ in self._log.matches()]
        here = entries.index(self._found) if self._found in entries else (len(entries) if direction < 0 else -1)
        if direction < 0 and here == 0 and not self._at_start:
            self.follow(False)
            self._seeking = True
            self._read_older()
        elif entries:
            self._go_to(entries[(here + direction) % len(entries)])
        self._tell()

    def _go_to(self, entry: Entry) -> None:
        """Show a match."""
        self._found = entry
        row = next(row for found, row in self._log.matches() if found is entry)
        height = self.scrollable_content_region.height
        if not self.scroll_offset.y <= row < self.scroll_offset.y + height:
            self.follow(False)
            self.scroll_to(y=max(0, row - height // 2), animate=False, immediate=True)
        self.refresh()
        self._tell()

    def _count(self) -> str:
        """Which match one is at, of how many in the lines at hand."""
        entries: list[Any] = [entry for entry, _ in self._log.matches()]
        if self._seeking:
            return "…"
        if not entries:
            return "not found" if self._at_start else "not found yet, N looks further back"
        return f"{entries.index(self._found) + 1}/{len(entries)}" if self._found in entries else f"{len(entries)}"
