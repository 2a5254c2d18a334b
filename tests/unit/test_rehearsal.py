"""What a rehearsal changes, says and leaves unproven: pure functions of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.samples import make_config, write_model

from engine.config import ALIASES, FIELDS, RunConfig, get
from engine.config.choices import Compute, Device, LossOn, Optimizer, StrategyName
from qltui.configs import preflight
from qltui.runs import rehearsal
from qltui.runs.rehearsal_plan import RANK_BYTES, affordable_ranks, rehearsed, unproven

GPU_PLAN = {
    "name": "big", "hardware.device": "cuda", "hardware.ranks_per_node": 8, "hardware.nodes": 2,
    "hardware.gpus": ["0", "1"], "hardware.threads_per_rank": 12, "strategy": "zero3",
    "strategy.offload_optimizer": True, "strategy.offload_parameters": True, "precision": "fp16",
    "model.attention": "flash_attention_2", "model.revision": "v1", "max_steps": 5000, "micro_batch_size": 16,
    "gradient_accumulation_steps": 8, "max_length": 4096, "training.optimizer": "paged_adamw_8bit",
    "training.generate_answers": 100, "training.eval_every": 50, "training.save_every": 500, "parent": "older",
    "tracking.report_to": ["wandb"], "method": "qlora", "method.lora.rank": 128, "recovery.auto": 3,
}  # fmt: skip


def plan(folder: Path, **values: object) -> RunConfig:
    """A configuration with these values, short names allowed."""
    return make_config(folder, **{ALIASES.get(name, name): value for name, value in values.items()})


def test_what_a_plan_for_gpus_becomes(tmp_path: Path) -> None:
    config = plan(tmp_path, **GPU_PLAN)
    small, _ = rehearsed(config, "/small", 2)
    assert (small.name, small.model.path, small.model.revision, small.parent) == ("big-rehearsal", "/small", None, None)
    hardware = small.hardware
    assert (hardware.device, hardware.ranks_per_node, hardware.nodes, hardware.gpus) == (Device.CPU, 2, 1, [])
    assert hardware.threads_per_rank is None
    assert small.precision.compute is Compute.FP32
    training = small.training
    assert (training.micro_batch_size, training.gradient_accumulation_steps) == (1, 2)
    assert training.save_every < training.max_steps < 10
    assert training.optimizer is Optimizer.ADAMW_8BIT
    assert training.generate_answers == 2
    assert small.method.lora.rank == 16
    assert (small.data.max_length, small.data.loss_on) == (64, LossOn.ALL)
    assert small.tracking.report_to == []
    # Strategy and method are what is rehearsed.
    assert small.strategy.name is StrategyName.ZERO3
    assert not small.strategy.offload_optimizer
    assert not small.strategy.offload_parameters
    assert small.method.name is config.method.name
    assert small.data.path == config.data.path


def test_every_change_is_told_with_its_reason_and_nothing_else_changes(tmp_path: Path) -> None:
    config = plan(tmp_path, **GPU_PLAN)
    small, changed = rehearsed(config, "/small", 2)
    assert {change.field for change in changed} == {path for path in FIELDS if get(config, path) != get(small, path)}
    assert all(change.why and change.before != change.after for change in changed)
    told = {change.field: (change.before, change.after) for change in changed}
    assert told["precision.compute"] == ("fp16", "fp32")
    assert told["training.optimizer"] == ("paged_adamw_8bit", "adamw_8bit")
    assert told["hardware.gpus"] == ("[0, 1]", "[]")


def test_a_small_plan_for_the_cpu_stays_nearly_as_it_is(tmp_path: Path) -> None:
    config = plan(
        tmp_path, strategy="ddp", precision="bf16", max_length=32, micro_batch_size=1, **{"hardware.ranks_per_node": 2}
    )
    _, changed = rehearsed(config, "/small", 2)
    assert {change.field for change in changed} == {"name", "model.path", "training.max_steps", "training.save_every"}


@pytest.mark.parametrize(
    "values",
    [
        {**GPU_PLAN, "strategy": "ddp"},
        {"strategy": "single", "device": "cuda"},
        {"strategy": "ddp", "device": "cuda", "method": "int8", "method.lora.use_dora": True},
        {"strategy": "pipeline", "device": "cuda"},
        {"strategy": "ddp", "name": "n" * 64},
    ],
)
def test_the_launch_check_lets_a_rehearsal_pass(tmp_path: Path, values: dict[str, object]) -> None:
    config = plan(tmp_path, **values)
    small, _ = rehearsed(config, str(write_model(tmp_path / "small")), 2)
    assert preflight.check(small) == []


def test_a_pipeline_is_rehearsed_as_single(tmp_path: Path) -> None:
    config = plan(tmp_path, strategy="pipeline", device="cuda", **{"hardware.gpus": ["0", "1"]})
    ranks = affordable_ranks(config, 2, 64 * 2**30, 16, 0)
    small, changed = rehearsed(config, "/small", ranks)
    assert ranks == 1
    assert small.strategy.name is StrategyName.SINGLE
    assert "strategy.name" in {change.field for change in changed}
    assert any("pipeline" in point for point in unproven(config, ranks, 2))


@pytest.mark.parametrize(
    ("wanted", "available", "cores", "ranks"),
    [
        (8, 64 * RANK_BYTES, 16, 8),  # no more than the run has
        (8, 4 * RANK_BYTES, 16, 3),  # what memory allows: each rank holds the model eight times over too
        (8, 64 * RANK_BYTES, 4, 4),  # what the cores allow
        (8, RANK_BYTES, 1, 2),  # to be several
        (1, 64 * RANK_BYTES, 16, 2),
    ],
)
def test_as_many_ranks_as_memory_and_cores_allow(
    tmp_path: Path, wanted: int, available: int, cores: int, ranks: int
) -> None:
    config = plan(tmp_path, strategy="ddp", **{"hardware.ranks_per_node": wanted})
    assert affordable_ranks(config, 0, available, cores, RANK_BYTES // 64) == ranks


def test_single_is_rehearsed_on_one_rank(tmp_path: Path) -> None:
    assert affordable_ranks(plan(tmp_path, strategy="single"), 0, 64 * RANK_BYTES, 16, 0) == 1


SAID_ONLY_WHEN_TRUE = [
    ("NCCL", {"strategy": "ddp", "device": "cuda"}),
    ("GPU memory", {"device": "cuda"}),
    ("FSDP2's copies", {"strategy": "fsdp2", "method": "qlora", "device": "cuda"}),
    ("kernels for nf4", {"method": "qlora", "device": "cuda"}),
    ("kernels for int8", {"method": "int8", "device": "cuda"}),
    ("fp16: its range", {"precision": "fp16", "device": "cuda"}),
    ("16-bit computation", {"precision": "auto", "device": "auto", "strategy": "ddp"}),
    ("flash attention", {"model.attention": "flash_attention_2", "device": "cuda"}),
    ("offload", {"strategy": "zero3", "strategy.offload_parameters": True, "device": "cuda"}),
    ("kernels for adamw_8bit", {"training.optimizer": "adamw_8bit", "device": "cuda"}),
    ("paging", {"training.optimizer": "paged_adamw_8bit", "device": "cpu"}),
    ("where the pipeline", {"strategy": "pipeline", "device": "auto"}),
    ("16 ranks: 2 were", {"strategy": "ddp", "hardware.ranks_per_node": 8, "hardware.nodes": 2}),
    ("2 machines", {"strategy": "ddp", "hardware.nodes": 2}),
    ("wandb", {"tracking.report_to": ["wandb"]}),
    ("rows longer than 64", {"max_length": 2048}),
    ("going on from older", {"parent": "older"}),
    ("initialisation pissa", {"method": "lora", "method.lora.init": "pissa", "device": "cuda"}),
]


@pytest.mark.parametrize(("text", "values"), SAID_ONLY_WHEN_TRUE)
def test_what_stays_unproven_follows_from_the_plan(tmp_path: Path, text: str, values: dict[str, object]) -> None:
    plain = {"method": "lora", "max_length": 64, "precision": "fp32"}
    assert any(text in point for point in unproven(plan(tmp_path, **{**plain, **values}), 2, 0))
    assert not any(text in point for point in unproven(plan(tmp_path, **plain), 2, 0))


def test_weights_are_not_needed(tmp_path: Path) -> None:
    config = plan(tmp_path)
    (tmp_path / "model" / "model.safetensors").unlink()
    assert [one.field for one in preflight.check(config)] == ["model.path"]
    assert rehearsal.check(config) == []
    missing = plan(tmp_path, model=str(tmp_path / "nothing"), data=str(tmp_path / "no.jsonl"))
    assert {one.field for one in rehearsal.check(missing)} == {"model.path", "data.path"}


def test_what_runs_nowhere_is_not_rehearsed(tmp_path: Path) -> None:
    config = plan(tmp_path, strategy="pipeline", method="full", device="cuda")
    assert [one.field for one in rehearsal.check(config)] == ["strategy.name"]


def test_a_loss_that_is_no_number_is_a_failure() -> None:
    ended = {"state": "finished", "audits": {"adapter": "passed"}, "failure": None}
    steps = [{"kind": "step", "step": 1, "loss": 2.5}, {"kind": "step", "step": 2, "loss": "nan"}]
    assert rehearsal._failure(ended, steps[:1]) is None
    failure = rehearsal._failure(ended, steps)
    assert failure is not None
    assert failure["message"] == "The loss of step 2 is nan."
