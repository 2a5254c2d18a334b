"""Where a chart is written to: asked for, with a place in the run's folder offered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from qltui.runs.chart_export import SUFFIXES, file_stem
from qltui.ui import words
from qltui.ui.widgets.entry import Entry

if TYPE_CHECKING:
    from textual.app import ComposeResult


class ChartSaving(ModalScreen[Path | None]):
    """Answers with the files' path but for their endings; None where nothing is to be written."""

    CSS = """
    ChartSaving {
        & .dialog { width: 84; }
        & Label { color: $muted; }
        & Input { background: $panel; }
        & Static { height: auto; margin-bottom: 1; }
        & #answers { height: auto; align-horizontal: right; }
        & Button { margin-left: 2; padding: 0 2; }
    }
    """
    BINDINGS = [Binding("escape", "leave", "leave", id="chart-saving.leave", tooltip="Write nothing")]

    def __init__(self, run_folder: Path, title: str) -> None:
        super().__init__()
        self._stem = file_stem(run_folder, title)
        self._agreed = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Export chart"
            yield Label("Files, but for their endings .csv, .svg and .png")
            yield Entry(str(self._stem), id="stem", compact=True)
            yield Static("The values are all written, the picture is as the chart is now.", id="said", markup=False)
            with Horizontal(id="answers"):
                yield Button("Write", id="write", variant="primary", compact=True)
                yield Button("Leave", id="leave", compact=True)

    @on(Input.Submitted)
    @on(Button.Pressed, "#write")
    def _write(self) -> None:
        typed = self.query_one(Input).value.strip()
        said = self.query_one("#said", Static)
        if not typed or typed.endswith("/"):
            said.update("✗ Say a name, such as charts/loss.")
            return
        stem = Path(typed).expanduser().absolute()
        if stem.suffix in SUFFIXES:
            stem = stem.with_suffix("")
        there = [path.name for suffix in SUFFIXES if (path := stem.with_name(stem.name + suffix)).exists()]
        if there and self._agreed != str(stem):
            self._agreed = str(stem)
            said.update(f"▲ {words.plain(', '.join(there))} is there already: Enter again writes over it.")
            return
        self.dismiss(stem)

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        """Write nothing."""
        self.dismiss(None)
