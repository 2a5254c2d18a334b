"""One run, live: it is only read here, so that nothing the app does or suffers costs the run anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static
from textual.worker import Worker, WorkerState

from engine.events import RunDirectory
from qltui.runs.follow import Follower, Snapshot
from qltui.ui import words
from qltui.ui.screens.page import HELP, Page
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.line_chart import LineChart
from qltui.ui.widgets.log_tail import ALL_RANKS, LogTail
from qltui.ui.widgets.progress_line import ProgressLine
from qltui.ui.widgets.rank_memory import RankMemory
from qltui.ui.widgets.title_bar import TitleBar
from qltui.ui.widgets.trends import Trends
from qltui.ui.widgets.verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import ComposeResult
    from textual.notifications import SeverityLevel

POLL_SECONDS = 0.5
STOP_DETAIL = "It saves at the next step and ends. It can be resumed from there."

AUDIT_NAMES = {"sharding": "sharded", "weights": "weights", "adapter": "adapter"}

PANELS = {"1": "loss", "2": "memory", "3": "trends", "4": "log"}
"""Panel by the key that shows and hides it."""


class Monitor(Page):
    """Follows a run directory; ``readonly`` takes away the keys that ask something of the run."""

    CSS_PATH = "monitor.tcss"
    BINDINGS = [
        Binding("s", "stop", "stop and save", id="monitor.stop", tooltip="Save a checkpoint and stop the run"),
        Binding("k", "checkpoint", "checkpoint", id="monitor.checkpoint", tooltip="Save a checkpoint now and go on"),
        Binding("p", "pause_log", "pause log", id="monitor.pause-log", tooltip="Hold the log still or follow it"),
        Binding("l", "log_scale", "log-y", id="monitor.log-scale", tooltip="Logarithmic or linear loss axis"),
        Binding("r", "next_rank", "rank", id="monitor.rank", show=False, tooltip="Next rank in the log, or all"),
        *(
            Binding(key, f"panel('{name}')", id=f"monitor.{name}", show=False, tooltip=f"Show or hide {name}")
            for key, name in PANELS.items()
        ),
        HELP,
        Binding("q,escape", "back", "leave", id="monitor.leave", key_display="q", tooltip="Leave; the run goes on"),
    ]  # fmt: skip

    class Polled(Message):
        """The run was read once more."""

        def __init__(self, snapshot: Snapshot) -> None:
            super().__init__()
            self.snapshot = snapshot

    class Asked(Message):
        """Something was asked of the run, or could not be."""

        def __init__(self, text: str, refused: bool = False) -> None:
            super().__init__()
            self.text = text
            self.refused = refused

    def __init__(self, run_path: Path, readonly: bool = False) -> None:
        super().__init__()
        self.run_path = run_path
        self.readonly = readonly
        self.status: dict[str, Any] | None = None
        """The run's status as last read."""
        self._follower = Follower(run_path)
        self._polling = False

    def compose(self) -> ComposeResult:
        yield TitleBar(words.plain(self.run_path.name))
        yield ProgressLine()
        yield Static(id="audits", markup=False)
        yield Verdict(id="verdict")
        with Vertical(id="panels"):
            with Container(id="upper"):
                yield LineChart(id="loss", empty="the first step is still to come")
                with Vertical(id="side"):
                    yield RankMemory(id="memory")
                    yield Trends(id="trends")
            yield LogTail(id="log")
        yield Static(id="warning", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        for key, name in PANELS.items():
            panel = self.query_one(f"#{name}")
            panel.add_class("panel")
            panel.border_title = Content(f"{name.capitalize()} [{key}]")
        self.query_one("#verdict").border_title = "Result"
        self.set_interval(POLL_SECONDS, self._poll)
        self._poll()

    # Reading the run

    def _poll(self) -> None:
        if not self._polling:
            self._polling = True
            self._read()

    @work(thread=True, group="follow", exit_on_error=False)
    def _read(self) -> None:
        self.post_message(self.Polled(self._follower.poll()))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Go on reading after a poll that failed."""
        if event.worker.group == "follow" and event.state is WorkerState.ERROR:
            self._polling = False
        super().on_worker_state_changed(event)

    @on(Polled)
    def _show(self, event: Polled) -> None:
        self._polling = False
        snapshot = event.snapshot
        if not snapshot.caught_up:
            self._poll()
        before, self.status = self.status, snapshot.status
        with self.app.batch_update():
            self._show_heading(snapshot)
            self._show_panels(snapshot)
        if before is None or words.is_live(before) != words.is_live(snapshot.status):
            self.refresh_bindings()

    def _show_heading(self, snapshot: Snapshot) -> None:
        status = snapshot.status
        facts = [words.plain(status[key]) for key in ("method", "strategy") if status[key]]
        ranks = len(status["ranks"])
        facts += [f"{ranks} rank{'s' if ranks != 1 else ''}"] if ranks else []
        facts += [f"attempt {status['attempt']}"] if status["attempt"] > 1 else []
        facts += ["read only"] if self.readonly else []
        if snapshot.elapsed_seconds is not None and words.is_live(status):
            facts.append(f"for {words.duration(snapshot.elapsed_seconds)}")
        name = Content.styled(words.plain(status["name"]), "bold")
        self.query_one(TitleBar).say(name, Content(" · ".join(facts)))
        self.query_one(ProgressLine).show(status)
        self.query_one("#audits", Static).update(audit_line(status["audits"]))
        self.query_one(Verdict).show(status, snapshot.elapsed_seconds)
        self._warn(snapshot.warnings[-1] if snapshot.warnings else "", len(snapshot.warnings))

    def _show_panels(self, snapshot: Snapshot) -> None:
        status, series = snapshot.status, snapshot.series
        chart = self.query_one(LineChart)
        chart.show(series["loss"], series["eval_loss"])
        chart.border_subtitle = Content(self._legend(series))
        memory = self.query_one(RankMemory)
        memory.show(status["ranks"], snapshot.gpus, snapshot.host)
        memory.border_title = Content(f"Memory [2]{_bar_end(memory.scale)}")
        memory.border_subtitle = Content("━ allocated  ╍ reserved  │ peak")
        self.query_one(Trends).show(series)
        log = self.query_one(LogTail)
        log.add(snapshot.log)

    def _legend(self, series: dict[str, list[tuple[float, float]]]) -> str:
        parts = ["━ smoothed", "⡇ each step"]
        parts += ["× evaluation"] if series["eval_loss"] else []
        parts += ["log scale"] if self.query_one(LineChart).log_scale else []
        return "  ".join(parts)

    @on(LogTail.Changed)
    def _show_log_title(self) -> None:
        log = self.query_one(LogTail)
        who = "all ranks" if log.rank == ALL_RANKS else f"rank {log.rank}"
        log.border_title = Content(f"Log [4] · {who} · {'following' if log.following else 'held still'}")

    def _warn(self, message: str, count: int = 1) -> None:
        line = self.query_one("#warning", Static)
        more = f"  (and {count - 1} more)" if count > 1 else ""
        line.update(Content.assemble(("▲ ", "bold"), words.plain(message), (more, "$muted")) if message else "")
        line.display = bool(message)

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that ask something of the run are gone where they may not, and grey where they cannot."""
        if action in ("stop", "checkpoint"):
            if self.readonly:
                return False
            return True if self.status is None or words.is_live(self.status) else None
        return True

    def action_panel(self, name: str) -> None:
        """Show or hide a panel."""
        panel = self.query_one(f"#{name}")
        panel.display = not panel.display
        for name in ("side", "upper"):  # a container of nothing takes no room
            container = self.query_one(f"#{name}")
            container.display = any(child.display for child in container.children)

    def action_pause_log(self) -> None:
        """Hold the log still, or follow it again."""
        log = self.query_one(LogTail)
        log.follow(not log.following)

    def action_log_scale(self) -> None:
        """Switch between a linear and a logarithmic loss axis."""
        chart = self.query_one(LineChart)
        chart.log_scale = not chart.log_scale

    def action_next_rank(self) -> None:
        """Show another rank's log."""
        self.query_one(LogTail).next_rank()

    def action_stop(self) -> None:
        """Ask whether the run is to stop, and if so ask the run."""
        from qltui.ui.screens.confirm import Confirm

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._request("stop")

        question = f"Stop {words.plain(self.status['name']) if self.status else 'the run'}?"
        self.app.push_screen(Confirm(question, STOP_DETAIL, "Stop and save"), answered)

    def action_checkpoint(self) -> None:
        """Ask the run to save now and go on."""
        self._request("checkpoint")

    @work(thread=True, group="request", exit_on_error=False)
    def _request(self, action: str) -> None:
        from qltui.runs.launching import LaunchRefused, request_checkpoint, request_stop

        try:
            (request_stop if action == "stop" else request_checkpoint)(RunDirectory(self.run_path))
        except LaunchRefused as error:
            self.post_message(self.Asked(str(error), refused=True))
        else:
            what = "save and stop" if action == "stop" else "save a checkpoint"
            self.post_message(self.Asked(f"Asked to {what} after the current step."))

    @on(Asked)
    def _show_answer(self, event: Asked) -> None:
        severity: SeverityLevel = "error" if event.refused else "information"
        self.app.notify(words.plain(event.text), markup=False, severity=severity, timeout=4)

    def action_back(self) -> None:
        """Leave the monitor; the run does not notice."""
        if self.status and words.is_live(self.status):
            goes_on = f"{words.plain(self.status['name'])} goes on. Watch it again: qltui watch {self.run_path.name}"
            if self.is_first:
                self.app.exit(message=Content(goes_on))
                return
            self.app.notify(goes_on, markup=False, timeout=4)
        super().action_back()


def audit_line(audits: dict[str, str]) -> Content:
    """What the running job's checks of itself have shown."""
    parts = [Content.styled("audits", "$muted")]
    for key, name in AUDIT_NAMES.items():
        result, colour = words.AUDITS.get(audits.get(key, ""), ("· pending", "$muted"))
        parts.append(Content.assemble(f"{name} ", (result, colour)))
    return Content("   ").join(parts)


def _bar_end(scale: int | None) -> str:
    return f" · full bar {words.size(scale)}" if scale else ""
