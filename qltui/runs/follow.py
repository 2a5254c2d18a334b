"""One run followed from outside: everything the monitor shows, read from the run directory alone.

A poll does bounded work and never blocks or raises, whatever is missing or half-written.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.events import RunDirectory, read_json
from qltui.runs import sense, status
from qltui.runs.logs import LogLine, RunLogs
from qltui.runs.reduction import Reduction, ranks_of
from qltui.runs.state import LIVE, Point, RunState
from qltui.runs.telemetry import History, newest_sample

if TYPE_CHECKING:
    from pathlib import Path

LOG_LINES = 2000
"""Log lines one poll gives at most: the newest."""
POLL_SECONDS = 0.05
"""Time a poll spends on events before it leaves the rest to the next one."""


class Snapshot(NamedTuple):
    """What is known of a run at one moment."""

    status: dict[str, Any]
    """As ``qltui status --json`` gives it."""
    series: dict[str, list[Point]]
    """(step, value) by name, as ``qltui.runs.state.SERIES`` says. Copy what you keep."""
    log: list[LogLine]
    """Lines new since the last poll, sanitised."""
    warnings: list[str]
    gpus: list[dict[str, Any]]
    """Newest sample of each GPU: index, uuid, name, memory_used, memory_total (bytes), utilization (%), ..."""
    host: dict[str, Any]
    """Newest sample of the host: memory_total, memory_available (bytes), ranks[{rank, memory}]."""
    elapsed_seconds: float | None
    """Time since the attempt began, up to its end."""
    caught_up: bool
    """False while an old run's events are still being read; poll again soon."""
    plan: dict[str, Any] | None = None
    """``plan.json`` as it is written; None without one."""
    telemetry: dict[str, list[Point]] = {}
    """(wall seconds, value) by ``gpu<index>.`` and memory_used (bytes), utilization (%), power_watts or temperature,
    and of ``host.memory_used``; where several hosts have samples, by ``<host>/gpu<index>.`` and so on."""
    phase_seconds: dict[str, float] = {}
    """Seconds of a step by phase (data, forward, backward, optimizer, other), mean of the newest; what is known."""
    sample_age: float | None = None
    """Seconds since the newest sample was taken; None if there is none."""
    nodes: list[dict[str, Any]] = []
    """Of a run on several nodes those that have not ended: node, host and wall time of the newest heartbeat."""
    logs: list[Path] | None = None
    """Of a run of another program: its logs, which may tell how it ended."""


class Follower:
    """Reads on where the last poll ended; goes on with the new attempt's files when a run is resumed."""

    def __init__(self, run_dir: Path) -> None:
        self.run = RunDirectory(run_dir)
        self._reduction: Reduction | None = None
        self._logs = RunLogs()
        self._plan: dict[str, Any] | None = None
        self._history: History | None = None
        self._last: Snapshot | None = None

    def poll(self) -> Snapshot:
        """What is known now; without its folder what was known last, and a warning that says so."""
        problem = _unreadable(self.run)
        if problem and self._last:
            self._last = self._last._replace(log=[], warnings=[problem])
            return self._last
        if self._reduction is None:
            self._reduction = Reduction(self.run, status.read_written(self.run), curves=True)
        caught_up, state = self._reduction.read(POLL_SECONDS), self._reduction.state
        written = status.read_written(self.run)
        if not status.is_kept(self.run, written):
            state.identity = RunState(written).identity
            written = status.judge(self.run, written, state)
        written = {**written, "unseen": status.unseen(self.run, written)}
        sample = self._read_telemetry(caught_up)
        self._last = Snapshot(
            status=written,
            series=state.series,
            log=self._read_logs(),
            warnings=list(state.warnings),
            gpus=sample.get("gpus") or [],
            host={key: value for key, value in sample.items() if key != "gpus"},
            elapsed_seconds=self._elapsed(written),
            caught_up=caught_up,
            plan=self._read_plan(),
            telemetry=self._history.curves if self._history else {},
            phase_seconds=state.phase_seconds,
            nodes=heartbeats(self.run) if written["state"] in LIVE else [],
            sample_age=max(0.0, time.time() - sample["wall"]) if sample.get("wall") else None,
        )
        return self._last

    def _read_plan(self) -> dict[str, Any] | None:
        """It is written before the start and never changed."""
        if self._plan is None:
            told = read_json(self.run.plan_json)
            self._plan = None if told is None else sense.fitting(told, sense.PLAN)
        return self._plan

    def _read_telemetry(self, caught_up: bool) -> dict[str, Any]:
        """The newest sample; the samples over time are read once the curves over steps are there."""
        if self._history is None:
            if not caught_up:
                return newest_sample(self.run)
            self._history = History(self.run)
        return self._history.read()

    def _read_logs(self) -> list[LogLine]:
        attempt = self.run.last_attempt()
        if attempt is None:
            return []
        self._logs.follow({rank: str(attempt.log(rank)) for rank in ranks_of(attempt.logs_dir)})
        return self._logs.read(LOG_LINES)

    def _elapsed(self, written: dict[str, Any]) -> float | None:
        attempt = self.run.last_attempt()
        if attempt is None:
            return None
        end = time.time() if written["state"] in LIVE else written["updated"]
        try:
            return max(0.0, end - os.stat(attempt.launch_json).st_mtime) if end else None
        except OSError:
            return None


def heartbeats(run: RunDirectory) -> list[dict[str, Any]]:
    """The newest heartbeat of each node whose ranks have not ended; none where there is one node."""
    attempt = run.last_attempt()
    if attempt is None:
        return []
    found = []
    for name in _names(attempt.nodes_dir):
        node, _, kind = name.partition(".")
        told = read_json(attempt.nodes_dir / name) if kind == "beat.json" and node.isdigit() else None
        wall = sense.finite((told or {}).get("wall"))
        ended = read_json(attempt.node_exits(int(node))) if wall is not None else None
        if told is not None and wall is not None and (ended is None or ended.get("running")):
            found.append({"node": int(node), "host": sense.text(told.get("host")) or "?", "wall": wall})
    return sorted(found, key=lambda one: one["node"])


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _unreadable(run: RunDirectory) -> str | None:
    """Why a run's folder can't be read, in a sentence; None if it can."""
    try:
        os.listdir(run.path)
    except OSError as error:
        return f"Its folder can't be read any more ({error.strerror}): this is what was known last."
    return None
