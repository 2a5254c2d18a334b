"""A rehearsal while it goes on, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from qltui.ui import words
from qltui.ui.screens.page import HELP, Page
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.review_verdict import job_line
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from qltui.runs.rehearsal_job import RehearsalJob

LOOK_SECONDS = 0.25
MOST_COLUMNS = 26
"""What names are padded to, so that what is said of them stands below each other."""


class Rehearsing(Page):
    """Shows a rehearsal; leaving the screen leaves it going on."""

    CSS_PATH = "rehearsing.tcss"
    BINDINGS = [
        Binding(
            "c", "cancel", "cancel", id="rehearsing.cancel", tooltip="End the rehearsal and remove its small model"
        ),
        HELP,
        Binding("q,escape", "back", "back", id="back", key_display="q", tooltip="Back; the rehearsal goes on"),
    ]

    def __init__(self, job: RehearsalJob) -> None:
        super().__init__()
        self._job = job

    def compose(self) -> ComposeResult:
        yield TitleBar(f"Rehearsal · {words.plain(self._job.name)}", "a small model, on CPU ranks")
        yield Static(id="verdict", markup=False)
        with VerticalScroll(id="said", classes="panel") as said:
            said.border_title = "Steps"
            yield Static(id="lines", markup=False)
        with VerticalScroll(id="result", classes="panel") as result:
            result.border_title = "What it showed"
            yield Static(id="outcome", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#result").display = False
        self._timer = self.set_interval(LOOK_SECONDS, self._look)
        self._look()

    def _look(self) -> None:
        is_running = self._job.is_running
        self.query_one("#verdict", Static).update(job_line(self._job))
        said = self.query_one("#said")
        self.query_one("#lines", Static).update(Content("\n".join(map(words.plain, self._job.lines))))
        said.scroll_end(animate=False)
        if is_running:
            return
        self._timer.stop()
        self.refresh_bindings()
        outcome = self._job.outcome
        if outcome and outcome.get("proven"):
            self.query_one("#outcome", Static).update(outcome_text(outcome))
            said.display = False
            result = self.query_one("#result")
            result.display = True
            result.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What has ended cannot be cancelled."""
        if action == "cancel":
            return True if self._job.is_running and not self._job.is_cancelled else None
        return True

    def action_cancel(self) -> None:
        """End it."""
        self._job.cancel()
        self._look()
        self.refresh_bindings()


def outcome_text(outcome: dict[str, Any]) -> Content:
    """What ``qltui rehearse --json`` says, for reading."""
    sections = [
        ("Proven", "✓", [(one["what"], one["detail"]) for one in outcome["proven"]]),
        ("Left unproven", "?", [("", one) for one in outcome["unproven"]]),
        ("Changed for the rehearsal", "→", [
            (one["field"], f"{one['from']} → {one['to']}: {one['why']}") for one in outcome["changed"]
        ]),
    ]  # fmt: skip
    lines = []
    for title, mark, rows in sections:
        width = min(max((len(what) for what, _ in rows), default=0), MOST_COLUMNS)
        lines += [Content.styled(title, "bold"), *(_row(mark, what.ljust(width), detail) for what, detail in rows)]
        lines.append(Content(""))
    return Content("\n").join([*lines, Content.styled(f"It stays as the run {outcome['run']}.", "$muted")])


def _row(mark: str, what: str, detail: str) -> Content:
    name = f"{words.plain(what)}  " if what else ""
    return Content.assemble((f"{mark} ", "$accent"), (name, "$primary"), words.plain(detail))
