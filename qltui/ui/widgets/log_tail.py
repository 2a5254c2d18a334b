"""The end of the log: lines of all ranks or of one, followed or held still."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from qltui.runs.logs import LogLine

LINES_KEPT = 5000
ALL_RANKS = -1


class LogTail(ScrollView, can_focus=True):
    """Shows lines as they come. Text is drawn as it is: no markup, no escape codes (they were removed before).

    Scrolling up holds the view still, scrolling to the end follows again.
    """

    COMPONENT_CLASSES = {"log-tail--rank", "log-tail--text", "log-tail--warning", "log-tail--error"}
    DEFAULT_CSS = """
    LogTail {
        scrollbar-size: 1 1;
        & .log-tail--rank { color: $secondary; }
        & .log-tail--text { color: $foreground 85%; }
        & .log-tail--warning { color: $warning; }
        & .log-tail--error { color: $error; text-style: bold; }
    }
    """

    class Changed(Message):
        """What the title says of the log (rank, followed or held) is another now."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rank = ALL_RANKS
        """The rank shown, or ALL_RANKS."""
        self.ranks: set[int] = set()
        """Ranks that have written something."""
        self.following = True
        self._kept: deque[tuple[int, str]] = deque(maxlen=LINES_KEPT)
        self._shown: deque[tuple[int, str]] = deque(maxlen=LINES_KEPT)
        self._widest = 0

    def add(self, new: Sequence[LogLine]) -> None:
        """Append lines, all at once."""
        lines = [(line.rank, line.text) for line in new if line.ended]
        if not lines:
            return
        self._kept.extend(lines)
        known = len(self.ranks)
        self.ranks.update(rank for rank, _ in lines)
        if len(self.ranks) != known:
            self.post_message(self.Changed())
        self._append([line for line in lines if self.rank in (ALL_RANKS, line[0])])

    def _append(self, lines: Sequence[tuple[int, str]]) -> None:
        if not lines:
            return
        lost = max(0, len(self._shown) + len(lines) - LINES_KEPT)
        self._shown.extend(lines)
        self._widest = max(self._widest, *(len(text) for _, text in lines))
        self.virtual_size = Size(self._widest + 5, len(self._shown))
        if self.following:
            self.scroll_end(animate=False, immediate=True, x_axis=False)
        elif lost:  # what is being read stays where it is
            self.scroll_to(y=max(0, self.scroll_y - lost), animate=False, immediate=True)
        self.refresh()

    def on_resize(self) -> None:
        """Stay at the end, which is elsewhere now."""
        if self.following:
            self.call_after_refresh(self.scroll_end, animate=False, x_axis=False)

    def next_rank(self) -> None:
        """Show the next rank's lines alone; after the last one all ranks again."""
        order = [ALL_RANKS, *sorted(self.ranks)]
        self.rank = order[(order.index(self.rank) + 1) % len(order)]
        self._shown.clear()
        self._widest = 0
        self._append([line for line in self._kept if self.rank in (ALL_RANKS, line[0])])
        self.post_message(self.Changed())

    def follow(self, following: bool) -> None:
        """Keep showing the newest line, or stand still."""
        self._set_following(following)
        if following:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def _set_following(self, following: bool) -> None:
        if following != self.following:
            self.following = following
            self.post_message(self.Changed())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value and self.following and self.max_scroll_y > new_value:
            self._set_following(False)
        elif new_value >= self.max_scroll_y and not self.following and new_value > old_value:
            self._set_following(True)

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        width = self.scrollable_content_region.width
        text_style = self.get_component_rich_style("log-tail--text")
        if top + y >= len(self._shown):
            return Strip.blank(width, text_style)
        rank, text = self._shown[top + y]
        rank_style = self.get_component_rich_style("log-tail--rank")
        strip = Strip([Segment(f"r{rank:<3}", rank_style), Segment(text, self._style_of(text))])
        return strip.crop_extend(left, left + width, text_style)

    def _style_of(self, text: str) -> Style:
        lowered = text[:200].lower()
        if "error" in lowered or "traceback" in lowered:
            return self.get_component_rich_style("log-tail--error")
        if "warn" in lowered:
            return self.get_component_rich_style("log-tail--warning")
        return self.get_component_rich_style("log-tail--text")
