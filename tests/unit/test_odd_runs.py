"""Runs whose files hold values of every wrong kind: what is read from them can still be judged and shown."""

from __future__ import annotations

import itertools
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.odd_runs import check, make, write
from support.written_runs import WrittenRun

from engine.events import write_json
from qltui.runs import status
from qltui.runs.follow import Follower
from qltui.runs.reduction import CHUNK, Reduction


@given(st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_whatever_its_files_hold_a_run_is_read_judged_and_shown(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random
) -> None:
    run, attempt, told = make(tmp_path_factory.mktemp("odd") / "run")
    write(run, attempt, chance, told)
    check(run)


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    run = WrittenRun(tmp_path)
    for number in range(1, 6):
        run.step(number, 1 / number)
    return run


@pytest.mark.parametrize(
    "event",
    [
        '{"kind": "step", "rank": 0, "attempt": 1, "step": -1, "loss": 9}',
        '{"kind": "step", "rank": 0, "attempt": 1, "loss": 9}',
        '{"kind": "step", "rank": -1, "attempt": 1, "step": 1, "loss": 9}',
        '{"kind": "step", "rank": null, "attempt": 1, "step": 1, "loss": 9}',
        '{"kind": "step", "rank": 0, "attempt": 7, "step": 1, "loss": 9}',
        '{"kind": "started", "rank": 0, "attempt": 1e9, "total_steps": 3}',
        "[" * 100_000,
    ],
)
def test_an_event_that_cannot_be_takes_no_curve_back(run: WrittenRun, event: str) -> None:
    with open(run.attempt.events(0), "a") as file:
        file.write(event + "\n")
    for writer in run.writers:
        writer.step = 6
        writer.emit("step", loss=0.1, step_time=0.25)
    reduction = Reduction(run.run, {})
    reduction.read()
    told = reduction.state.status()
    assert [step for step, _ in reduction.state.series["loss"]] == [1, 2, 3, 4, 5, 6]
    assert (told["attempt"], told["step"], told["loss"]) == (1, 6, 0.1)
    assert [row["rank"] for row in told["ranks"]] == [0, 1]


@pytest.mark.parametrize("told", [b"", b"{", b"[" * 100_000, b'{"state": 5, "ranks": 7, "step": "x"}', None])
def test_a_status_that_makes_no_sense_leaves_the_word_to_the_events(run: WrittenRun, told: bytes | None) -> None:
    run.run.status_json.unlink()
    if told is None:
        run.run.status_json.mkdir()
    else:
        run.run.status_json.write_bytes(told)
    current = status.read(run.run)
    assert (current["state"], current["step"], current["total_steps"]) == ("training", 5, 100)
    assert [row["step"] for row in current["ranks"]] == [5, 5]


def test_of_a_status_larger_than_any_no_more_is_read_than_there_can_be(run: WrittenRun) -> None:
    os.truncate(run.run.status_json, 10**9)
    assert status.read(run.run)["step"] == 5


def test_a_look_at_endless_garbage_ends_in_time(run: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(run.attempt.events(0), "ab") as file:
        file.write(b"no event\n" * (3 * CHUNK // 9))
    run.step(6, 0.1)
    reduction = Reduction(run.run, {})
    clock = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    assert not reduction.read(2.5)  # two rounds, the first finds the attempt: the clock goes on at each look
    assert reduction.state.step == 5
    assert reduction.read()
    assert reduction.state.step == 6


@pytest.mark.parametrize("memory", [True, 3, {"phases": True}, {"phases": {"load": {"weights": "much"}}}])
def test_a_plan_that_makes_no_sense_is_left_out(run: WrittenRun, memory: object) -> None:
    write_json(run.run.plan_json, {"schema_version": 1, "memory": memory})
    assert Follower(run.run.path).poll().plan == {"schema_version": 1}
