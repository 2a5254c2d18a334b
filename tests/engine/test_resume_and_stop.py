"""Killed, stopped, resumed: the adapter at the end is the one an undisturbed run makes, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file
from support.runs import Cli, events, wait_for

from engine.events import RunDirectory, start_time

STEPS = 12


def weights(status: dict) -> dict[str, bytes]:
    tensors = load_file(Path(status["adapter_dir"]) / "adapter_model.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def ranks_of(run: RunDirectory) -> list[dict]:
    attempt = run.last_attempt()
    assert attempt is not None
    return json.loads(attempt.launch_json.read_text())["ranks"]


def nothing_left(run: RunDirectory) -> bool:
    return all(start_time(rank["pid"]) != rank["start_time"] for rank in ranks_of(run))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The adapter of a run nobody touched."""
    from support.runs import write_run

    folder = tmp_path_factory.mktemp("undisturbed")
    cli = Cli(folder / "home")
    file = write_run(folder, **{"training.max_steps": STEPS, "training.save_every": 3, "data.num_workers": 1})
    cli("launch", str(file), "--wait")
    return weights(cli.status())


def test_killed_rank_then_resume_is_bit_equal(cli: Cli, small_run, undisturbed) -> None:
    run_id = cli("launch", str(small_run(**{
        "training.max_steps": STEPS, "training.save_every": 3, "data.num_workers": 1,
    }))).stdout.strip()  # fmt: skip
    run = cli.directory(run_id)
    victim, step = random.randrange(2), random.randrange(4, STEPS - 1)
    wait_for(lambda: run.attempts() and events(run, "step") and events(run, "step")[-1]["step"] >= step, 120, "a step")
    os.kill(ranks_of(run)[victim]["pid"], signal.SIGKILL)
    status = cli.wait(run_id, 60)
    assert status["state"] == "failed"
    assert status["exit_code"] == 1
    assert status["failure"]["rank"] == victim
    assert "SIGKILL" in status["reason"]
    assert nothing_left(run)

    cli("resume", run_id, "--wait")
    status = cli.status(run_id)
    assert status["state"] == "finished"
    assert status["attempt"] == 2
    resumed = [event for event in events(run, "checkpoint") if event["resumed"]]
    assert resumed, "the second attempt began anew"
    assert weights(status) == undisturbed


@pytest.mark.parametrize("moment", ["training", "evaluating", "saving"])
def test_stop_saves_and_resume_ends_the_same(moment: str, cli: Cli, small_run, undisturbed) -> None:
    overrides = {"training.max_steps": STEPS, "training.save_every": 3, "data.num_workers": 1}
    if moment == "evaluating":
        overrides["training.eval_every"] = 4
    run_id = cli("launch", str(small_run(**overrides))).stdout.strip()
    run = cli.directory(run_id)

    def reached() -> bool:
        if not run.attempts():
            return False
        states = [event["state"] for event in events(run, "state")]
        return bool(events(run, "step")) if moment == "training" else moment in states

    wait_for(reached, 120, moment)
    cli("stop", run_id)
    status = cli.wait(run_id, 60)
    assert status["state"] == "stopped", status
    assert status["exit_code"] == 0
    assert nothing_left(run)
    assert not list(run.checkpoints.glob(".*")), "a half-written checkpoint was left"
    assert (Path(status["adapter_dir"]) / "adapter_model.safetensors").is_file()

    cli("resume", run_id, "--wait")
    assert cli.status(run_id)["state"] == "finished"
    assert weights(cli.status(run_id)) == undisturbed


def test_a_corrupt_checkpoint_is_said_and_skipped(cli: Cli, small_run) -> None:
    run_id = cli(
        "launch", str(small_run(**{"training.max_steps": 4, "training.save_every": 2})), "--wait"
    ).stdout.split()[0]
    run = cli.directory(run_id)
    newest, older = sorted(run.checkpoints.glob("step-*"), reverse=True)
    (newest / "state.pt").write_bytes(b"torn")
    (run.adapter / "adapter_model.safetensors").unlink()
    status = json.loads(run.status_json.read_text())
    run.status_json.write_text(json.dumps({**status, "state": "failed"}))
    cli("resume", run_id, "--wait")
    warnings = [event["message"] for event in events(run, "warning")]
    assert any(newest.name in message for message in warnings)
    assert [event["path"] for event in events(run, "checkpoint") if event["resumed"]] == [f"checkpoints/{older.name}"]
    assert (newest / "state.pt").stat().st_size > len(b"torn"), (
        "the broken checkpoint still stands in the new one's place"
    )
