"""One run, live: it is only read here, so that nothing the app does or suffers costs the run anything."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from textual import on, work
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.worker import Worker, WorkerState

from engine.events import RunDirectory, is_alive
from qltui.runs.devices import Device, devices, measured_peak
from qltui.runs.finer import read_finer
from qltui.runs.follow import Follower, Snapshot
from qltui.runs.health import Signs, verdicts
from qltui.runs.log_book import in_order
from qltui.runs.recent import Recent
from qltui.runs.stacks import waits
from qltui.ui import bandwidth, words
from qltui.ui.screens.run_actions import ACTIONS, RunActions
from qltui.ui.widgets.audit_line import WIDE, audit_line, audits_in_full
from qltui.ui.widgets.chart_grid import Charts
from qltui.ui.widgets.diagnosis_line import DiagnosisLine
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.gpu_rows import GpuRows
from qltui.ui.widgets.health_line import HealthLine, in_full
from qltui.ui.widgets.line import Line
from qltui.ui.widgets.log_panel import LogPanel
from qltui.ui.widgets.log_tail import LogTail
from qltui.ui.widgets.phases import Phases, phases, table
from qltui.ui.widgets.progress_line import ProgressLine
from qltui.ui.widgets.title_bar import TitleBar
from qltui.ui.widgets.verdict import Verdict as Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from textual.app import ComposeResult

    from qltui.runs.verdict import Verdict

LINES_AT_ONCE = 200
"""Log lines taken before other tasks have their turn: 2 ms of them."""

PANELS = {"1": "charts", "2": "gpus", "3": "phases", "4": "log"}
"""Panel by the key that shows and hides it."""
TITLES = {"gpus": "GPUs"}
"""Of panels that are not called as their name is."""


class Source(Protocol):
    """What a run is read from."""

    def poll(self) -> Snapshot:
        """What is known now."""


class Reading(NamedTuple):
    """A run read once, with what follows from it."""

    snapshot: Snapshot
    devices: list[Device]
    peak: int | None
    """Bytes, the highest on any GPU."""
    verdicts: list[Verdict]


class Monitor(RunActions):
    """Follows a run directory; ``readonly`` takes away the keys that ask something of the run."""

    CSS_PATH = "monitor.tcss"
    BINDINGS = [
        Binding("m", "rest", "more", id="monitor.rest", tooltip="Log and phases in place of charts and GPUs, or back"),
        Binding("d", "why", "why", id="monitor.why", tooltip="Why it ended: cause, evidence and fixes"),
        *ACTIONS,
        Binding("h", "condition", "health", id="monitor.health", show=False, tooltip="All that is known of its health"),
        Binding("p", "pause_log", "pause log", id="monitor.pause-log", show=False,
                tooltip="Hold the log still or follow it"),
        Binding("l", "log_scale", "log-y", id="monitor.log-scale", show=False,
                tooltip="Logarithmic or linear y axis"),
        Binding("g", "next_chart", "graph", id="monitor.chart", show=False, tooltip="Cursor to the next chart"),
        Binding("slash", "search_log", "search", id="monitor.search", key_display="/", show=False,
                tooltip="Search in the log; typed in the log's line"),
        Binding("r", "next_rank", "rank", id="monitor.rank", show=False, tooltip="Next rank in the log, or all"),
        *(
            Binding(key, f"panel('{name}')", id=f"monitor.{name}", show=False, tooltip=f"Show or hide {name}")
            for key, name in PANELS.items()
        ),
    ]  # fmt: skip

    class Polled(Message):
        """The run was read once more."""

        def __init__(self, reading: Reading) -> None:
            super().__init__()
            self.reading = reading

    def __init__(self, run_path: Path, readonly: bool = False, source: Source | None = None) -> None:
        """Follow the run in ``run_path``; with a ``source`` of its own one that this program did not launch."""
        super().__init__(run_path, readonly)
        self.is_ours = source is None
        self._source: Source = source or Follower(run_path)
        self._recent = Recent()
        self._stacks: list[str] | None = None
        """What ranks of a run that stands still wait for; None while it moves, empty while it is looked for."""
        self._reading: Reading | None = None
        self._polling = False
        self._rates = bandwidth.rates()
        self._charts_drawn = float("-inf")
        self._offered: tuple[bool, bool] | None = None
        """Whether the run is live and whether it has lost its supervisor, as the keys go by it."""

    def compose(self) -> ComposeResult:
        yield TitleBar(words.plain(self.run_path.name))
        yield ProgressLine()
        with Horizontal(id="heading"):
            yield Line(id="audits", markup=False)
            yield Line(id="plan", markup=False)
        yield Result(id="verdict")
        with Vertical(id="panels"):
            with Container(id="upper"):
                yield Charts(key="1", id="charts")
                with Vertical(id="side"):
                    yield GpuRows(id="gpus")
                    yield Phases(id="phases")
            yield LogPanel(id="log")
        yield Line(id="warning", markup=False)
        yield HealthLine(id="health")
        yield DiagnosisLine(id="diagnosis")
        yield Footer()

    def on_mount(self) -> None:
        for key, name in PANELS.items():
            panel = self.query_one(f"#{name}")
            panel.add_class("panel")
            panel.border_title = Content(f"{TITLES.get(name, name.capitalize())} [{key}]")
        self.query_one("#verdict").border_title = "Result"
        if not self.is_ours:  # there are no audits, no plan and no phases to tell of
            self.query_one("#heading").display = self.query_one("#phases").display = False
        else:
            self.query_one(Charts).read_finer_by(partial(read_finer, RunDirectory(self.run_path)))
        self.set_interval(self._rates.poll_seconds, self._poll)
        self._poll()

    # Reading the run

    def _poll(self) -> None:
        if not self._polling:
            self._polling = True
            self._read()

    @work(thread=True, group="follow", exit_on_error=False)
    def _read(self) -> None:
        self.post_message(self.Polled(self._judged(self._source.poll())))

    def _judged(self, snapshot: Snapshot) -> Reading:
        """What follows from a snapshot; of a run that is still being read nothing is judged."""
        status, gpus = snapshot.status, snapshot.gpus
        live = words.is_live(status)
        if snapshot.caught_up:
            self._recent.take(status, gpus, snapshot.host.get("wall"))
        paces = self._recent.paces() if live else {}
        rows = devices(status, gpus if live or not status["ranks"] else [], snapshot.host, paces)
        told: list[Verdict] = []
        if live and snapshot.caught_up:
            supervised = is_alive(status["supervisor"]) if status.get("supervisor") else True
            told = verdicts(
                Signs(
                    status, snapshot.series, self._recent, time.time(), gpus, snapshot.telemetry, supervised,
                    snapshot.sample_age, may_act=not self.readonly, host=snapshot.host, stacks=self._stacks or (),
                )
            )  # fmt: skip
        snapshot = snapshot._replace(log=in_order(snapshot.log))
        return Reading(snapshot, rows, measured_peak(rows, snapshot.telemetry), told)

    def _look_if_stalled(self, found: list[Verdict]) -> None:
        """See what the ranks of a run that stands still wait for: once, until it moves again."""
        stalled = self.is_ours and any(verdict.name == "stalled" for verdict in found)
        if stalled and self._stacks is None:
            self._look_into_ranks()
        self._stacks = (self._stacks or []) if stalled else None

    @work(thread=True, group="stacks", exit_on_error=False)
    def _look_into_ranks(self) -> None:
        self._stacks = waits(RunDirectory(self.run_path))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Go on reading after a poll that failed, and say so until one succeeds."""
        if event.worker.group == "follow" and event.state is WorkerState.ERROR:
            self._polling = False
            self._warn(f"The run could not be read, it is tried again: {event.worker.error!r}")
        super().on_worker_state_changed(event)

    @on(Polled)
    async def _show(self, event: Polled) -> None:
        self._polling = False
        self._reading = event.reading
        self._look_if_stalled(event.reading.verdicts)
        snapshot = event.reading.snapshot
        if not snapshot.caught_up:
            self._poll()
        before, self.status = self.status, snapshot.status
        with self.app.batch_update():
            self._show_heading(event.reading)
            for _ in self._show_panels(event.reading, before):
                await asyncio.sleep(0)
                if not self.is_attached:
                    return
        offered = self.is_live, self.is_orphan
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def _show_heading(self, reading: Reading) -> None:
        snapshot, status = reading.snapshot, reading.snapshot.status
        facts = [words.plain(status[key]) for key in ("method", "strategy") if status[key]]
        ranks = len(status["ranks"])
        facts += [f"{ranks} rank{'s' if ranks != 1 else ''}"] if ranks else []
        facts += [f"attempt {status['attempt']}"] if status["attempt"] > 1 else []
        facts += [f"waits for {words.plain(status['waiting_for']['id'])}"] if status.get("waiting_for") else []
        facts += ["read only" if self.is_ours else "started elsewhere"] if self.readonly else []
        if snapshot.elapsed_seconds is not None and self.is_live:
            facts.append(f"for {words.duration(snapshot.elapsed_seconds)}")
        name = Content.styled(words.plain(status["name"]), "bold")
        self.query_one(TitleBar).say(name, Content(" · ".join(facts)))
        self.query_one(ProgressLine).show(status)
        self.query_one("#audits", Line).update(audit_line(status, self.size.width))
        self.query_one("#plan", Line).update(peak_text(reading.peak, snapshot.plan, self.size.width))
        self.query_one(Result).show(status, snapshot.elapsed_seconds)
        self.query_one(HealthLine).show(reading.verdicts)
        if snapshot.caught_up:
            self.query_one(DiagnosisLine).look(self.run_path, status, snapshot.logs)
        self._warn(snapshot.warnings[-1] if snapshot.warnings else "", len(snapshot.warnings))
        self.set_class(status["step"] > 0 or not self.is_live, "-begun")
        self.set_class(not self.is_live, "-ended")

    def _show_panels(self, reading: Reading, before: object) -> Iterator[None]:
        """Show a reading in parts, between which others may have their turn."""
        snapshot = reading.snapshot
        status = snapshot.status
        now = time.monotonic()
        if now - self._charts_drawn >= self._rates.charts_seconds or not self.is_live or not snapshot.caught_up:
            self._charts_drawn = now
            yield from self.query_one(Charts).show_in_parts(snapshot.series, snapshot.telemetry)
        rows = self.query_one(GpuRows)
        if not self.is_ours and before is None:
            self.query_one("#side").display = bool(snapshot.gpus)
        rows.show(reading.devices, planned_bytes(snapshot.plan))
        kind = "GPUs" if snapshot.gpus or not reading.devices else "Memory"
        rows.border_title = Content(f"{kind} [2]{_bar_end(rows.scale)}")
        rows.border_subtitle = Content(rows.legend)
        self.query_one(Phases).show(phases(status["ranks"], snapshot.phase_seconds, snapshot.plan))
        yield
        log = self.query_one(LogTail)
        for begin in range(0, len(snapshot.log) or 1, LINES_AT_ONCE):
            log.add(snapshot.log[begin : begin + LINES_AT_ONCE])
            yield
        if self._rates.log_rows is not None:
            log.fold(self._rates.log_rows)

    @on(Charts.Opened)
    def _open_chart(self, event: Charts.Opened) -> None:
        from qltui.ui.screens.chart import ChartScreen

        self.app.push_screen(ChartScreen(event.charts, event.chart, self.run_path))

    @on(LogTail.Changed)
    def _show_log_title(self) -> None:
        self.query_one(LogPanel).border_title = Content(f"Log [4] · {self.query_one(LogTail).told}")

    def _warn(self, message: str, count: int = 1) -> None:
        line = self.query_one("#warning", Line)
        more = f"  (and {count - 1} more)" if count > 1 else ""
        line.update(Content.assemble(("▲ ", "bold"), words.plain(message), (more, "$muted")) if message else "")
        line.display = bool(message)

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The rest has a key where there is no room for it, the end where there is something to tell of it."""
        if action == "rest":
            return self.has_class("-short")
        if action == "why":
            line = self.query(DiagnosisLine)
            has_told = bool(line) and line.first().display
            return has_told or (self.is_ours and self.status is not None and self.status["state"] == "stopped")
        return super().check_action(action, parameters)

    def on_resize(self) -> None:
        """Keys may come and go."""
        self.refresh_bindings()

    def action_rest(self) -> None:
        """Show what there was no room for, or go back."""
        self.toggle_class("-rest")

    def action_why(self) -> None:
        """Show why it ended: on the screen this was opened from, if it was."""
        from qltui.runs.post_mortem import of_logs
        from qltui.ui.screens.post_mortem import PostMortem

        stack = self.app.screen_stack
        if len(stack) > 1 and isinstance(stack[-2], PostMortem) and stack[-2].run_path == self.run_path:
            self.app.pop_screen()
            return
        logs = self._reading.snapshot.logs if self._reading else None
        read = None if logs is None else partial(of_logs, self.run_path, logs)
        self.app.push_screen(PostMortem(self.run_path, self.readonly, read))

    def action_panel(self, name: str) -> None:
        """Show or hide a panel."""
        panel = self.query_one(f"#{name}")
        panel.display = not panel.display
        for name in ("side", "upper"):  # a container of nothing takes no room
            container = self.query_one(f"#{name}")
            container.display = any(child.display for child in container.children)

    def action_condition(self) -> None:
        """Show verdicts, audits and phases in full."""
        from qltui.ui.screens.condition import Condition

        if self._reading is None:
            return
        snapshot = self._reading.snapshot
        facts = phases(snapshot.status["ranks"], snapshot.phase_seconds, snapshot.plan)
        self.app.push_screen(
            Condition([
                ("Health", [line for verdict in self._reading.verdicts for line in in_full(verdict)]),
                ("Audits", audits_in_full(snapshot.status)),
                ("Phases", table(facts, len(facts), self.size.width)),
                ("Warnings of the run", [Content(words.plain(message)) for message in snapshot.warnings]),
            ])
        )  # fmt: skip

    def action_pause_log(self) -> None:
        """Hold the log still, or follow it again."""
        log = self.query_one(LogTail)
        log.follow(not log.following)

    def action_log_scale(self) -> None:
        """Switch between a linear and a logarithmic y axis of the chart with the cursor, else of the loss."""
        self.query_one(Charts).toggle_log()

    def action_next_chart(self) -> None:
        """Move the cursor to the next chart."""
        self.query_one(Charts).next_chart()

    def action_search_log(self) -> None:
        """Type what to search the log for."""
        panel = self.query_one(LogPanel)
        panel.display = True
        panel.ask("search")

    def action_next_rank(self) -> None:
        """Show another rank's log."""
        self.query_one(LogTail).next_rank()


def planned_bytes(plan: dict[str, object] | None) -> int | None:
    """The peak that was planned for the fullest GPU; None where nothing was."""
    memory = (plan or {}).get("memory")
    total = memory.get("total_bytes") if isinstance(memory, dict) else None
    return total if isinstance(total, int) else None


def peak_text(peak: int | None, plan: dict[str, object] | None, width: int) -> Content:
    """The highest memory of any GPU, or of any rank, beside the planned."""
    planned = planned_bytes(plan)
    expected, (_, _, unit) = words.size(planned), words.size(peak).partition(" ")
    if width < WIDE:
        expected = expected.removesuffix(f" {unit}")  # it comes with the other
    measured = "measured" if planned and width >= WIDE else "peak"
    parts = [Content.assemble(("plan ", "$muted"), expected)] if planned else []
    parts += [Content.assemble((f"{measured} ", "$muted"), words.size(peak))] if peak else []
    return Content.styled(" · ", "$muted").join(parts)


def _bar_end(scale: int | None) -> str:
    return f" · full bar {words.size(scale)}" if scale else ""
