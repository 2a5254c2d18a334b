"""``engine.launch`` with real processes: every end of a rank is recorded, and nothing is left running."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import (
    begin,
    config,
    grandchildren,
    make_run,
    rank_pids,
    running,
    wait_for_steps,
    wait_until,
)

from engine.events import RunDirectory, read_json, write_json
from engine.launch import PORTS, free_port, rank_environment
from qltui.runs import status


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def exits(run: RunDirectory) -> dict[str, Any]:
    attempt = run.last_attempt()
    return (read_json(attempt.exits_json) if attempt else None) or {}


def ends(run: RunDirectory) -> list[tuple[int | None, int | None]]:
    return [(record["code"], record["signal"]) for _, record in sorted(exits(run)["ranks"].items())]


@pytest.mark.parametrize(
    ("plan", "code", "first", "recorded"),
    [
        (["finish", "finish", "finish"], 0, None, [(0, None)] * 3),
        (["hang", "exit 1"], 1, 1, [(None, signal.SIGTERM), (1, None)]),
        (["kill", "hang"], 1, 0, [(None, signal.SIGKILL), (None, signal.SIGTERM)]),
        (["bad-input", "hang"], 3, 0, [(3, None), (None, signal.SIGTERM)]),
        (["fail", "finish"], 1, 0, [(1, None), (0, None)]),
    ],
)
def test_each_end_is_recorded(
    plan: list[str], code: int, first: int | None, recorded: list[tuple[int | None, int | None]]
) -> None:
    run = make_run(plan)
    launcher = begin("engine.launch", run)
    output = launcher.communicate()[0]
    assert (launcher.returncode, output) == (code, "")
    assert exits(run)["first"] == first
    if plan == ["fail", "finish"]:  # the second may or may not be through when the first fails
        recorded[1] = ends(run)[1]
    assert ends(run) == recorded
    speaker = first or 0  # another may be ended before it has said a word
    assert f"rank {speaker} says" in run.attempts()[0].log(speaker).read_text()


def test_a_rank_that_ignores_sigterm_is_killed() -> None:
    run = make_run(["stubborn", "hang"])
    launcher = begin("engine.launch", run)
    wait_for_steps(run)
    os.kill(rank_pids(run)[1], signal.SIGKILL)
    launcher.communicate()
    assert ends(run) == [(None, signal.SIGKILL)] * 2
    assert exits(run)["first"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_launcher_ends_everything(number: int) -> None:
    run = make_run(["parent", "hang"])
    launcher = begin("engine.launch", run)
    wait_for_steps(run)
    pids = rank_pids(run) + grandchildren(run)
    assert len(running(pids)) == 4
    launcher.send_signal(number)
    launcher.communicate()
    assert launcher.returncode == 1
    assert running(pids) == []
    assert exits(run)["launcher_signal"] == signal.Signals(number).name


def test_sigkill_of_the_launcher_leaves_nothing_running() -> None:
    run = make_run(["parent", "stubborn"])
    launcher = begin("engine.launch", run)
    wait_for_steps(run)
    pids = rank_pids(run) + grandchildren(run)
    assert len(running(pids)) == 4
    launcher.kill()
    wait_until(lambda: not running(pids), "the end of all ranks and grandchildren")
    wait_until(lambda: status.read(run)["state"] == "lost", "the run read as lost")


@pytest.mark.parametrize("plan", [["orphan", "finish"], ["parent", "exit 1"]])
def test_no_grandchild_outlives_the_ranks(plan: list[str]) -> None:
    run = make_run(plan)
    begin("engine.launch", run).communicate()
    assert len(rank_pids(run)) == 2
    assert running(grandchildren(run)) == []


def test_a_save_after_a_stop_is_waited_for() -> None:
    run = make_run(["hang", "hang"])
    launcher = begin("engine.launch", run)
    wait_for_steps(run)
    write_json(run.request_json, {"action": "stop", "id": "1", "attempt": 1})
    launcher.communicate()
    assert launcher.returncode == 0
    assert all((run.path / f"saved{rank}").exists() for rank in range(2))


def test_one_launcher_at_a_time_and_a_new_attempt_after_it() -> None:
    run = make_run(["hang"])
    first = begin("engine.launch", run)
    wait_for_steps(run, 1)
    second = begin("engine.launch", run)
    assert "is live" in second.communicate()[0]
    assert second.returncode == 1
    first.terminate()
    first.communicate()
    (run.path / "plan.txt").write_text("finish")
    third = begin("engine.launch", run)
    third.communicate()
    assert third.returncode == 0
    launches = [read_json(attempt.launch_json) or {} for attempt in run.attempts()]
    assert [launch["attempt"] for launch in launches] == [1, 2]
    assert launches[0]["argv"] == launches[1]["argv"]


def test_until_a_killed_launcher_is_cleared_away_the_run_cannot_be_launched() -> None:
    run = make_run(["stubborn"])
    first = begin("engine.launch", run)
    wait_for_steps(run, 1)
    first.kill()
    first.wait()
    pids = rank_pids(run)
    second = begin("engine.launch", run)  # within the two seconds a stubborn rank has
    output = second.communicate()[0]
    assert "is live" in output or not running(pids)
    wait_until(lambda: not running(pids), "the end of the rank")


def test_a_token_reaches_the_ranks_but_no_file() -> None:
    run = make_run(["hang"])
    launcher = begin("engine.launch", run, HF_TOKEN="hf_secret_of_mine", WANDB_API_KEY="wandb_secret_of_mine")
    wait_for_steps(run, 1)
    assert b"hf_secret_of_mine" in Path(f"/proc/{rank_pids(run)[0]}/environ").read_bytes()
    launcher.terminate()
    launcher.communicate()
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if b"secret_of_mine" in path.read_bytes()]


def test_a_run_file_that_cannot_be_used_is_bad_input() -> None:
    run = make_run(["finish"])
    run.run_yaml.write_text("model: x\nstrategy: fsdp2\n")
    launcher = begin("engine.launch", run)
    output = launcher.communicate()[0]
    assert launcher.returncode == 3
    assert "data.path" in output
    assert "Traceback" not in output
    assert run.attempts() == []


def test_the_cores_are_shared_out() -> None:
    cores = len(os.sched_getaffinity(0))
    assert rank_environment(config(), 1, [])["OMP_NUM_THREADS"] == str(cores)
    assert rank_environment(config(), cores * 4, [])["OMP_NUM_THREADS"] == "1"
    asked = config(**{"hardware.threads_per_rank": 3})
    assert rank_environment(asked, 2, [])["OMP_NUM_THREADS"] == "3"


def test_gpus_are_chosen_by_uuid_in_the_order_of_the_bus() -> None:
    environment = rank_environment(config(device="cuda"), 2, ["GPU-b", "GPU-a"])
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-b,GPU-a"
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert rank_environment(config(), 2, [])["CUDA_VISIBLE_DEVICES"] == ""


def test_two_launches_get_ports_of_their_own() -> None:
    ports = [free_port() for _ in range(20)]
    assert all(port in PORTS for port in ports)
    assert len(set(ports)) > 1
