"""The supervisor with real processes: status is true at every end, and nobody is needed to keep a run going."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import (
    begin,
    grandchildren,
    make_run,
    rank_pids,
    running,
    wait_for_steps,
    wait_until,
)

from engine.events import RunDirectory, is_alive, read_json
from qltui.runs import launching, reduction, status
from qltui.runs.follow import Follower
from qltui.runs.launching import LaunchRefused
from qltui.runs.reduction import Reduction
from qltui.runs.state import LIVE
from qltui.runs.telemetry import newest_sample


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def supervise(run: RunDirectory) -> subprocess.Popen[str]:
    return begin("qltui.runs.supervisor", run)


def supervised(plan: list[str], **values: object) -> tuple[RunDirectory, subprocess.Popen[str]]:
    """A run at its first step."""
    run = make_run(plan, **values)
    supervisor = supervise(run)
    wait_for_steps(run, len(plan))
    return run, supervisor


def ended(run: RunDirectory, supervisor: subprocess.Popen[str]) -> dict[str, Any]:
    """The final status, once everything has ended; it is in the file, and readers agree."""
    supervisor.communicate()
    assert running(rank_pids(run) + grandchildren(run)) == []
    written = read_json(run.status_json)
    assert written is not None
    assert status.read(run) == written
    assert supervisor.returncode == written["exit_code"]
    return written


@pytest.mark.parametrize(
    ("plan", "state", "failure", "reason"),
    [
        (["finish", "finish"], "finished", None, None),
        (
            ["hang", "fail"],
            "failed",
            (1, "backward", "ValueError"),
            "Rank 1 failed during backward: ValueError: it broke",
        ),
        (["hang", "kill"], "failed", (1, "save", "SIGKILL"), "Rank 1 was ended by SIGKILL during save."),
        (["hang", "bad-input"], "failed", (1, "data", "BadInput"), "data.jsonl: row 3 has no field 'text'"),
        (["exit 7", "hang"], "failed", (0, None, None), "exit code 7 while training, at step 0: last words"),
    ],
)
def test_how_a_run_ended(
    plan: list[str], state: str, failure: tuple[int, str | None, str | None] | None, reason: str | None
) -> None:
    run = make_run(plan)
    final = ended(run, supervise(run))
    assert final["state"] == state
    named = final["failure"] and tuple(final["failure"][key] for key in ("rank", "phase", "error"))
    assert named == failure
    assert reason in final["reason"] if reason else final["reason"] is None
    if state == "finished":
        assert (final["step"], final["total_steps"], final["adapter_dir"]) == (10, 10, str(run.adapter))
        assert [row["memory_peak"] for row in final["ranks"]] == [1000, 1001]


def test_a_stop_is_saved_however_long_it_takes() -> None:
    run, supervisor = supervised(["hang", "hang"], **{"recovery.stop_grace_seconds": 1})
    launching.request_stop(run)
    final = ended(run, supervisor)
    assert (final["state"], final["exit_code"]) == ("stopped", 0)
    assert "saved at step 1" in final["reason"]
    assert all((run.path / f"saved{rank}").exists() for rank in range(2))


def test_ranks_that_do_not_heed_a_stop_are_ended_after_the_grace_time() -> None:
    run, supervisor = supervised(["stubborn"], **{"recovery.stop_grace_seconds": 1})
    launching.request_stop(run)
    final = ended(run, supervisor)
    assert final["state"] == "stopped"
    assert "did not save in time" in final["reason"]


def test_a_stop_at_once_saves_nothing() -> None:
    run, supervisor = supervised(["parent", "stubborn"])
    launching.request_stop(run, now=True)
    final = ended(run, supervisor)
    assert (final["state"], final["exit_code"]) == ("stopped", 0)
    assert "at once" in final["reason"]
    assert not (run.path / "saved0").exists()


def test_sigkill_of_the_launcher_is_the_reason() -> None:
    run, supervisor = supervised(["parent", "hang"])
    attempt = run.last_attempt()
    assert attempt is not None
    launcher = (read_json(attempt.launch_json) or {})["launcher"]["pid"]
    os.kill(launcher, signal.SIGKILL)
    final = ended(run, supervisor)
    assert final["state"] == "failed"
    assert final["reason"] == "The launcher was ended by SIGKILL at step 1."


def test_a_lost_supervisor_costs_the_run_nothing() -> None:
    run, supervisor = supervised(["hang", "hang"])
    supervisor.kill()
    supervisor.wait()
    assert status.read(run)["state"] == "training"
    launching.request_stop(run)
    wait_until(lambda: status.read(run)["state"] not in LIVE, "the end of the run")
    assert status.read(run)["state"] == "stopped"
    assert Follower(run.path).poll().status["state"] == "stopped"


def test_a_gpu_driver_that_never_answers_keeps_the_supervisor_from_nothing() -> None:
    run = make_run(["hang", "hang"])
    supervisor = begin("silent_driver", run)
    wait_for_steps(run, 2)
    wait_until(lambda: any(gpu.get("silent") for gpu in newest_sample(run).get("gpus", [])), "a silent GPU")
    wait_until(lambda: status.read_written(run)["step"] == 1, "the step in status.json")
    launching.request_stop(run)
    assert ended(run, supervisor)["state"] == "stopped"


def test_a_run_whose_supervisor_was_lost_is_adopted() -> None:
    run, supervisor = supervised(["hang", "hang"])
    with pytest.raises(LaunchRefused, match="is live"):
        launching.resume(run)
    supervisor.kill()
    supervisor.wait()
    launching.resume(run)
    wait_until(lambda: is_alive(status.read_written(run)["supervisor"]), "another supervisor in status.json")
    current = status.read_written(run)
    assert (current["state"], current["attempt"], current["step"]) == ("training", 1, 1)
    assert [row["step"] for row in current["ranks"]] == [1, 1]
    second = [sys.executable, "-P", "-m", "qltui.runs.supervisor", str(run.path), "--adopt"]
    refused = subprocess.run(second, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (1, f"error: run {run.id} has a supervisor\n")
    with pytest.raises(LaunchRefused, match="is live"):
        launching.resume(run)
    samples = len(list(run.telemetry.glob("*.jsonl")))
    launching.request_stop(run)
    wait_until(lambda: status.read_written(run)["state"] not in LIVE, "the end of the run in status.json")
    final = status.read(run)
    assert (final["state"], final["attempt"], final["exit_code"], samples) == ("stopped", 1, 0, 1)
    wait_until(lambda: not is_alive(final["supervisor"]), "the end of the supervisor")


def test_a_hangup_does_not_end_it() -> None:
    run, supervisor = supervised(["hang"])
    supervisor.send_signal(signal.SIGHUP)
    launching.request_stop(run)
    assert ended(run, supervisor)["state"] == "stopped"


def test_a_resumed_run_is_a_new_attempt_with_a_clean_status() -> None:
    run = make_run(["hang", "fail"])
    ended(run, supervise(run))
    (run.path / "plan.txt").write_text("finish")
    final = ended(run, supervise(run))
    assert (final["state"], final["attempt"], final["failure"]) == ("finished", 2, None)


def test_start_and_resume_are_detached() -> None:
    """Through the functions the commands use, on the real engine; it is stopped before it has loaded anything."""
    run = make_run(["finish"])
    for attempt, begin_it in enumerate((launching.start, launching.resume), 1):
        begin_it(run)
        wait_until(lambda: is_alive(status.read_written(run)["supervisor"]), "the supervisor in status.json")
        supervisor = status.read_written(run)["supervisor"]["pid"]
        assert os.getsid(supervisor) == supervisor
        descriptors = {os.readlink(f"/proc/{supervisor}/fd/{number}") for number in range(3)}
        assert descriptors == {os.devnull, str(run.supervisor_log)}
        with pytest.raises(launching.LaunchRefused, match="is live"):
            launching.resume(run)
        wait_until(lambda: len(run.attempts()) == attempt, "the attempt")  # noqa: B023 (called at once)
        launching.request_stop(run, now=True)
        wait_until(lambda: status.read(run)["state"] not in LIVE, "the end of the run")
        assert (status.read(run)["state"], status.read(run)["attempt"]) == ("stopped", attempt)


def test_a_stop_that_came_before_the_ranks_does_not_stop_the_next_attempt() -> None:
    run = make_run(["finish"])
    launching.start(run)
    launching.request_stop(run, now=True)
    wait_until(lambda: status.read(run)["state"] not in LIVE, "the end of the run")
    assert status.read(run)["state"] == "stopped"
    launching.resume(run)
    assert not run.request_json.exists()
    assert status.read(run)["state"] in LIVE
    launching.request_stop(run, now=True)
    wait_until(lambda: status.read(run)["state"] not in LIVE, "the end of the run")


def test_telemetry_tells_of_host_and_ranks() -> None:
    run, supervisor = supervised(["hang", "hang"])
    wait_until(lambda: Follower(run.path).poll().host, "a sample")
    host = Follower(run.path).poll().host
    assert 0 < host["memory_available"] < host["memory_total"]
    assert all(row["memory"] > 1_000_000 for row in host["ranks"])
    launching.request_stop(run)
    ended(run, supervisor)


def test_levels_of_an_attempt_are_whole_at_its_end_and_go_on_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "SMALL", 0)
    run = make_run(["finish", "finish"])
    ended(run, supervise(run))
    for attempt in (1, 2):
        kept = Reduction(run, status.read_written(run), curves=True)
        assert kept.resumed
        assert (kept.state.attempt, kept.state.outcome) == (attempt, "finished")
        assert [step for step, _ in kept.state.series["loss"]] == list(range(1, 11))
        document = read_json(run.path / "levels" / "steps.json")
        assert document is not None
        sizes = {str(rank): kept.attempt.events(rank).stat().st_size for rank in (0, 1)} if kept.attempt else {}
        assert document["offsets"] == sizes
        if attempt == 1:
            ended(run, supervise(run))


def test_a_launcher_that_cannot_begin_says_why() -> None:
    run = make_run(["finish"])
    run.run_yaml.write_text("model: x\n")
    with open(run.supervisor_log, "w") as log:
        code = subprocess.call(
            [sys.executable, "-P", "-m", "qltui.runs.supervisor", str(run.path)], stdout=log, stderr=subprocess.STDOUT
        )
    final = status.read(run)
    assert (code, final["state"]) == (1, "failed")
    assert "data.path" in final["reason"]
