"""Run directories as no engine writes them, and what must be true of what is read from them."""

from __future__ import annotations

import json
import math
import random
import time
from pathlib import Path
from typing import Any

from engine.events import KINDS, Attempt, RunDirectory, identity
from engine.events.event_log import COMMON
from qltui.runs.curves import Curve
from qltui.runs.devices import devices, measured_peak
from qltui.runs.follow import Follower
from qltui.runs.health import Signs, verdicts
from qltui.runs.recent import Recent
from qltui.runs.state import FINAL, LIVE
from qltui.ui.widgets.audit_line import audit_line, audits_in_full
from qltui.ui.widgets.phases import phases, table

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 7, -1, 2**31, 2**63, 10**9, 10**400, -(10**400), 0.0, -0.0, 0.5, 1e308, -1e308, 5e-324,
    math.inf, -math.inf, math.nan, "", "nan", "inf", "1e400", "-1", "x", "cuda:0", "\x1b[2J", "\x1b]52;c;aGk=\x07",
    "[/path]", "\x00", "漢字" * 50, [], {}, [[]], [None], [{"memory_peak": 1}], {"a": 1}, {"0": {}}, ["thermal"],
    "forward", "sharding", "passed", "failed", "training", "finished", "lost", "during", "before", "after",
)  # fmt: skip
LINES = (
    b"", b"\x00" * 40, b"{", b'{"kind":', b"[" * 100_000, b'{"kind": "step"' + b"," * 9, b"null", b"1e400",
    b"\xff\xfe{", b'{"kind": "step", "step": ' + b"9" * 5000 + b"}", '{"kind": "step"}'.encode("utf-16"),
    b"\xef\xbb\xbf{}",
)  # fmt: skip
SAMPLE = (
    "wall", "host", "memory_total", "memory_available", "memory_limit", "memory_limit_used", "swap_total", "disk_free",
    "load", "ranks", "gpus",
)  # fmt: skip
GPU = (
    "uuid", "index", "name", "ranks", "memory_used", "memory_total", "memory_reserved", "utilization", "temperature",
    "power_watts", "power_limit_watts", "throttle", "processes", "other_memory", "lost", "mig",
)  # fmt: skip


def odd_event(chance: random.Random) -> dict[str, Any]:
    """An event with a few fields that are right and some that are not."""
    kind = chance.choice([*KINDS, "of_a_newer_version", "step", "step"])
    fields = [*COMMON, *KINDS.get(kind, ())]
    event = {"step": chance.randint(1, 30), "attempt": 1, "rank": chance.randint(0, 2), "wall": float(int(time.time()))}
    event |= {"loss": 1.0, "step_time": 0.5, "tokens": 100, "memory_peak": 2**30} if kind == "step" else {}
    return {**event, **{chance.choice(fields): odd(chance) for _ in range(chance.randint(0, 5))}, "kind": kind}


def odd_sample(chance: random.Random) -> dict[str, Any]:
    """A sample of telemetry in the same way."""
    gpu = {"index": 0, "memory_used": 2**30, "memory_total": 2**34, "lost": False}
    gpus = [{**gpu, **{chance.choice(GPU): odd(chance) for _ in range(chance.randint(0, 4))}} for _ in range(2)]
    rows = {"gpus": gpus, "ranks": [{"rank": odd(chance), "memory": odd(chance)}], "wall": float(int(time.time()))}
    return {**rows, **{chance.choice(SAMPLE): odd(chance) for _ in range(chance.randint(0, 4))}}


def odd(chance: random.Random) -> Any:
    """Any value."""
    return chance.choice(VALUES)


def spoilt(chance: random.Random, whole: dict[str, Any]) -> bytes:
    """A JSON file of which some fields, or all of it, make no sense."""
    if chance.random() < 0.1:
        return chance.choice(LINES)
    return json.dumps({**whole, **{chance.choice(list(whole)): odd(chance) for _ in range(3)}}).encode()


def write(run: RunDirectory, attempt: Attempt, chance: random.Random, status: dict[str, Any]) -> None:
    """Fill a run directory with what nobody should write; its launcher lives."""
    for rank in range(chance.randint(1, 2)):
        lines = [_line(chance, odd_event) for _ in range(chance.randint(1, 8))]
        attempt.events(rank).write_bytes(b"\n".join(lines) + b"\n")
    run.telemetry.mkdir(exist_ok=True)
    lines = [_line(chance, odd_sample) for _ in range(chance.randint(0, 3))]
    (run.telemetry / "host.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    run.status_json.write_bytes(spoilt(chance, status) if chance.random() < 0.3 else json.dumps(status).encode())
    launch = {"world_size": 2, "launcher": identity(), "ranks": [], "gpus": []}
    attempt.launch_json.write_bytes(spoilt(chance, launch) if chance.random() < 0.2 else json.dumps(launch).encode())
    exits = {"ranks": {"0": {"code": 0}, "1": {"code": 1, "signal": 9}}, "first": 1, "launcher_signal": None}
    attempt.exits_json.write_bytes(spoilt(chance, exits))


def _line(chance: random.Random, make: Any) -> bytes:
    if chance.random() < 0.1:
        return chance.choice(LINES)
    line = json.dumps(make(chance)).encode()
    return line[: chance.randint(0, len(line))] if chance.random() < 0.05 else line


def check(run: RunDirectory) -> None:
    """Read the run as the monitor does, and make of it what the monitor shows."""
    follower, recent = Follower(run.path), Recent()
    snapshot = follower.poll()
    while not snapshot.caught_up:
        snapshot = follower.poll()
    status = snapshot.status
    assert status["state"] in (*LIVE, *FINAL)
    json.dumps(status)
    for points in (*snapshot.series.values(), *snapshot.telemetry.values()):
        curve = Curve()
        curve.follow(points)
        curve.extremes(0, len(curve))
    recent.take(status, snapshot.gpus, snapshot.host.get("wall"))
    rows = devices(status, snapshot.gpus, snapshot.host, recent.paces())
    measured_peak(rows, snapshot.telemetry)
    signs = Signs(
        status, snapshot.series, recent, time.time(), snapshot.gpus, snapshot.telemetry, host=snapshot.host,
        supervised=True, sample_age=snapshot.sample_age,
    )  # fmt: skip
    assert verdicts(signs)
    audit_line(status, 80)
    audits_in_full(status)
    facts = phases(status["ranks"], snapshot.phase_seconds, snapshot.plan)
    table(facts, len(facts), 80)


def make(folder: Path) -> tuple[RunDirectory, Attempt, dict[str, Any]]:
    """An empty run, and a status its supervisor could have written."""
    from qltui.runs.state import RunState

    run = RunDirectory(folder)
    run.path.mkdir(parents=True)
    status = RunState({"id": run.id, "name": "odd", "run_dir": str(run.path), "supervisor": identity()}).status()
    return run, run.new_attempt(), {**status, "state": "training"}
