"""Killed, stopped, resumed: the adapter at the end is the one an undisturbed run makes, bit for bit."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from safetensors.torch import load_file
from support.runs import Cli, events, wait_for, write_run

from engine.events import RunDirectory, start_time

STEPS = 12
ADAPTED_MODULES = 4 * 7
"""Layers of the demo's model x linear modules of each."""


def weights(status: dict) -> dict[str, bytes]:
    tensors = load_file(Path(status["adapter_dir"]) / "adapter_model.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def ranks_of(run: RunDirectory) -> list[dict]:
    attempt = run.last_attempt()
    assert attempt is not None
    return json.loads(attempt.launch_json.read_text())["ranks"]


def nothing_left(run: RunDirectory) -> bool:
    return all(start_time(rank["pid"]) != rank["start_time"] for rank in ranks_of(run))


def overrides(strategy: str) -> dict[str, Any]:
    """A run long enough to be disturbed. Under ddp it also evaluates, for those who want to disturb that."""
    return {
        "strategy.name": strategy, "training.max_steps": STEPS, "training.save_every": 3, "data.num_workers": 1,
        **({} if strategy == "ddp" else {"data.eval_path": None}),
    }  # fmt: skip


class Finished(NamedTuple):
    """A run nobody touched."""

    cli: Cli
    run: RunDirectory
    weights: dict[str, bytes]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Finished]:
    """By strategy a run launched as a user does; each is made once."""

    @functools.cache
    def finished(strategy: str) -> Finished:
        folder = tmp_path_factory.mktemp(strategy)
        cli = Cli(folder / "home")
        run_id = cli("launch", str(write_run(folder, **overrides(strategy))), "--wait").stdout.split()[0]
        status = cli.status()
        sharding = "not_applicable" if strategy == "ddp" else "passed"
        assert status["state"] == "finished"
        assert status["audits"] == {"sharding": sharding, "weights": "passed", "adapter": "passed"}
        assert [rank["step"] for rank in status["ranks"]] == [STEPS, STEPS]
        return Finished(cli, cli.directory(run_id), weights(status))

    return finished


@pytest.mark.parametrize("strategy", [pytest.param("zero1", marks=pytest.mark.thorough), "zero2"])
def test_strategies_through_the_launcher(strategy: str, undisturbed) -> None:
    """Those that are killed below are launched there."""
    assert len(undisturbed(strategy).weights) == 2 * ADAPTED_MODULES


@pytest.mark.parametrize(
    "strategy",
    [pytest.param("ddp", marks=pytest.mark.thorough), "fsdp2", pytest.param("zero3", marks=pytest.mark.thorough)],
)
def test_killed_rank_then_resume_is_bit_equal(strategy: str, cli: Cli, small_run, undisturbed) -> None:
    seed = int(os.environ.get("KILL_SEED", random.randrange(1 << 32)))
    print(f"to repeat: KILL_SEED={seed}")
    chance = random.Random(seed)
    victim, step = chance.randrange(2), chance.randrange(4, STEPS - 3)
    run_id = cli("launch", str(small_run(**overrides(strategy)))).stdout.strip()
    run = cli.directory(run_id)
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
    assert weights(status) == undisturbed(strategy).weights


def test_stopped_at_any_moment_it_saves_and_ends_the_same(cli: Cli, small_run, undisturbed) -> None:
    run_id = cli("launch", str(small_run(**overrides("ddp"), **{"training.eval_every": 4}))).stdout.strip()
    run = cli.directory(run_id)
    for attempt, moment in enumerate(("evaluating", "training", "saving"), start=1):
        wait_for(lambda: len(run.attempts()) == attempt and in_the_middle_of(moment, run), 120, moment)  # noqa: B023
        cli("stop", run_id)
        status = cli.wait(run_id, 60)
        assert status["state"] == "stopped", status
        assert status["exit_code"] == 0
        assert nothing_left(run)
        assert not list(run.checkpoints.glob(".*")), "a half-written checkpoint was left"
        assert (Path(status["adapter_dir"]) / "adapter_model.safetensors").is_file()
        cli("resume", run_id)

    assert cli.wait(run_id, 60)["state"] == "finished"
    assert weights(cli.status(run_id)) == undisturbed("ddp").weights


def in_the_middle_of(moment: str, run: RunDirectory) -> bool:
    """Whether the last attempt has come to ``moment``."""
    if moment == "training":
        return bool(events(run, "step"))
    return moment in [event["state"] for event in events(run, "state")]


def test_a_corrupt_checkpoint_is_said_and_skipped(undisturbed) -> None:
    cli, run, _ = undisturbed("ddp")
    newest, older = sorted(run.checkpoints.glob("step-*"), reverse=True)[:2]
    (newest / "state.pt").write_bytes(b"torn")
    (run.adapter / "adapter_model.safetensors").unlink()
    status = json.loads(run.status_json.read_text())
    run.status_json.write_text(json.dumps({**status, "state": "failed"}))
    cli("resume", run.path.name, "--wait")
    warnings = [event["message"] for event in events(run, "warning")]
    assert any(newest.name in message for message in warnings)
    assert [event["path"] for event in events(run, "checkpoint") if event["resumed"]] == [f"checkpoints/{older.name}"]
    assert (newest / "state.pt").stat().st_size > len(b"torn"), (
        "the broken checkpoint still stands in the new one's place"
    )
