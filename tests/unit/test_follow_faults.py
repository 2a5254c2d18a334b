"""Following a run whose files are torn, huge, unreadable, newer than this program, or written by a jumping clock."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from support.written_runs import WrittenRun

from qltui.runs.follow import Follower, Snapshot
from qltui.runs.logs import CHUNK, FAR_BEHIND, RunLogs, lines_before

GIB = 2**30


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    run = WrittenRun(tmp_path, ranks=2)
    for number in range(1, 6):
        run.step(number, 1 / number)
    return run


def caught_up(follower: Follower) -> Snapshot:
    while not (snapshot := follower.poll()).caught_up:
        pass
    return snapshot


def steps(snapshot: Snapshot) -> list[float]:
    return [step for step, _ in snapshot.series["loss"]]


def test_an_event_file_cut_short_and_written_on_doubles_nothing(run: WrittenRun) -> None:
    follower, events = Follower(run.run.path), run.attempt.events(0)
    assert steps(caught_up(follower)) == [1, 2, 3, 4, 5]
    lines = events.read_bytes().splitlines(keepends=True)
    os.truncate(events, sum(map(len, lines[:-2])) + 7)  # in the middle of a line
    assert steps(caught_up(follower)) == [1, 2, 3]
    with open(events, "ab") as file:
        file.write(b"\n" + lines[-1])
    assert steps(caught_up(follower)) == [1, 2, 3, 5]


def test_a_gigabyte_of_nothing_in_an_event_file_is_stepped_over(run: WrittenRun) -> None:
    with open(run.attempt.events(0), "r+b") as file:
        last = file.read().splitlines()[-1]
        file.seek(GIB, os.SEEK_END)
        file.write(b"\n" + last.replace(b'"step": 5', b'"step": 6') + b"\n")
    assert steps(caught_up(Follower(run.run.path))) == [1, 2, 3, 4, 5, 6]


def test_event_files_that_cannot_be_read_cost_the_rest_nothing(run: WrittenRun) -> None:
    run.attempt.events(1).unlink()
    run.attempt.events(1).mkdir()
    run.attempt.log(1).mkdir()
    run.log("a line\n")
    snapshot = caught_up(Follower(run.run.path))
    assert steps(snapshot) == [1, 2, 3, 4, 5]
    assert [line.text for line in snapshot.log] == ["a line"]
    run.attempt.events(0).unlink()
    run.attempt.events(0).mkdir()
    assert caught_up(Follower(run.run.path)).status["state"] == "training"


def test_events_of_a_newer_version_are_read_as_far_as_they_are_known(run: WrittenRun) -> None:
    newer = {"schema_version": 99, "attempt": 1, "rank": 0, "host": "h", "wall": time.time(), "of_tomorrow": [1]}
    with open(run.attempt.events(0), "a") as file:
        for event in (
            {"kind": "dreamt", "step": 6, "dream": {}},
            {"kind": "state", "state": "dreaming"},
            {"kind": "step", "step": 6, "loss": 0.1, "step_time": {"seconds": 1}, "memory_peak": "much"},
        ):
            file.write(json.dumps({**newer, **event}) + "\n")
    status = json.loads(run.run.status_json.read_text())
    run.run.status_json.write_text(json.dumps({**status, "schema_version": 99, "of_tomorrow": 1}))
    snapshot = caught_up(Follower(run.run.path))
    assert steps(snapshot) == [1, 2, 3, 4, 5, 6]
    assert snapshot.status["state"] == "training"


def test_a_clock_that_goes_backwards_changes_no_curve(run: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower(run.run.path)
    caught_up(follower)
    past = time.time() - 86400
    monkeypatch.setattr(time, "time", lambda: past)
    run.step(6, 0.1)
    snapshot = caught_up(follower)
    assert steps(snapshot) == [1, 2, 3, 4, 5, 6]
    assert snapshot.elapsed_seconds == 0
    assert snapshot.status["state"] == "training"
    assert snapshot.sample_age is None or snapshot.sample_age >= 0


def test_a_gigabyte_of_log_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    with open(log, "wb") as file:
        file.write(b"first\n")
        file.seek(GIB)
        file.write(b"\nlast\n")
    logs = RunLogs({0: str(log)})
    assert logs.read(2000)[-1].text == "last"
    before = lines_before(str(log), GIB + 1)
    assert [(line.text, line.start, line.end) for line in before] == [("", GIB + 1 - CHUNK, GIB + 1)]
    assert [line.text for line in lines_before(str(log), 6)] == ["first"]


def test_a_tail_that_fell_far_behind_goes_on_at_the_end(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    log.write_text("begin\n")
    logs = RunLogs({0: str(log)})
    assert [line.text for line in logs.read(2000)] == ["begin"]
    with open(log, "a") as file:
        count = 2 * FAR_BEHIND // 10
        file.write("".join(f"{number:09}\n" for number in range(count)))
    lines = logs.read(10**6)
    assert lines[-1].text == f"{count - 1:09}"
    assert len(lines) <= CHUNK // 10
    assert [line.text for line in lines_before(str(log), lines[0].start)][-1] == f"{int(lines[0].text) - 1:09}"


def test_a_log_that_was_written_anew_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    log.write_text("one\ntwo\nhal")
    logs = RunLogs({0: str(log)})
    assert [line.text for line in logs.read(2000)] == ["one", "two", "hal"]
    log.write_text("new\n")
    assert [(line.text, line.start, line.ended) for line in logs.read(2000)] == [("new", 0, True)]
    log.unlink()
    assert logs.read(2000) == []


def test_a_log_that_another_took_the_place_of_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    log.write_text("one\ntwo\n")
    logs = RunLogs({0: str(log)})
    assert [line.text for line in logs.read(2000)] == ["one", "two"]
    log.rename(tmp_path / "rank0.log.1")
    log.write_text("the first line of one that is longer\nand more\n")
    assert [line.text for line in logs.read(2000)] == ["the first line of one that is longer", "and more"]


def test_a_log_in_utf_16_is_legible(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    log.write_bytes("loss 0.5\nloss 0.4\n".encode("utf-16-le"))
    assert [line.text for line in RunLogs({0: str(log)}).read(2000)][:2] == ["loss 0.5", "loss 0.4"]


def test_without_its_folder_a_run_is_as_it_was_and_a_warning_says_so(run: WrittenRun) -> None:
    follower, elsewhere = Follower(run.run.path), run.run.path.with_name("elsewhere")
    caught_up(follower)
    run.run.path.rename(elsewhere)
    snapshot = follower.poll()
    assert (snapshot.status["state"], snapshot.status["step"], steps(snapshot)) == ("training", 5, [1, 2, 3, 4, 5])
    assert "Its folder can't be read any more (No such file or directory)" in snapshot.warnings[-1]
    elsewhere.rename(run.run.path)
    run.step(6, 0.1)
    snapshot = caught_up(follower)
    assert steps(snapshot)[-1] == 6
    assert snapshot.warnings == []


def test_of_many_ranks_each_has_its_newest_lines(tmp_path: Path) -> None:
    paths = {rank: tmp_path / f"rank{rank}.log" for rank in range(64)}
    for rank, path in paths.items():
        path.write_text("".join(f"{rank} says {number}\n" for number in range(5000)))
    lines = RunLogs({rank: str(path) for rank, path in paths.items()}).read(2000)
    assert len(lines) <= 2000
    assert {line.text for line in lines} >= {f"{rank} says 4999" for rank in paths}
