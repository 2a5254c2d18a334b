"""One run, live: it is only read here, so that nothing the app does or suffers costs the run anything."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from textual import on, work
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input

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
from qltui.ui.widgets.audit_line import audit_line, audits_in_full
from qltui.ui.widgets.chart_grid import Charts
from qltui.ui.widgets.condition import Condition, Over
from qltui.ui.widgets.diagnosis_line import DiagnosisLine
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.gpu_rows import GpuRows
from qltui.ui.widgets.health_line import HealthLine, in_full
from qltui.ui.widgets.line import Line
from qltui.ui.widgets.log_panel import LogPanel
from qltui.ui.widgets.log_tail import LogTail
from qltui.ui.widgets.peak_line import peak_text, planned_bytes
from qltui.ui.widgets.phases import Phases, phases, table
from qltui.ui.widgets.progress_line import ProgressLine
from qltui.ui.widgets.title_bar import TitleBar
from qltui.ui.widgets.verdict import Verdict as Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from textual.app import ComposeResult

    from qltui.runs.verdict import Verdict
    from qltui.ui.app import QltuiApp

CALM_SECONDS = 0.5
"""Without a key, after which what is new is painted together and not part by part, which takes less."""
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
        # First of all, so that letters that come along with it find the log's line.
        Binding("slash", "search_log", "search", id="monitor.search", key_display="/", show=False, priority=True,
                tooltip="Search in the log; typed in the log's line"),
        Binding("r", "next_rank", "rank", id="monitor.rank", show=False, tooltip="Next rank in the log, or all"),
        *(
            Binding(key, f"panel('{name}')", id=f"monitor.{name}", show=False, tooltip=f"Show or hide {name}")
            for key, name in PANELS.items()
        ),
    ]  # fmt: skip

    def __init__(self, run_path: Path, readonly: bool = False, source: Source | None = None) -> None:
        """Follow the run in ``run_path``; with a ``source`` of its own one that this program did not launch."""
        super().__init__(run_path, readonly)
        self.is_ours = source is None
        self._source: Source = source or Follower(run_path)
        self._recent = Recent()
        self._stacks: list[str] | None = None
        """What ranks of a run that stands still wait for; None while it moves, empty while it is looked for."""
        self._reading: Reading | None = None
        self._rates = bandwidth.rates()
        self._charts_drawn = float("-inf")
        self._offered: tuple[bool, bool] | None = None
        """Whether the run is live and whether it has lost its supervisor, as the keys go by it."""
        self._has_begun = False
        """Whether there is, or can be, something to draw."""
        self._chosen: dict[str, bool] = {}
        """Panels that are shown, or not, wherever there is room for them."""
        self._rest = False
        """Whether what there is no room for is shown in place of the others."""

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
        with Over():
            yield Condition("How the run fares", id="condition")

    def on_mount(self) -> None:
        for key, name in PANELS.items():
            panel = self.query_one(f"#{name}")
            panel.set_class(name != "charts", "panel")
            panel.border_title = Content(f"{TITLES.get(name, name.capitalize())} [{key}]")
        self.watch(self.query_one(LogTail), "told", self._show_log_title)
        self.query_one("#verdict").border_title = "Result"
        if not self.is_ours:  # there are no audits, no plan and no phases to tell of
            self.query_one("#heading").display = False
            self._chosen["phases"] = False
            self._arrange()
        else:
            self.query_one(Charts).read_finer_by(partial(read_finer, RunDirectory(self.run_path)))
        self._follow()

    # Reading the run

    @work(group="follow")
    async def _follow(self) -> None:
        """Read and show the run again and again: beside the screen's own messages, so that no key waits for it."""
        while True:
            due = time.monotonic() + self._rates.poll_seconds
            found = await asyncio.to_thread(self._read)
            with ExitStack() as painting:
                painting.enter_context(self.app.batch_update())
                for _ in self._show(found) if isinstance(found, Reading) else self._tell_unread(found):
                    await asyncio.sleep(0)
                    if not self.display:  # it is being taken down
                        return
                    if cast("QltuiApp", self.app).calm_seconds < CALM_SECONDS:
                        painting.close()  # so that what a key does is painted at once
            if not isinstance(found, Reading) or found.snapshot.caught_up:
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _read(self) -> Reading | Exception:
        """Read the run; what went wrong where that is impossible, as it may be again possible soon."""
        try:
            return self._judged(self._source.poll())
        except Exception as error:
            return error

    def _tell_unread(self, error: Exception) -> Iterator[None]:
        yield
        self._warn(f"The run could not be read, it is tried again: {error!r}")

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
                    snapshot.sample_age, may_act=not self.readonly, host=snapshot.host, nodes=snapshot.nodes,
                    stacks=self._stacks or (),
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

    def _show(self, reading: Reading) -> Iterator[None]:
        """Show a reading in parts, between which others may have their turn."""
        yield
        self._reading = reading
        self._look_if_stalled(reading.verdicts)
        is_first, self.status = self.status is None, reading.snapshot.status
        if is_first and not self.is_ours:
            self._chosen["gpus"] = bool(reading.snapshot.gpus)
            self._arrange()
        yield from self._show_panels(reading)
        self._show_heading(reading)
        yield
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
        self.set_class(not self.is_live, "-ended")
        if not self._has_begun and (status["step"] > 0 or not self.is_live):
            self._has_begun = True
            self._arrange()

    def _show_panels(self, reading: Reading) -> Iterator[None]:
        """The same, a part at each step."""
        snapshot = reading.snapshot
        status = snapshot.status
        now = time.monotonic()
        if now - self._charts_drawn >= self._rates.charts_seconds or not self.is_live or not snapshot.caught_up:
            self._charts_drawn = now
            yield from self.query_one(Charts).show_in_parts(snapshot.series, snapshot.telemetry)
        rows = self.query_one(GpuRows)
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

    def _show_log_title(self, told: str) -> None:
        self.query_one(LogPanel).border_title = Content(f"Log [4] · {told}")

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
        if action == "search_log":
            return not isinstance(self.focused, Input)
        if action == "why":
            line = self.query(DiagnosisLine)
            has_told = bool(line) and line.first().display
            return has_told or (self.is_ours and self.status is not None and self.status["state"] == "stopped")
        return super().check_action(action, parameters)

    def on_resize(self) -> None:
        """Keys and panels may come and go."""
        self.refresh_bindings()
        self.call_next(self._arrange)

    def _arrange(self) -> None:
        """Have those panels on screen that were chosen or that there is room for.

        Each is told by itself: a class of the screen's would have the styles of everything in it worked out anew.
        """
        is_short = self.has_class("-short")
        rest = self._rest and is_short
        log, upper, side = (self.query_one(f"#{name}") for name in ("log", "upper", "side"))
        for name in PANELS.values():
            self.query_one(f"#{name}").display = self._chosen.get(name, True)
        log.display = rest or self._chosen.get("log", not (is_short and self._has_begun))
        log.set_class(rest, "-alone")
        side.display = any(panel.display for panel in side.children)  # a container of nothing takes no room
        upper.display = not rest and any(panel.display for panel in upper.children)

    def action_rest(self) -> None:
        """Show what there was no room for, or go back."""
        self._rest = not self._rest
        self._arrange()

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
        self._chosen[name] = not self.query_one(f"#{name}").display
        self._arrange()

    def action_condition(self) -> None:
        """Show verdicts, audits and phases in full."""
        if self._reading is None:
            return
        snapshot = self._reading.snapshot
        facts = phases(snapshot.status["ranks"], snapshot.phase_seconds, snapshot.plan)
        self.query_one(Condition).open([
            ("Health", [line for verdict in self._reading.verdicts for line in in_full(verdict)]),
            ("Audits", audits_in_full(snapshot.status)),
            ("Phases", table(facts, len(facts), self.size.width)),
            ("Warnings of the run", [Content(words.plain(message)) for message in snapshot.warnings]),
        ])  # fmt: skip

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
        self._chosen["log"] = True
        self._arrange()
        self.query_one(LogPanel).ask("search")

    def action_next_rank(self) -> None:
        """Show another rank's log."""
        self.query_one(LogTail).next_rank()


def _bar_end(scale: int | None) -> str:
    return f" · full bar {words.size(scale)}" if scale else ""
