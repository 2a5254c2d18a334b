"""Faults made on purpose in sharded runs: each is found, named, and keeps what was good.

All attempts of two ranks share one pair of processes, those of one rank another, since starting takes longer than an
attempt. What is made wrong, and how, is in ``ranks/faulty_rank.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.runs import DEMO, events, write_run

from engine.config.reading import read_file
from engine.events import RunDirectory
from engine.launch import rank_environment
from engine.rank_processes import start_rank
from qltui.runs.health import STRAGGLES
from qltui.runs.recent import Recent
from qltui.runs.state import RunState

TESTS = Path(__file__).parents[1]
SECONDS = 240
"""Time a job has, several times what it takes, before its ranks write down where they stand and end."""
SAME_LOSS = 1e-5
SLOWED = ("ddp", "fsdp2", "zero2", "zero3")
EXACT = {"method.lora.dropout": 0.0, "training.max_steps": 4, "training.save_every": 2}
"""Of runs that go on elsewhere: dropout draws anew there."""

pytestmark = pytest.mark.timeout(600)  # the first test lives both jobs


class Try(NamedTuple):
    """One attempt of a run."""

    run: str
    values: dict[str, Any]
    fault: str = ""
    """Of faulty_rank's; empty for none."""
    rank_1: dict[str, Any] = {}
    """Values only rank 1 is given."""


