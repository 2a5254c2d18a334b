"""Real runs that die and go on: by themselves, and with a fix of their diagnosis applied."""

from __future__ import annotations

import json
import os
import signal
from types import SimpleNamespace
from typing import Any

import torch
from support.runs import Cli, events, wait_for
from support.small_runs import begin

from engine.checkpoint import _restore_schedule
from engine.config.reading import read_file
from engine.config.run_config import build
from engine.events import RunDirectory, read_json
from engine.optimizer import make_schedule

STEPS = 20
PATIENT: dict[str, Any] = {
    "training.max_steps": STEPS, "training.save_every": 4, "data.num_workers": 1, "data.eval_path": None,
    "recovery.auto": 1,
}  # fmt: skip


ALONE: dict[str, Any] = {"strategy.name": "single", "hardware.ranks_per_node": 1, "data.eval_path": None}


def kill_a_rank(run: RunDirectory, attempt: int, after: int) -> None:
    """SIGKILL rank 1 of an attempt once it saved a checkpoint at step ``after`` or later."""

    def saved() -> bool:
        attempts = run.attempts()
        is_there = len(attempts) == attempt and attempts[-1].events(0).exists()
        return is_there and any(not one["resumed"] and one["step"] >= after for one in events(run, "checkpoint"))

    wait_for(saved, 120, f"a checkpoint at step {after}")
    launch = read_json(run.attempts()[-1].launch_json)
    assert launch is not None
    os.kill(launch["ranks"][1]["pid"], signal.SIGKILL)


def resumed_from(run: RunDirectory) -> str:
    """The checkpoint that the last attempt of a run went on from."""
    (checkpoint,) = [event for event in events(run, "checkpoint") if event["resumed"]]
    return str(checkpoint["path"])


def test_it_goes_on_by_itself_once_and_then_with_a_fix(cli: Cli, small_run) -> None:
    run_id = cli("launch", str(small_run(**PATIENT))).stdout.strip()
    run = cli.directory(run_id)
    kill_a_rank(run, 1, 4)
    wait_for(lambda: len(run.attempts()) == 2, 60, "a second attempt")
    kill_a_rank(run, 2, 12)
    status = cli.wait(run_id)
    assert (status["state"], status["attempt"]) == ("failed", 2)
    assert resumed_from(run).startswith("checkpoints/step-")
    (record,) = status["recoveries"]
    assert (record["attempt"], record["cause"], record["by_itself"]) == (1, "host_oom_sigkill", True)
    assert f"recovery 1 of 1: attempt 1 died at step {record['step']}" in run.supervisor_log.read_text()

    diagnosis = json.loads(cli("diagnose", run_id, "--json", check=False).stdout)
    number = 1 + [fix.get("patch") for fix in diagnosis["fixes"]].index({"data.num_workers": 0})
    applied = cli("resume", run_id, "--apply", str(number), "--wait")
    new = cli.directory(applied.stdout.split()[0])
    assert new.id != run_id
    assert "with weights, optimizer and schedule as they were" in applied.stderr
    config = read_file(new.run_yaml)
    assert (config.parent, config.data.num_workers) == (run_id, 0)
    assert cli.status(new.id)["state"] == "finished"
    assert cli.status(new.id)["step"] == STEPS
    assert f"{run_id}/checkpoints/step-" in resumed_from(new)
    assert cli.status(run_id)["recoveries"][-1]["into"] == new.id


def test_a_run_that_continues_another_has_a_rate_of_its_own() -> None:
    """Step and shape of the schedule are the parent's, its height is the configuration's; unchanged to the bit."""

    def at(rate: float, steps: int) -> Any:
        strategy = SimpleNamespace(optimizer=torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]))
        for group in strategy.optimizer.param_groups:
            group["lr"] = rate
        config = build({"model.path": "m", "data.path": "d", "training.learning_rate": rate})
        session = SimpleNamespace(schedule=make_schedule(config, strategy.optimizer, 40), strategy=strategy)
        for _ in range(steps):
            strategy.optimizer.step()
            session.schedule.step()
        return session

    saved = at(1e-3, 17).schedule.state_dict()
    for rate in (1e-3, 2.5e-4):
        resumed, wanted = at(rate, 0), at(rate, 17)
        _restore_schedule(resumed, dict(saved))
        for _ in range(2):
            assert resumed.strategy.optimizer.param_groups[0]["lr"] == wanted.strategy.optimizer.param_groups[0]["lr"]
            for one in (resumed, wanted):
                one.strategy.optimizer.step()
                one.schedule.step()


def test_out_of_gpu_memory_it_goes_on_with_smaller_batches(cli: Cli, small_run, monkeypatch) -> None:
    """The death is told by a rank that has no GPU; the run that follows is real."""
    from qltui.runs import launching

    monkeypatch.setenv("QLTUI_HOME", str(cli.home))
    run = launching.create(read_file(small_run(**ALONE, **{"training.max_steps": 2, "recovery.auto": 1})))
    (run.path / "plan.txt").write_text("out-of-memory")
    printed, _ = begin("qltui.runs.supervisor", run).communicate(timeout=60)
    (record,) = cli.status(run.id)["recoveries"]
    assert f"{record['into']} goes on with 1 row at once, accumulated twice as often" in printed
    assert cli.wait(record["into"])["state"] == "finished"
    training = read_file(cli.directory(record["into"]).run_yaml).training
    assert (training.micro_batch_size, training.gradient_accumulation_steps) == (1, 4)


def test_a_loss_that_became_no_number_is_learnt_again_more_slowly(cli: Cli, small_run) -> None:
    too_fast = {"training.learning_rate": 1e9, "training.max_steps": 8, "training.max_grad_norm": 0}
    run_id = cli("launch", str(small_run(**ALONE, **too_fast)), "--wait", check=False).stdout.split()[0]
    diagnosis = json.loads(cli("diagnose", run_id, "--json", check=False).stdout)
    assert diagnosis["cause"] == "loss_nan_or_zero"
    patches = [fix.get("patch", {}) for fix in diagnosis["fixes"]]
    number = 1 + next(place for place, patch in enumerate(patches) if "training.learning_rate" in patch)
    applied = cli("resume", run_id, "--apply", str(number), "--wait")
    new = cli.directory(applied.stdout.split()[0])
    assert "It begins anew: nothing was saved." in applied.stderr
    assert cli.status(new.id)["state"] == "finished"
    assert cli.status(new.id)["recoveries"][0]["run"] == run_id
    assert all(event["loss"] < 20 for event in events(new, "step"))
