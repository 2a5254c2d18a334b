"""All runs, the live ones first, with what is known of the one under the cursor."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.binding import Binding
from textual.containers import Container
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static
from textual.worker import Worker, WorkerState

from engine.events import RunDirectory
from qltui.runs.filtering import Filter
from qltui.runs.overlay import MOST, RunCurves
from qltui.runs.shelf import Shelf
from qltui.ui import words
from qltui.ui.screens.page import HELP
from qltui.ui.screens.runs_actions import ACTIONS, RunsActions
from qltui.ui.widgets.entry import Entry
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.line import Line
from qltui.ui.widgets.runs_columns import BY_NAME
from qltui.ui.widgets.runs_detail import Detail, RunDetail, read
from qltui.ui.widgets.runs_table import RunsTable
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from textual.app import ComposeResult

REFRESH_SECONDS = 2
FIRST_SECONDS = 0.1
"""Time spent on reading before the newest runs are shown."""
REST_SECONDS = 0.15
"""Time the cursor rests on a run before its curves are read."""
CURVES_KEPT = 16
"""Runs whose curves are kept, so that coming back to them shows them at once."""
BESIDE = 110
"""Columns from which the detail stands beside the list."""


class Runs(RunsActions):
    """A list that is filtered, sorted and marked; Enter opens the monitor of a run, or why it died."""

    CSS_PATH = "runs.tcss"
    BINDINGS = [
        Binding("enter", "watch", "watch", id="runs.watch", tooltip="Open the monitor of this run, or why it died"),
        Binding("space", "mark", "mark", id="runs.mark", tooltip="Mark this run, or take its mark away"),
        Binding("l", "overlay", "overlay", id="runs.overlay", tooltip="Curves of the marked runs in one chart"),
        Binding("slash", "filter", "filter", id="runs.filter", key_display="/", tooltip="Only runs that words fit"),
        Binding("d", "compare", "differences", id="runs.compare", show=False,
                tooltip="What two marked runs have done otherwise; or this one and the one it continues or is marked"),
        Binding("i", "detail", "detail", id="runs.detail", show=False, tooltip="Show or hide what is known of the run"),
        Binding("t", "sort", "sort", id="runs.sort", show=False, tooltip="Sort by the next column"),
        Binding("T", "reverse", "reverse", id="runs.reverse", show=False, tooltip="Sort the other way round"),
        Binding("u", "unmark", "unmark", id="runs.unmark", show=False, tooltip="Take all marks away"),
        *ACTIONS,
        HELP,
        Binding("q", "back", "back", id="runs.back", tooltip="Back to the screen before"),
        Binding("escape", "leave", "leave", id="runs.leave", show=False, tooltip="End the filter, or go back"),
    ]  # fmt: skip

    class Read(Message):
        """The runs were read once more."""

        def __init__(self, runs: list[dict[str, Any]], is_complete: bool) -> None:
            super().__init__()
            self.runs, self.is_complete = runs, is_complete

    class DetailRead(Message):
        """The run under the cursor was read."""

        def __init__(self, run_dir: str, detail: Detail, curves: RunCurves) -> None:
            super().__init__()
            self.run_dir, self.detail, self.curves = run_dir, detail, curves

    class Paired(Message):
        """Two runs to compare were found."""

        def __init__(self, paths: list[Path]) -> None:
            super().__init__()
            self.paths = paths

    def __init__(self) -> None:
        super().__init__()
        self._shelf = Shelf()
        self._is_reading = self._is_due = False
        self._count = self._live = 0
        self._curves: dict[str, RunCurves] = {}
        self._is_reading_detail = False
        self._is_wide: bool | None = None
        """Whether the detail stands beside the list; None until there is a size."""
        self._shown: dict[str, Any] | None = None
        """The run that the detail shows, as the list had it."""

    def compose(self) -> ComposeResult:
        yield TitleBar("Runs")
        with Container(id="body"):
            with Container(id="list"):
                yield RunsTable(id="runs")
                yield Static("No runs yet. Press q, then p for a preset or n for a new one.", id="none", markup=False)
                yield Entry(
                    placeholder="words, or state:failed  tag:x  model:y  -method:z",
                    id="filter",
                    compact=True,
                    select_on_focus=False,
                )
                yield Line(id="told", markup=False)
            yield RunDetail(id="detail")
        yield Static(id="answer", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#none").display = False
        self._table.focus()
        self.set_interval(REFRESH_SECONDS, self._poll)
        self._poll()

    @property
    def _table(self) -> RunsTable:
        return self.query_one(RunsTable)

    @property
    def chosen(self) -> dict[str, Any] | None:
        return self._table.chosen

    @property
    def marked(self) -> list[dict[str, Any]]:
        return self._table.marked

    # The list

    def _poll(self) -> None:
        self._is_due = self._is_reading
        if not self._is_reading:
            self._is_reading = True
            self._read()

    @work(thread=True, group="runs", exit_on_error=False)
    def _read(self) -> None:
        runs, is_complete = self._shelf.read(FIRST_SECONDS)
        if not is_complete:
            self.post_message(self.Read(runs, False))
            time.sleep(FIRST_SECONDS)  # the screen paints them first
            runs, _ = self._shelf.read()
        self.post_message(self.Read(runs, True))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Go on reading after what could not be read."""
        if event.state is WorkerState.ERROR:
            self._is_reading = self._is_reading and event.worker.group != "runs"
            self._is_reading_detail = self._is_reading_detail and event.worker.group != "detail"
        super().on_worker_state_changed(event)

    @on(Read)
    def _show(self, event: Read) -> None:
        self._is_reading = not event.is_complete
        self._count, self._live = len(event.runs), sum(map(words.is_live, event.runs))
        self._table.show(event.runs)
        self._say()
        self._show_detail()
        self.refresh_bindings()
        if self._is_due and event.is_complete:
            self._poll()

    def _say(self) -> None:
        """How many there are, and which of them are listed how."""
        table = self._table
        listed = len(table.runs)
        counted = words.counted(self._count, "run")
        self.query_one(TitleBar).say(
            "Runs", f"{f'{listed} of ' if listed != self._count else ''}{counted}, {self._live} live"
        )
        none = self.query_one("#none", Static)
        none.display, table.display = not listed, bool(listed)
        if self._count:
            none.update(f"None of {counted} fits. Escape ends the filter.")
        parts = [f"{len(table.marks)} marked"] if table.marks else []
        parts += [f"by {BY_NAME[table.by].title}, {'falling' if table.falling else 'rising'}"] if table.by else []
        parts += [f"only {words.plain(self._filter.value)}"] if self._filter.value and not self._is_typing else []
        parts += ["i detail"] if not self.query_one(RunDetail).display and listed else []
        self.query_one("#told", Line).update(Content.styled(" · ".join(parts), "$muted"))

    @on(RunsTable.Moved)
    def _moved(self) -> None:
        self.refresh_bindings()
        self.set_timer(REST_SECONDS, self._show_detail)

    @on(RunsTable.Opened)
    def _open(self) -> None:
        self.action_watch()

    # Detail

    def on_resize(self) -> None:
        """The detail stands beside the list where there is room."""
        is_wide = self.size.width >= BESIDE
        if is_wide != self._is_wide:
            self._is_wide = is_wide
            self.set_class(is_wide, "-beside")
            self.query_one(RunDetail).set_class(not is_wide, "-flat")
            self.query_one(RunDetail).display = is_wide
            self._say()

    def action_detail(self) -> None:
        """Show or hide what is known of the run."""
        detail = self.query_one(RunDetail)
        detail.display = not detail.display
        self._shown = None
        self._show_detail()
        self._say()

    def _show_detail(self) -> None:
        """Read the run under the cursor, unless it is shown as it is."""
        if not self.query_one(RunDetail).display or self._is_reading_detail:
            return
        status = self.chosen
        if status is None:
            self._shown = None
            self.query_one(RunDetail).show(None)
        elif status is not self._shown:
            self._is_reading_detail, self._shown = True, status
            run_dir = str(status["run_dir"])
            self._read_detail(run_dir, self._curves.pop(run_dir, None))

    @work(thread=True, group="detail", exit_on_error=False)
    def _read_detail(self, run_dir: str, curves: RunCurves | None) -> None:
        self.post_message(self.DetailRead(run_dir, *read(RunDirectory(run_dir), curves)))

    @on(DetailRead)
    def _take_detail(self, event: DetailRead) -> None:
        self._is_reading_detail = False
        self._curves[event.run_dir] = event.curves
        while len(self._curves) > CURVES_KEPT:
            del self._curves[next(iter(self._curves))]
        if self.chosen and str(self.chosen["run_dir"]) == event.run_dir:
            self.query_one(RunDetail).show(event.detail)
            if not event.detail.is_whole:
                self._shown = None
        self._show_detail()

    # Filter and order

    @property
    def _filter(self) -> Input:
        return self.query_one("#filter", Input)

    @property
    def _is_typing(self) -> bool:
        return self._filter.has_class("-asked")

    def action_filter(self) -> None:
        """Type words that runs must fit."""
        self._filter.add_class("-asked")
        self._filter.focus()
        self._say()

    @on(Input.Changed, "#filter")
    def _take_words(self, message: Input.Changed) -> None:
        """Filter as one types."""
        self._table.filter(Filter(message.value))
        self._say()

    @on(Input.Submitted, "#filter")
    def _end_typing(self) -> None:
        self._filter.remove_class("-asked")
        self._table.focus()
        self._say()

    def action_leave(self) -> None:
        """End the filter, or go back where there is none."""
        if self._is_typing or self._filter.value:
            self._filter.value = ""
            self._end_typing()
        else:
            self.action_back()

    def action_sort(self) -> None:
        """Sort by the next column that is shown; after the last as at first: live ones first, then the newest."""
        table = self._table
        names = ["", *table.columns]
        by = names[(names.index(table.by) + 1) % len(names)] if table.by in names else ""
        self._sort(by, bool(by) and BY_NAME[by].falling)

    def action_reverse(self) -> None:
        """The other end first."""
        if self._table.by:
            self._sort(self._table.by, not self._table.falling)

    @on(RunsTable.Sorted)
    def _sort_by_heading(self, event: RunsTable.Sorted) -> None:
        table = self._table
        falling = not table.falling if table.by == event.column else BY_NAME[event.column].falling
        self._sort(event.column, falling)

    def _sort(self, by: str, falling: bool) -> None:
        self._table.sort(by, falling)
        self._say()

    # Several runs

    def action_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away, and go on to the next."""
        if not self._table.mark(MOST):
            self.post_message(
                self.Answered(f"{MOST} runs can be marked at most; u takes all marks away.", refused=True)
            )
            return
        self._table.action_move(1)
        self._say()

    def action_unmark(self) -> None:
        """Take all marks away."""
        self._table.unmark()
        self._say()

    def action_overlay(self) -> None:
        """Show the curves of the marked runs, or of the one under the cursor, in one chart."""
        from qltui.ui.screens.overlaying import Overlay

        runs = self.marked or ([self.chosen] if self.chosen else [])
        if runs:
            self.app.push_screen(Overlay([Path(str(one["run_dir"])) for one in runs]))

    def action_compare(self) -> None:
        """Show what two runs have done otherwise."""
        runs = [str(one["run_dir"]) for one in self.marked]
        if self.chosen and len(runs) < 2 and str(self.chosen["run_dir"]) not in runs:
            runs.append(str(self.chosen["run_dir"]))
        if len(runs) == 1:
            self._compare_with_parent(RunDirectory(runs[0]))
        elif len(runs) == 2:
            self._open_comparison([Path(one) for one in runs])
        else:
            told = f"{words.counted(len(runs), 'run')} marked: mark two to see what they have done otherwise."
            self.post_message(self.Answered(told, refused=True))

    @work(thread=True, group="request", exit_on_error=False)
    def _compare_with_parent(self, run: RunDirectory) -> None:
        from qltui.runs.comparison import parent_of

        parent = parent_of(run)
        if parent is None:
            told = f"{run.id} continues no run that is kept here: mark two runs with space, then d."
            self.post_message(self.Answered(told, refused=True))
        else:
            self.post_message(self.Paired([parent.path, run.path]))

    @on(Paired)
    def _show_pair(self, event: Paired) -> None:
        self._open_comparison(event.paths)

    def _open_comparison(self, paths: list[Path]) -> None:
        from qltui.ui.screens.comparing import Comparing

        self.app.push_screen(Comparing(paths))

    @on(RunsActions.Answered)
    def _answer(self, event: RunsActions.Answered) -> None:
        answer = self.query_one("#answer", Static)
        answer.update(f"{'✗' if event.refused else '✓'} {words.plain(event.text)}")
        answer.set_class(event.refused, "problem")
        self._poll()
