"""A run's status, read truthfully: what ``status.json`` says, unless nobody is left who keeps it true."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from engine.events import Attempt, EventReader, RunDirectory, is_alive, read_json
from qltui.runs.ending import LOST, conclude
from qltui.runs.state import FINAL, LIVE, RunState

if TYPE_CHECKING:
    from pathlib import Path

STARTING_SECONDS = 30
"""How long a run may be between being written and its first process being recorded."""


def read(run: RunDirectory) -> dict[str, Any]:
    """The status of a run. Never raises on missing or half-written files; fields as in ``status.json``."""
    written = read_written(run)
    if is_kept(run, written):
        return written
    return judge(run, written, reduce(run, written))


def is_live(run: RunDirectory) -> bool:
    """Whether processes of the run are at work, or about to be."""
    return read(run)["state"] in LIVE


def is_kept(run: RunDirectory, written: dict[str, Any]) -> bool:
    """Whether ``status.json`` can be taken as it stands: its supervisor lives, or it tells the end of the last attempt.

    A supervisor on another host cannot be looked for; what it wrote is taken.
    """
    if written["state"] in FINAL:
        last = run.last_attempt()
        return last is None or written["attempt"] >= last.number
    return is_alive(written["supervisor"]) is not False


def judge(run: RunDirectory, written: dict[str, Any], state: RunState) -> dict[str, Any]:
    """The status of a run that no supervisor looks after, given its reduced events."""
    attempt = run.last_attempt()
    launch = read_json(attempt.launch_json) if attempt else None
    if attempt is None or launch is None:
        if time.time() - _modified(attempt.path if attempt else run.status_json) < STARTING_SECONDS:
            return {**written, "state": "starting"}
        return _lost(state, "It was never started: resume it.")
    processes = [launch.get("launcher"), *launch.get("ranks", [])]
    if any(is_alive(process) is not False for process in processes):
        return state.status()
    exits = read_json(attempt.exits_json) or {}
    world_size = launch.get("world_size") or len(launch.get("ranks", []))
    if len(exits.get("ranks", {})) < world_size:
        return _lost(state, LOST)
    return conclude(state, world_size, exits, read_json(run.request_json), last_lines(attempt))


def reduce(run: RunDirectory, written: dict[str, Any]) -> RunState:
    """All events of the run's last attempt, and rank 0's of those before, as a state."""
    state = RunState({**written, "attempt": 1})
    attempts = run.attempts()
    for attempt in attempts:
        for rank in ranks_of(attempt.events_dir) if attempt is attempts[-1] else [0]:
            reader = EventReader(attempt.events(rank))
            while events := reader.read():
                for event in events:
                    state.apply(event)
    return state


def ranks_of(folder: Path) -> list[int]:
    """The ranks that have a file (``rank<r>.<ending>``) in a folder, rank 0 first."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [name.removeprefix("rank").partition(".")[0] for name in names if name.startswith("rank")]
    return sorted(int(rank) for rank in found if rank.isdigit())


def last_lines(attempt: Attempt) -> dict[int, str]:
    """The last line each rank wrote to its log, as it stands there."""
    lines = {}
    for rank in ranks_of(attempt.logs_dir):
        written = [line for line in _end(attempt.log(rank)).splitlines() if line.strip()]
        lines[rank] = written[-1] if written else ""
    return lines


def _end(path: Path, size: int = 8192) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size).decode("utf-8", "replace")
    except OSError:
        return ""


def read_written(run: RunDirectory) -> dict[str, Any]:
    """``status.json`` with every field a status has, whatever is missing in the file."""
    known = read_json(run.status_json) or {}
    empty = RunState({"id": run.id, "name": run.id, "run_dir": str(run.path)}).status()
    written = {**empty, **known}
    if written["state"] not in (*LIVE, *FINAL):
        written["state"] = "starting"
    return written


def _lost(state: RunState, reason: str) -> dict[str, Any]:
    return {**state.status(), "state": "lost", "reason": reason, "eta_seconds": None, "exit_code": 1}


def _modified(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
