"""Following a run from outside: what is new, bounded, across attempts, whatever is missing."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from engine.events import EventWriter, RunDirectory, identity, write_json
from qltui.runs.follow import LOG_LINES, Follower, Snapshot
from qltui.runs.logs import CHUNK, LogTail

if TYPE_CHECKING:
    from pathlib import Path

    from engine.events import Attempt


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "tiny-1")
    run.path.mkdir()
    write_json(run.status_json, {"id": "tiny-1", "state": "training", "supervisor": identity()})
    return run


def begin_attempt(run: RunDirectory, ranks: int = 1) -> tuple[Attempt, list[EventWriter]]:
    attempt = run.new_attempt()
    write_json(attempt.launch_json, {"world_size": ranks, "launcher": identity(), "ranks": []})
    return attempt, [
        EventWriter(attempt.events(rank), attempt=attempt.number, node=0, rank=rank, local_rank=rank)
        for rank in range(ranks)
    ]


def steps(writer: EventWriter, *numbers: int) -> None:
    for number in numbers:
        writer.step = number
        writer.emit("step", loss=float(number), tokens=10, step_time=0.1)


def caught_up(follower: Follower) -> Snapshot:
    while not (snapshot := follower.poll()).caught_up:
        pass
    return snapshot


def texts(snapshot: Snapshot) -> list[tuple[int, str]]:
    return [(line.rank, line.text) for line in snapshot.log]


def test_a_directory_with_nothing_in_it(tmp_path: Path) -> None:
    snapshot = Follower(tmp_path / "gone").poll()
    assert snapshot.status["id"] == "gone"
    assert (snapshot.log, snapshot.warnings, snapshot.gpus, snapshot.elapsed_seconds) == ([], [], [], None)


def test_what_is_new_comes_once(run: RunDirectory) -> None:
    follower = Follower(run.path)
    attempt, (writer,) = begin_attempt(run)
    steps(writer, 1, 2)
    attempt.log(0).write_text("one\n\x1b[31mtwo\x1b[0m\nhalf")
    first = caught_up(follower)
    assert first.series["loss"] == [(1, 1.0), (2, 2.0)]
    assert texts(first) == [(0, "one"), (0, "two"), (0, "half")]
    assert [line.ended for line in first.log] == [True, True, False]
    with open(attempt.log(0), "a") as log:
        log.write(" a line\n")
    steps(writer, 3)
    writer.emit("warning", message="mind this")
    second = caught_up(follower)
    assert second.series["loss"][-1] == (3, 3.0)
    assert texts(second) == [(0, "half a line")]
    assert second.warnings == ["mind this"]
    assert caught_up(follower).log == []


def test_a_resumed_run_goes_on_in_the_same_curve(run: RunDirectory) -> None:
    _, (writer,) = begin_attempt(run)
    steps(writer, 1, 2, 3)
    follower = Follower(run.path)
    caught_up(follower)
    attempt, (writer,) = begin_attempt(run)
    steps(writer, 3, 4)
    attempt.log(0).write_text("second\n")
    snapshot = caught_up(follower)
    assert [step for step, _ in snapshot.series["loss"]] == [1, 2, 3, 4]
    assert texts(snapshot) == [(0, "second")]
    assert caught_up(Follower(run.path)).series == snapshot.series


def test_without_a_supervisor_the_events_tell(run: RunDirectory) -> None:
    write_json(run.status_json, {"id": "tiny-1", "state": "training", "supervisor": {**identity(), "start_time": 1}})
    attempt, (writer, other) = begin_attempt(run, ranks=2)
    follower = Follower(run.path)
    writer.emit("state", state="training")
    steps(writer, 5)
    steps(other, 5)
    assert caught_up(follower).status["step"] == 5
    write_json(attempt.launch_json, {"world_size": 2, "launcher": {**identity(), "start_time": 1}, "ranks": []})
    assert caught_up(follower).status["state"] == "lost"
    writer.emit("finished", outcome="finished", adapter="adapter")
    write_json(attempt.exits_json, {"ranks": {str(rank): {"code": 0, "signal": None} for rank in range(2)}})
    assert caught_up(follower).status["state"] == "finished"


def test_ranks_that_torchrun_started_are_read_from_their_events(run: RunDirectory) -> None:
    """There is no launch.json then, and no exit record."""
    write_json(run.status_json, {"id": "tiny-1", "state": "starting", "supervisor": None})
    attempt = run.new_attempt()
    child = subprocess.Popen(["sleep", "600"])
    writer = EventWriter(attempt.events(0), attempt=1, node=0, rank=0, local_rank=0)
    writer.emit("started", world_size=1, pid=child.pid)
    writer.emit("state", state="training")
    assert caught_up(Follower(run.path)).status["state"] == "training"
    child.kill()
    child.wait()
    assert caught_up(Follower(run.path)).status["state"] == "lost"
    writer.emit("failed", phase="data", error="ValueError", message="it broke", bad_input=False)
    failed = caught_up(Follower(run.path)).status
    assert (failed["state"], failed["failure"]["phase"]) == ("failed", "data")
    writer.emit("finished", outcome="stopped")
    assert caught_up(Follower(run.path)).status["state"] == "stopped"


def test_one_poll_of_a_huge_run_is_bounded(run: RunDirectory) -> None:
    attempt, (writer,) = begin_attempt(run)
    steps(writer, 1)
    line = attempt.events(0).read_text()
    count = 200_000
    attempt.events(0).write_text(
        "".join(line.replace('"step": 1,', f'"step": {step},', 1) for step in range(1, count + 1))
    )
    attempt.log(0).write_text("".join(f"line {number}\n" for number in range(100_000)))
    follower = Follower(run.path)
    snapshot = follower.poll()
    assert not snapshot.caught_up
    assert 0 < len(snapshot.series["loss"]) < count
    assert len(snapshot.log) == LOG_LINES
    assert texts(snapshot)[-1] == (0, "line 99999")
    assert caught_up(follower).series["loss"][-1][0] == count


def test_the_newest_telemetry_of_every_host(run: RunDirectory) -> None:
    run.telemetry.mkdir()
    for host in ("a", "b"):
        lines = [f'{{"host": "{host}", "gpus": [{{"uuid": "{host}-{turn}"}}]}}\n' for turn in range(2)]
        (run.telemetry / f"{host}.jsonl").write_text("".join(lines) + '{"gpus": [')
    assert [gpu["uuid"] for gpu in Follower(run.path).poll().gpus] == ["a-1", "b-1"]


def test_a_log_is_read_from_its_start_or_its_end(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    lines = [f"line {number}" for number in range(CHUNK // 4)]
    log.write_text("\n".join(lines) + "\nno end")
    whole, tail = LogTail(log, from_start=True), LogTail(log)
    read: list[str] = []
    while new := whole.read():
        read += new
    assert read == lines
    assert whole.remainder() == ["no end"]
    last = tail.read()
    assert last == lines[-len(last) :]
    os.truncate(log, 0)
    log.write_text("anew\n")
    assert tail.read() == ["anew"]