TWO_RANKS = [
    Try("flipped", {"strategy.name": "fsdp2"}, "one flipped byte"),
    Try("whole", {"strategy.name": "fsdp2"}, "packed weights kept whole"),
    Try("whole-allowed", {"strategy.name": "fsdp2", "strategy.allow_replicated": True}, "packed weights kept whole"),
    Try("copies", {"strategy.name": "zero3", "method.name": "int8"}, "int8 layers as they are"),
    Try("other-weights", {"strategy.name": "fsdp2"}, "another adapter value"),
    *[
        Try(f"slow-{strategy}", {"strategy.name": strategy, "training.max_steps": 8}, "slow second rank")
        for strategy in SLOWED
    ],
    Try("other-config", {"strategy.name": "ddp"}, rank_1={"training.learning_rate": 0.001}),
    Try("moved", {"strategy.name": "ddp", **EXACT}),
    Try("moved", {"strategy.name": "fsdp2", **EXACT}, "without newest checkpoint"),
    Try("parent", {"strategy.name": "zero2", **EXACT}),
    Try("child", {"strategy.name": "ddp", "parent": "parent", **EXACT}, "parent without newest checkpoint"),
    *[
        Try("damaged", {"strategy.name": "fsdp2", "training.max_steps": 4, "training.save_every": 1,
                        "training.keep_checkpoints": 4}, fault)
        for fault in ("", "damaged checkpoints")
    ],
]  # fmt: skip
ALONE = {"strategy.name": "single", "hardware.ranks_per_node": 1, "training.gradient_accumulation_steps": 4}
"""As many rows a step as two ranks with two micro batches each."""
ONE_RANK = [
    Try("moved", {**ALONE, **EXACT}, "without second rank's file"),
    Try("empty", {**ALONE, "training.max_steps": 3, "training.save_every": 1}, "empty second adapter"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs, everything in it done."""
    folder = tmp_path_factory.mktemp("faults")
    rows = (DEMO / "data" / "train.jsonl").read_text("utf-8").splitlines()[:40]
    (folder / "train.jsonl").write_text("\n".join(rows), "utf-8")
    for one in (*TWO_RANKS, *ONE_RANK):
        (folder / one.run).mkdir(exist_ok=True)
    for ranks, tries in ((2, TWO_RANKS), (1, ONE_RANK)):
        job = folder / f"job-of-{ranks}"
        job.mkdir()
        attempts = [
            {"run": str(folder / one.run), "fault": one.fault, "configs": write_configs(job / str(number), one, ranks)}
            for number, one in enumerate(tries)
        ]
        (job / "job.json").write_text(json.dumps(attempts))
        live(job, Path(attempts[0]["configs"][0]), ranks)
    return folder


def write_configs(folder: Path, one: Try, ranks: int) -> list[str]:
    """A run.yaml for each rank."""
    common = {"data.path": str(folder.parents[1] / "train.jsonl"), "data.eval_path": None, "training.max_steps": 2}
    files = []
    for rank in range(ranks):
        own = folder / f"rank{rank}"
        own.mkdir(parents=True)
        files.append(str(write_run(own, **{**common, **one.values, **(one.rank_1 if rank == 1 else {})})))
    return files


def live(job: Path, config: Path, ranks: int) -> None:
    """Start the ranks of a job and wait for their end; what they printed is shown with a test that fails."""
    environment = {
        **os.environ, **rank_environment(read_file(config), ranks, []), "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS), str(TESTS / "engine" / "ranks")]),
    }  # fmt: skip
    command = [sys.executable, "-u", "-m", "faulty_rank", str(job / "job.json"), str(SECONDS)]
    started = [
        start_rank(
            rank, rank, command, {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}, job / f"{rank}.log"
        )
        for rank in range(ranks)
    ]
    try:
        for one in started:
            one.process.wait(SECONDS + 10)
    except subprocess.TimeoutExpired:
        pass  # which runs have no end is said by their own tests
    finally:
        for one in started:
            one.process.kill()
            one.process.wait()
            print((job / f"{one.rank}.log").read_text(errors="replace")[-6000:])


def failures(run: RunDirectory, error: str, phase: str, ranks: int = 2) -> list[str]:
    """Why each rank ended, if all did in this way; and nothing was called a result."""
    assert not run.adapter.exists()
    assert not any(events(run, "finished", rank=rank) for rank in range(ranks))
    ends = [events(run, "failed", rank=rank)[-1] for rank in range(ranks)]
    assert [(end["error"], end["phase"]) for end in ends] == [(error, phase)] * ranks
    return [end["message"] for end in ends]


def failed_audits(run: RunDirectory, rank: int = 0) -> list[tuple[str, str]]:
    return [
        (event["audit"], event["detail"]) for event in events(run, "audit", rank=rank) if event["result"] == "failed"
    ]


def losses(run: RunDirectory, attempt: int) -> dict[int, float]:
    """By step."""
    return {event["step"]: event["loss"] for event in events(run, "step", attempt=attempt)}


def resumed_from(run: RunDirectory) -> list[str]:
    return [Path(event["path"]).name for event in events(run, "checkpoint") if event["resumed"]]


def warnings(run: RunDirectory) -> str:
    return "\n".join(event["message"] for event in events(run, "warning"))


def test_one_flipped_byte_of_a_shard_fails_the_weight_audit(runs: Path) -> None:
    run = RunDirectory(runs / "flipped")
    weight = "base_model.model.model.layers.1.mlp.up_proj.base_layer.weight"
    for rank, message in enumerate(failures(run, "AuditFailure", "forward")):
        assert "computes with 1 of" in message
        assert message.endswith(f"(first: {weight})")
        assert failed_audits(run, rank) == [("weights", message)]
    assert not run.checkpoints.exists()


def test_packed_weights_that_are_not_sharded_fail_the_sharding_audit(runs: Path) -> None:
    run = RunDirectory(runs / "whole")
    for rank, message in enumerate(failures(run, "AuditFailure", "prepare")):
        assert message.startswith("fsdp2 claims to shard, but rank 0 holds ")
        assert "MiB float32 parameters, where" in message
        assert "strategy.allow_replicated=true" in message
        assert failed_audits(run, rank) == [("sharding", message)]
    assert events(run, "step") == []


def test_full_copies_that_are_allowed_are_warned_of(runs: Path) -> None:
    run = RunDirectory(runs / "whole-allowed")
    assert events(run, "failed") == []
    assert [audit for audit, _ in failed_audits(run)] == ["sharding", "sharding"], "after prepare and after a step"
    assert "claims to shard" in warnings(run)
    assert "allowed by strategy.allow_replicated" in warnings(run)
    assert events(run, "finished")[-1]["outcome"] == "finished"
    assert (run.adapter / "adapter_model.safetensors").is_file()


def test_copies_beside_int8_parameters_fail_the_sharding_audit(runs: Path) -> None:
    run = RunDirectory(runs / "copies")
    for rank, message in enumerate(failures(run, "AuditFailure", "prepare")):
        assert message.startswith("zero3 claims to shard, but rank 0 holds ")
        assert "copies of weights that modules keep beside their parameters" in message
        assert failed_audits(run, rank) == [("sharding", message)]
    assert events(run, "step") == []


def test_ranks_that_begin_with_other_weights(runs: Path) -> None:
    for message in failures(RunDirectory(runs / "other-weights"), "AuditFailure", "load"):
        assert "rank 1 begins with other weights than rank 0 (1 tensors, first: base_model." in message
        assert "lora_A" in message


def test_ranks_that_were_given_other_configs(runs: Path) -> None:
    run = RunDirectory(runs / "other-config")
    for message in failures(run, "BadInput", "load"):
        assert message.startswith("training.learning_rate: rank 1 was given 0.001, rank 0 0.002 (1 fields differ)")
    assert events(run, "failed")[-1]["bad_input"]


def test_a_checkpoint_of_ddp_goes_on_under_fsdp2(runs: Path) -> None:
    assert_went_on(RunDirectory(runs / "moved"), 2, "saved under ddp on 2 ranks; this is fsdp2 on 2")


def test_a_checkpoint_of_two_ranks_goes_on_with_one(runs: Path) -> None:
    """Also when the second rank's own file is lost, which is of no use to one rank."""
    assert_went_on(RunDirectory(runs / "moved"), 3, "saved under ddp on 2 ranks; this is single on 1")


def assert_went_on(run: RunDirectory, attempt: int, warning: str) -> None:
    undisturbed, resumed = losses(run, 1), losses(run, attempt)
    [checkpoint] = [event for event in events(run, "checkpoint", attempt=attempt) if event["resumed"]]
    assert checkpoint["path"] == "checkpoints/step-00000002"
    assert any(warning in event["message"] for event in events(run, "warning", attempt=attempt))
    # The first step after it proves the weights, the second one what the optimizer keeps.
    assert resumed == pytest.approx({step: undisturbed[step] for step in (3, 4)}, rel=SAME_LOSS)
    assert events(run, "finished", attempt=attempt)[-1]["outcome"] == "finished"


def test_a_run_continues_its_parent_under_another_strategy(runs: Path) -> None:
    parent, child = RunDirectory(runs / "parent"), RunDirectory(runs / "child")
    undisturbed = losses(parent, 1)
    assert resumed_from(child) == ["step-00000002"]
    assert "saved under zero2 on 2 ranks; this is ddp on 2" in warnings(child)
    assert losses(child, 1) == pytest.approx({step: undisturbed[step] for step in (3, 4)}, rel=SAME_LOSS)
    assert [path.name for path in parent.checkpoints.iterdir()] == ["step-00000002"], "the parent's are left alone"
    assert (child.adapter / "adapter_model.safetensors").is_file()


def test_damaged_checkpoints_are_skipped_to_the_newest_whole_one(runs: Path) -> None:
    run = RunDirectory(runs / "damaged")
    assert resumed_from(run) == ["step-00000001"]
    said = warnings(run)
    for step, damage in ((4, "trained-00000.pt is damaged"), (3, "state.pt is damaged"), (2, "rank1.pt is missing")):
        assert f"step-{step:08d} cannot be read" in said
        assert damage in said
        assert (run.checkpoints / f"unreadable-step-{step:08d}").is_dir()
        assert (run.checkpoints / f"step-{step:08d}" / "trained-00000.pt").is_file(), "saved again in its place"
    ours, theirs = (folder / "adapter_model.safetensors" for folder in (run.adapter, run.path / "undisturbed"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_an_adapter_written_empty_fails_the_run_and_keeps_the_checkpoint_before(runs: Path) -> None:
    run = RunDirectory(runs / "empty")
    [message] = failures(run, "AuditFailure", "save", ranks=1)
    assert "is empty: PEFT saved none of 56 tensors" in message
    assert failed_audits(run) == [("adapter", message)]
    failed = [event for event in events(run, "audit") if event["result"] == "failed"]
    assert failed[0]["path"] == "checkpoints/step-00000002/adapter"
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000001"], "nothing half-written"
    assert (run.checkpoints / "step-00000001" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("strategy", SLOWED)
def test_a_slow_rank_is_found_though_all_steps_take_the_same(runs: Path, strategy: str) -> None:
    run, recent = RunDirectory(runs / f"slow-{strategy}"), Recent()
    state = RunState()
    steps = [event for rank in (0, 1) for event in events(run, "step", rank=rank)]
    for event in sorted(steps, key=lambda event: event["step"]):
        state.apply(event)
        recent.take(state.status(), (), None)
    paces = recent.paces()
    assert paces[0].own == 1.0
    assert paces[1].own > STRAGGLES
    assert paces[1].times > STRAGGLES
    assert paces[0].seconds == pytest.approx(paces[1].seconds, rel=0.1)
