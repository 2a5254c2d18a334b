"""All runs, the live ones first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual import on, work
from textual.binding import Binding
from textual.message import Message
from textual.widgets import DataTable, Static

from qltui.ui import words
from qltui.ui.screens.page import BACK, HELP, Page
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.lists import Table
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

REFRESH_SECONDS = 2
COLUMNS = ("state", "name", "step", "loss", "tok/s", "left", "method", "begun", "id")


class Runs(Page):
    """A table of runs; Enter opens the monitor of one."""

    CSS_PATH = "runs.tcss"
    BINDINGS = [
        Binding("enter", "watch", "watch", id="runs.watch", tooltip="Open the monitor of this run"),
        Binding("s", "stop", "stop and save", id="runs.stop", tooltip="Save a checkpoint and stop the run"),
        Binding("r", "resume", "resume", id="runs.resume", tooltip="Go on with a run that ended early"),
        HELP,
        BACK,
    ]

    class Read(Message):
        """The runs were read once more."""

        def __init__(self, runs: list[dict[str, Any]]) -> None:
            super().__init__()
            self.runs = runs

    class Answered(Message):
        """What came of asking something of a run."""

        def __init__(self, text: str, refused: bool = False) -> None:
            super().__init__()
            self.text = text
            self.refused = refused

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, dict[str, Any]] = {}
        self._rows: list[tuple[str, ...]] | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar("Runs")
        yield Table(id="runs", cursor_type="row", zebra_stripes=False)
        yield Static("No runs yet. Press q, then p for a preset or n for a new one.", id="none", markup=False)
        yield Static(id="answer", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        table.add_columns(*(Text(name) for name in COLUMNS))
        table.display = False
        table.focus()
        self._read()
        self.set_interval(REFRESH_SECONDS, self._read)

    @work(thread=True, exclusive=True, group="runs", exit_on_error=False)
    def _read(self) -> None:
        from qltui.runs.store import list_runs

        self.post_message(self.Read(list_runs()))

    @on(Read)
    def _show(self, event: Read) -> None:
        self._runs = {str(status["run_dir"]): status for status in event.runs}
        live = sum(words.is_live(status) for status in event.runs)
        self.query_one(TitleBar).say("Runs", f"{len(event.runs)} run{'s' * (len(event.runs) != 1)}, {live} live")
        table = self.query_one(DataTable)
        table.display = bool(event.runs)
        self.query_one("#none").display = not event.runs
        rows = [(run_dir, *row(status)) for run_dir, status in self._runs.items()]
        if rows == self._rows:
            return
        self._rows = rows
        chosen = self.chosen
        table.clear()
        for (run_dir, *cells), status in zip(rows, event.runs, strict=True):
            colour = self.app.theme_variables.get(words.state(status["state"])[1].removeprefix("$"), "")
            table.add_row(Text(cells[0], style=colour), *map(Text, cells[1:]), key=run_dir)
        if chosen in self._runs:
            table.move_cursor(row=table.get_row_index(str(chosen)))
        table.focus()
        self.refresh_bindings()

    @property
    def chosen(self) -> str | None:
        """Folder of the run under the cursor."""
        table = self.query_one(DataTable)
        if not table.row_count:
            return None
        return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value

    @on(DataTable.RowHighlighted)
    def _moved(self) -> None:
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys are grey where the run under the cursor cannot do it."""
        if action not in ("watch", "stop", "resume"):
            return True
        status = self._runs.get(self.chosen or "") if self.is_mounted else None
        if status is None:
            return None
        if action == "watch":
            return True
        return True if words.is_live(status) == (action == "stop") and status["state"] != "finished" else None

    @on(DataTable.RowSelected)
    def action_watch(self) -> None:
        """Open the monitor."""
        from qltui.ui.screens.monitor import Monitor

        if self.chosen:
            self.app.push_screen(Monitor(Path(self.chosen)))

    def action_stop(self) -> None:
        """Ask whether the run is to stop, and if so ask the run."""
        from qltui.ui.screens.confirm import Confirm
        from qltui.ui.screens.run_actions import STOP_DETAIL

        run_dir = self.chosen
        if run_dir is None:
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._ask(_stop, run_dir, "saves and stops after its current step")

        name = words.plain(self._runs[run_dir]["name"])
        self.app.push_screen(Confirm(f"Stop {name}?", STOP_DETAIL, "Stop and save"), answered)

    def action_resume(self) -> None:
        """Start another attempt of the run."""
        if self.chosen:
            self._ask(_resume, self.chosen, "goes on")

    @work(thread=True, group="request", exit_on_error=False)
    def _ask(self, ask: Callable[[Path], None], run_dir: str, done: str) -> None:
        from engine.config import ConfigError
        from qltui.runs.launching import LaunchRefused

        name = Path(run_dir).name
        try:
            ask(Path(run_dir))
        except (LaunchRefused, ConfigError, OSError) as error:
            self.post_message(self.Answered(f"{name}: {error}", refused=True))
            return
        self.post_message(self.Answered(f"{name} {done}."))

    @on(Answered)
    def _answer(self, event: Answered) -> None:
        answer = self.query_one("#answer", Static)
        answer.update(f"{'✗' if event.refused else '✓'} {words.plain(event.text)}")
        answer.set_class(event.refused, "problem")
        self._read()


def _stop(run_dir: Path) -> None:
    from engine.events import RunDirectory
    from qltui.runs.launching import request_stop

    request_stop(RunDirectory(run_dir))


def _resume(run_dir: Path) -> None:
    from engine.events import RunDirectory
    from qltui.runs.launching import resume

    resume(RunDirectory(run_dir))


def row(status: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a run."""
    total = status["total_steps"]
    created = status["created"]
    return (
        words.state(status["state"])[0],
        words.plain(status["name"]),
        f"{status['step']:,}" + (f" / {total:,}" if total else ""),
        words.number(status["loss"], ".4f"),
        words.number(status["tokens_per_second"]),
        words.duration(status["eta_seconds"]) if words.is_live(status) else "–",
        " · ".join(words.plain(status[key]) for key in ("method", "strategy") if status[key]),
        time.strftime("%m-%d %H:%M", time.localtime(created)) if created else "–",
        words.plain(status["id"]),
    )
