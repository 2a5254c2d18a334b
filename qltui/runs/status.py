"""A run's status, read truthfully: what ``status.json`` says, unless nobody is left who keeps it true."""

from __future__ import annotations

import os
import time

from engine.events import Attempt, RunDirectory, is_alive, read_json, start_time
from engine.events.processes import host_name
from qltui import words
from qltui.runs import sense
from qltui.runs.ending import LOST, conclude
from qltui.runs.reduction import Reduction
from qltui.runs.reduction import ranks_of as ranks_of
from qltui.runs.state import FINAL, LIVE, RunState, blank_rank

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

STARTING_SECONDS = 30
"""How long a run may be between being written and its first process being recorded."""


def read(run: RunDirectory) -> dict[str, Any]:
    """The status of a run. Never raises on missing or half-written files; fields as in ``status.json``."""
    written = read_written(run)
    if is_kept(run, written):
        return {**written, "unseen": unseen(run, written)}
    reduction = Reduction(run, written)
    reduction.read()
    judged = judge(run, written, reduction.state)
    return {**judged, "unseen": unseen(run, judged)}


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


def unseen(run: RunDirectory, current: dict[str, Any]) -> str | None:
    """What cannot be known here of a run that is said to go on: a sentence if all its processes are on other hosts."""
    if current["state"] not in LIVE:
        return None
    attempt = run.last_attempt()
    launch = _launch(attempt) or {}
    processes = [current["supervisor"], launch.get("launcher"), *launch.get("ranks", [])]
    alive = {str(one.get("host")): is_alive(one) for one in processes if one}
    away = sorted(host for host, is_there in alive.items() if is_there is None)
    if not away or any(alive.values()):
        return None
    silent = words.duration(silence(run))
    return (
        f"Its processes are on {', '.join(away)}: from {host_name()} they cannot be seen. They last wrote {silent} ago."
    )


def silence(run: RunDirectory) -> float:
    """Seconds since any process of the run wrote a file."""
    attempt = run.last_attempt()
    folders = [run.path, run.telemetry, *([attempt.events_dir] if attempt else [])]
    last = max(_modified(path) for folder in folders for path in (folder, *_files(folder)))
    return max(0.0, time.time() - last)


def judge(run: RunDirectory, written: dict[str, Any], state: RunState) -> dict[str, Any]:
    """The status of a run that no supervisor looks after, given its reduced events."""
    attempt = run.last_attempt()
    if attempt is None or written["attempt"] > attempt.number:
        return _not_started(run.status_json, written)
    launch = _launch(attempt)
    if launch is None:
        return _without_launcher(attempt, written, state)
    state.identity["gpus"] = launch.get("gpus", [])
    processes = [launch.get("launcher"), *launch.get("ranks", [])]
    exits = sense.fitting(read_json(attempt.exits_json) or {}, sense.EXITS)
    world_size = launch.get("world_size") or len(launch.get("ranks", []))
    is_told = len(exits.get("ranks", {})) >= world_size or bool(exits.get("lost_nodes"))
    alive = {is_alive(process) for process in processes}
    if True in alive or (None in alive and not is_told):
        return state.status()
    if not is_told:
        return _lost(state, LOST)
    return conclude(state, world_size, exits, read_json(run.request_json), last_lines(attempt))


def _not_started(path: Path, written: dict[str, Any]) -> dict[str, Any]:
    """The status of an attempt that has no record of its launch yet; ``path`` is as old as the wait."""
    if written["state"] == "queued" and written["supervisor"]:
        reason = "Its supervisor was ended while it was queued; resume it and it takes its place again."
        return {**written, "state": "lost", "reason": reason, "exit_code": 1}
    if time.time() - _modified(path) < STARTING_SECONDS:
        return {**written, "state": "queued" if written["state"] == "queued" else "starting"}
    reason = "It was never started; resume it to start it."
    return {**written, "state": "lost", "reason": reason, "exit_code": 1}


def _without_launcher(attempt: Attempt, written: dict[str, Any], state: RunState) -> dict[str, Any]:
    """The status of ranks that torchrun or another launcher started: their events are all there is."""
    if state.attempt != attempt.number or not state.pids:
        return _not_started(attempt.path, written)
    here = [rank["pid"] for rank in state.pids.values() if rank["host"] == host_name()]
    if len(here) < len(state.pids) or any(isinstance(pid, int) and start_time(pid) is not None for pid in here):
        return state.status()
    if not state.outcome and not state.failures:
        return _lost(state, LOST)
    codes = {str(rank): {"code": 0 if state.outcome else 1} for rank in state.pids}
    return conclude(state, len(state.pids), {"ranks": codes, "first": min(state.failures, default=None)}, None, {})


def last_lines(attempt: Attempt) -> dict[int, str]:
    """The last line each rank wrote to its log, as it stands there."""
    return {rank: last_line(attempt.log(rank)) for rank in ranks_of(attempt.logs_dir)}


def last_line(path: Path, size: int = 8192) -> str:
    """The last line of a file that says something, looked for in its last ``size`` bytes; '' if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            lines = file.read(size).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")


def read_written(run: RunDirectory) -> dict[str, Any]:
    """``status.json`` with every field a status has, whatever is missing in the file."""
    known = read_json(run.status_json) or {}
    empty = RunState({"id": run.id, "name": run.id, "run_dir": str(run.path)}).status()
    written = {**empty, **_sound(known, empty)}
    if written["state"] not in (*LIVE, *FINAL):
        written["state"] = "starting"
    return written


def _sound(known: dict[str, Any], empty: dict[str, Any]) -> dict[str, Any]:
    """The fields of a status that make sense; where some do not, its word on how the run stands counts no more."""
    sound = sense.fitting(known, sense.STATUS)
    if len(sound) < len(known):
        sound |= {"state": "starting", "supervisor": None}
    for key in ("audits", "exact_match"):
        sound[key] = {**empty[key], **sound.get(key, {})}
    sound["ranks"] = [{**blank_rank(row["rank"]), **row} for row in sound.get("ranks", [])]
    return sound


def _launch(attempt: Attempt | None) -> dict[str, Any] | None:
    """``launch.json`` of an attempt; None without one."""
    told = read_json(attempt.launch_json) if attempt else None
    return None if told is None else sense.fitting(told, sense.LAUNCH)


def _lost(state: RunState, reason: str) -> dict[str, Any]:
    return {**state.status(), "state": "lost", "reason": reason, "eta_seconds": None, "exit_code": 1}


def _files(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError:
        return []


def _modified(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
