"""The list of runs: any number of them, of which only those in sight are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from qltui.ui import words
from qltui.ui.widgets.runs_columns import BY_NAME, COLUMNS, GAP, Cells, cells_of, fitted, in_order, laid_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style
    from textual import events

    from qltui.runs.filtering import Filter

STATE_COLOURS = {colour.removeprefix("$") for _, colour in words.STATES.values()}
PARTS = (
    "header", "sorted", "text", "muted", "mark", "cursor", "blurred", *(f"in-{colour}" for colour in STATE_COLOURS),
)  # fmt: skip
MARK = 2
"""Columns before the first cell, where the digit of a marked run stands."""
PLACES = {column.name: place for place, column in enumerate(COLUMNS)}


class RunsTable(ScrollView, can_focus=True):
    """Runs with a cursor that stays with its run, whatever comes, goes or is sorted."""

    BINDINGS = [
        Binding("up,k", "move(-1)", "up", show=False, id="runs.up", tooltip="The run before"),
        Binding("down,j", "move(1)", "down", show=False, id="runs.down", tooltip="The next run"),
        Binding("pageup", "page(-1)", "page up", show=False, id="runs.page-up", tooltip="A page of runs back"),
        Binding("pagedown", "page(1)", "page down", show=False, id="runs.page-down", tooltip="A page of runs on"),
        Binding("home,g", "move_to(0)", "first", show=False, id="runs.first", tooltip="The first run"),
        Binding("end,G", "move_to(-1)", "last", show=False, id="runs.last", tooltip="The last run"),
    ]
    COMPONENT_CLASSES = {f"runs-table--{part}" for part in PARTS}
    DEFAULT_CSS = """
    RunsTable {
        scrollbar-size: 1 1;
        overflow-x: hidden;
        & .runs-table--header { color: $muted; }
        & .runs-table--sorted { color: $accent; text-style: bold; }
        & .runs-table--text { color: $foreground; }
        & .runs-table--muted { color: $muted; }
        & .runs-table--mark { color: $accent; text-style: bold; }
        & .runs-table--in-muted { color: $muted; }
        & .runs-table--in-primary { color: $primary; }
        & .runs-table--in-secondary { color: $secondary; }
        & .runs-table--in-success { color: $success; }
        & .runs-table--in-accent { color: $accent; }
        & .runs-table--in-error { color: $error; }
        & .runs-table--in-warning { color: $warning; }
        & .runs-table--cursor {
            color: $block-cursor-foreground;
            background: $block-cursor-background;
            text-style: bold;
        }
        & .runs-table--blurred {
            color: $block-cursor-blurred-foreground;
            background: $block-cursor-blurred-background;
        }
    }
    """

    class Moved(Message):
        """The cursor is on another run, or on none."""

    class Opened(Message):
        """The run under the cursor was clicked again."""

    class Sorted(Message):
        """The heading of a column was clicked."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.runs: list[dict[str, Any]] = []
        """Those that are listed, in their order."""
        self.marks: list[str] = []
        """Folders of the marked runs, in the order in which they were marked."""
        self.by, self.falling = "", False
        """The column that is sorted by, and whether the highest comes first."""
        self._all: Sequence[dict[str, Any]] = ()
        self._filter: Filter | None = None
        self._cells: dict[str, tuple[dict[str, Any], Cells]] = {}
        self.columns: dict[str, int] = {}
        """Those that are shown, with their widths."""
        self._cursor = 0
        self._known: str | None = None
        """Folder of the run under the cursor, as was told last."""
        self._styles: dict[str, Style] = {}

    # What is listed

    def show(self, described: Sequence[dict[str, Any]]) -> None:
        """List these runs; one that is the same object as before has not changed."""
        known = self._cells
        self._cells = {}
        for status in described:
            run_dir = str(status["run_dir"])
            before = known.get(run_dir)
            self._cells[run_dir] = before if before and before[0] is status else (status, cells_of(status))
        self._all = described
        self.marks = [mark for mark in self.marks if mark in self._cells]
        self._put_in_place()

    def filter(self, wanted: Filter | None) -> None:
        """List only those that fit."""
        self._filter = wanted
        self._put_in_place()

    def sort(self, by: str, falling: bool) -> None:
        """List them by a column; '' is live ones first, then the newest."""
        self.by, self.falling = by, falling
        self._put_in_place()

    def _put_in_place(self) -> None:
        """Put the runs in their places, and the cursor on the run where it was."""
        kept = [one for one in self._all if self._filter is None or self._filter.fits(one)]
        self.runs = in_order(kept, self.by, self.falling)
        places = {str(one["run_dir"]): place for place, one in enumerate(self.runs)}
        self._cursor = places.get(self._known or "", min(self._cursor, max(len(self.runs) - 1, 0)))
        self._lay_out()
        self._keep_in_sight()
        self._tell()

    def _lay_out(self) -> None:
        rows = [self._cells[str(one["run_dir"])][1] for one in self.runs]
        self.columns = laid_out(rows, self.content_size.width - MARK - self.styles.scrollbar_size_vertical)
        self.virtual_size = Size(self.content_size.width, len(self.runs) + 1)
        self.refresh()

    def on_resize(self) -> None:
        """Columns come and go."""
        self._lay_out()
        self._keep_in_sight()

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The run under the cursor."""
        return self.runs[self._cursor] if self.runs else None

    @property
    def marked(self) -> list[dict[str, Any]]:
        """The marked runs, also those that are not listed now."""
        return [self._cells[mark][0] for mark in self.marks]

    def mark(self, most: int) -> bool:
        """Mark the run under the cursor, or take its mark away; False if there are as many as may be."""
        if self.chosen is None:
            return True
        run_dir = str(self.chosen["run_dir"])
        if run_dir in self.marks:
            self.marks.remove(run_dir)
        elif len(self.marks) >= most:
            return False
        else:
            self.marks.append(run_dir)
        self.refresh()
        return True

    def unmark(self) -> None:
        """Take all marks away."""
        self.marks.clear()
        self.refresh()

    def _tell(self) -> None:
        known = str(self.chosen["run_dir"]) if self.chosen else None
        if known != self._known:
            self._known = known
            self.post_message(self.Moved())

    # Cursor

    def action_move(self, by: int) -> None:
        """So many runs on."""
        self._move(self._cursor + by)

    def action_page(self, by: int) -> None:
        """A page on."""
        self._move(self._cursor + by * max(self.content_size.height - 2, 1))

    def action_move_to(self, place: int) -> None:
        """To the first, or from the end to the last."""
        self._move(place % max(len(self.runs), 1))

    def _move(self, place: int) -> None:
        self._cursor = min(max(place, 0), max(len(self.runs) - 1, 0))
        self._keep_in_sight()
        self.refresh()
        self._tell()

    def _keep_in_sight(self) -> None:
        rows = max(self.content_size.height - 1, 1)
        top = round(self.scroll_y)
        wanted = min(max(top, self._cursor - rows + 1), self._cursor)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, immediate=True)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor; on the run under it open that; on a heading sort."""
        if event.y == 0:
            if (column := self._column_at(event.x)) is not None:
                self.post_message(self.Sorted(column))
            return
        place = round(self.scroll_y) + event.y - 1
        if place >= len(self.runs):
            return
        if place == self._cursor:
            self.post_message(self.Opened())
        self._move(place)

    def _column_at(self, x: int) -> str | None:
        left = MARK
        for name, width in self.columns.items():
            if left <= x < left + width + GAP:
                return name
            left += width + GAP
        return None

    # Drawing

    def watch_has_focus(self, _has_focus: bool) -> None:
        super().watch_has_focus(_has_focus)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        place = round(self.scroll_y) + y - 1
        if y == 0:
            return self._strip(self._header())
        if place < len(self.runs):
            return self._strip(self._row(place))
        return Strip.blank(self.content_size.width, self.rich_style)

    def _strip(self, segments: list[Segment]) -> Strip:
        return Strip(segments).adjust_cell_length(self.content_size.width, segments[-1].style)

    def _header(self) -> list[Segment]:
        muted, strong = self._part("header"), self._part("sorted")
        segments = [Segment(" " * MARK, muted)]
        for name, width in self.columns.items():
            column, is_sorted = BY_NAME[name], name == self.by
            title = column.title + ("▼" if self.falling else "▲") * is_sorted
            segments.append(Segment(fitted(title, width, column.right) + " " * GAP, strong if is_sorted else muted))
        return segments

    def _row(self, place: int) -> list[Segment]:
        status = self.runs[place]
        run_dir = str(status["run_dir"])
        over = self._part("cursor" if self.has_focus else "blurred") if place == self._cursor else None
        texts = self._cells[run_dir][1].texts
        number = f"{self.marks.index(run_dir) + 1} " if run_dir in self.marks else " " * MARK
        segments = [Segment(number, self._part("mark") + over if over else self._part("mark"))]
        for name, width in self.columns.items():
            style = self._state_style(status) if name == "state" else self._part("text" if name == "name" else "muted")
            text = fitted(texts[PLACES[name]], width, BY_NAME[name].right) + " " * GAP
            segments.append(Segment(text, over or style))
        return segments

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()

    def _part(self, name: str) -> Style:
        if name not in self._styles:  # asking for it takes longer than drawing
            self._styles[name] = self.get_component_rich_style(f"runs-table--{name}")
        return self._styles[name]

    def _state_style(self, status: dict[str, Any]) -> Style:
        name = words.state(str(status["state"]))[1].removeprefix("$")
        return self._part(f"in-{name}" if name in STATE_COLOURS else "text")
