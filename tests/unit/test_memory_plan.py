"""The memory plan against what runs took on GPUs, and what must hold whatever the numbers are."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from cells.cells import Cell, all_cells
from cells.scale import SCALES

from engine.config import Compute, Method, RunConfig, StrategyName, Task
from engine.config.loss_chunks import chunk_tokens
from engine.config.ranks import ONE_RANK
from engine.config.reading import read
from qltui.advice.memory import Job, MemoryPlan, Part, Phase, plan_memory, total
from qltui.advice.memory.host import host_memory
from qltui.facts import verified
from qltui.facts.architecture import Architecture, of_config

LLAMA: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632,
    "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 8, "max_position_embeddings": 2048,
    "tie_word_embeddings": False, "dtype": "bfloat16",
}  # fmt: skip
"""The model of the cells on GPUs (tests/cells/scale.py); of those trained in full 4 layers."""
CELLS = {cell.name: cell for cell in all_cells()}


def llama(**changes: Any) -> Architecture:
    return of_config({**LLAMA, **changes})


def job(config: RunConfig, architecture: Architecture, world_size: int) -> Job:
    compute = Compute.BF16 if config.precision.compute is Compute.AUTO else config.precision.compute
    if config.model.task is Task.SEQUENCE_CLASSIFICATION:
        architecture = architecture.to_classify()
    return Job(config=config, architecture=architecture, compute=compute, world_size=world_size)


def config(tmp_path: Path, **overrides: Any) -> RunConfig:
    values = {"model.path": "some/model", "data.path": str(tmp_path / "rows.jsonl"), **overrides}
    return read(values, where="test", base=tmp_path)


def plan(tmp_path: Path, world_size: int = 2, **overrides: Any) -> MemoryPlan:
    return plan_memory(job(config(tmp_path, **overrides), llama(), world_size))


def measured(*tasks: Task) -> list[tuple[Cell, dict[str, Any]]]:
    """Cells of ``tasks`` that ran on GPUs, one rank a GPU."""
    found = []
    for run in json.loads(verified.FILE.read_bytes())["runs"]:
        for entry in run["cells"] if run["device"] == "cuda" and run["model"] == "1b" else []:
            cell = CELLS.get(entry["name"])
            wanted = cell is not None and cell.task in tasks and cell.strategy is not StrategyName.PIPELINE
            if wanted and entry.get("memory_by_phase"):
                found.append((cell, entry))
    return found


def predicted(cell: Cell, tmp_path: Path) -> MemoryPlan:
    ranks = 1 if cell.strategy in ONE_RANK else 2
    values = SCALES["1b"].values(cell, tmp_path, "cuda", 2)
    layers = 4 if cell.method is Method.FULL else 16
    return plan_memory(job(read(values, where=cell.name, base=tmp_path), llama(num_hidden_layers=layers), ranks))


def test_the_peaks_of_committed_runs_are_met(tmp_path: Path) -> None:
    """A small model shows the least exact parts, such as what DeepSpeed gathers ahead, at their largest share."""
    errors = {}
    for cell, entry in measured(*Task):
        phases = [entry["memory_by_phase"][phase.value] for phase in predicted(cell, tmp_path).phases]
        errors[cell.name] = predicted(cell, tmp_path).peak / max(phases) - 1
    assert len(errors) >= 100
    assert statistics.median(map(abs, errors.values())) < 0.015
    for name, error in errors.items():
        assert -0.05 < error < 0.1, name


@pytest.mark.parametrize(
    ("phase", "at_most"),
    [(Phase.FORWARD, 0.17), (Phase.BACKWARD, 0.1), (Phase.OPTIMIZER, 0.1), (Phase.EVALUATION, 0.12)],
)
def test_phases_of_committed_runs_are_met(phase: Phase, at_most: float, tmp_path: Path) -> None:
    errors = [
        total(predicted(cell, tmp_path).phases[phase]) / entry["memory_by_phase"][phase.value] - 1
        for cell, entry in measured(Task.CAUSAL_LM)
    ]  # fmt: skip
    assert statistics.median(map(abs, errors)) < 0.03
    assert max(map(abs, errors)) < at_most


def test_a_larger_model_and_longer_rows(tmp_path: Path) -> None:
    """Llama-3.1-8B, nf4, rank 16, one row of 4096 tokens on an H100 in a plain loop, 2026-11-21: 35.0 GiB."""
    larger = llama(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, max_position_embeddings=131072,
    )  # fmt: skip
    wanted = config(tmp_path, **{"method.name": "qlora", "data.max_length": 4096, "training.loss": "full"})
    assert plan_memory(job(wanted, larger, 1)).peak / 2**30 == pytest.approx(35.0, rel=0.03)


@pytest.mark.parametrize("method", ["lora", "qlora", "int8"])
@pytest.mark.parametrize("strategy", ["fsdp2", "zero3"])
def test_more_ranks_take_less_each(strategy: str, method: str, tmp_path: Path) -> None:
    peaks = [
        plan(tmp_path, ranks, **{"strategy.name": strategy, "method.name": method}).peak for ranks in (2, 4, 8, 16)
    ]
    assert peaks == sorted(peaks, reverse=True)
    assert len(set(peaks)) == len(peaks)


@pytest.mark.parametrize("strategy", [one.value for one in StrategyName if one is not StrategyName.PIPELINE])
def test_more_work_takes_more(strategy: str, tmp_path: Path) -> None:
    base = {"strategy.name": strategy, "method.name": "lora", "data.max_length": 512}
    least = plan(tmp_path, **base).peak
    for more in (
        {"data.max_length": 1024}, {"training.micro_batch_size": 2}, {"method.lora.rank": 64},
        {"method.lora.use_dora": True}, {"training.gradient_accumulation_steps": 4}, {"precision.compute": "fp32"},
    ):  # fmt: skip
        grown = plan(tmp_path, **{**base, **more}).peak
        assert grown >= least if "training.gradient_accumulation_steps" in more else grown > least, more


def test_each_checkpointed_layer_saves(tmp_path: Path) -> None:
    wanted = {"data.max_length": 2048, "method.name": "qlora"}
    peaks = [
        plan(tmp_path, 1, **wanted, **{"training.gradient_checkpointing": layers}).peak
        for layers in ("none", 4, 8, 12, 15, "all")
    ]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[-1] < peaks[0] / 2


def test_offload_leaves_the_gpu_what_it_computes_with(tmp_path: Path) -> None:
    plain = plan(tmp_path, **{"strategy.name": "fsdp2", "method.name": "lora"})
    away = plan(tmp_path, **{"strategy.name": "fsdp2", "method.name": "lora", "strategy.offload_parameters": True,
                             "strategy.offload_optimizer": True})  # fmt: skip
    assert away.parts[Part.WEIGHTS] == away.parts[Part.OPTIMIZER] == 0
    assert away.parts[Part.GATHERED] == plain.parts[Part.GATHERED]


def test_quantising_takes_a_quarter_and_its_scales(tmp_path: Path) -> None:
    plain = plan(tmp_path, 1, **{"method.name": "lora"}).parts
    packed = plan(tmp_path, 1, **{"method.name": "qlora"}).parts
    linear = 16 * (2048 * (2 * 2048 + 2 * 1024) + 3 * 2048 * 5632)
    assert plain[Part.WEIGHTS] - packed[Part.WEIGHTS] == linear * 3 // 2
    assert packed[Part.SCALES] == pytest.approx(linear / 64 * (1 + 4 / 256), abs=1)
    assert (
        plan(tmp_path, 1, **{"method.name": "qlora", "method.quantization.double_quantization": False}).parts[
            Part.SCALES
        ]
        == linear // 64 * 4
    )


@pytest.mark.parametrize(("strategy", "ranks", "whole"), [("zero3", 4, True), ("fsdp2", 4, False), ("ddp", 4, True)])
def test_int8_scales_are_sharded_where_they_are_parameters(
    strategy: str, ranks: int, whole: bool, tmp_path: Path
) -> None:
    """A float32 number a row. With the parameters they go to the host."""
    rows = 16 * (2 * 2048 + 2 * 1024 + 2 * 5632 + 2048)
    int8 = {"strategy.name": strategy, "method.name": "int8"}
    assert plan(tmp_path, ranks, **int8).parts[Part.SCALES] == rows * 4 // (1 if whole else ranks)
    if strategy != "ddp":
        away = config(tmp_path, **int8, **{"strategy.offload_parameters": True})
        job_away = job(away, llama(), ranks)
        on_gpu, on_host = plan_memory(job_away).parts[Part.SCALES], host_memory(job_away).get(Part.SCALES, 0)
        assert (on_gpu, on_host) == ((rows * 4, 0) if whole else (0, rows * 4))


@pytest.mark.parametrize(("method", "half_bytes"), [("lora", 4), ("int8", 2), ("qlora", 1)])
def test_each_offloaded_weight_is_pinned_as_a_power_of_two(method: str, half_bytes: int, tmp_path: Path) -> None:
    """Queries and what they come to, keys and values, and embeddings and head are cut into powers of two, or nearly."""
    away = config(
        tmp_path, **{"strategy.name": "fsdp2", "method.name": method, "strategy.offload_parameters": True}
    )  # fmt: skip
    attention = 16 * (2 * 2048 * 2048 + 2 * 2048 * 1024) * half_bytes // 2
    feed_forward = 16 * 3 * (1 << 23) * 2 * half_bytes // 2  # a rank's half of 2048 x 5632 numbers: 5.5 Mi, as 8 Mi
    ends = 2 * (1 << 25) * 2 * 2  # 32000 x 2048 in 16 bit: 31.25 Mi numbers on each rank, as 32 Mi
    norms = (2 * 16 + 1) * 2048 * 2
    assert host_memory(job(away, llama(), 2))[Part.WEIGHTS] == attention + feed_forward + ends + norms


def test_stage_3_keeps_offloaded_gradients_twice(tmp_path: Path) -> None:
    for strategy, copies in (("zero2", 1), ("zero3", 2)):
        away = job(config(tmp_path, **{"strategy.name": strategy, "strategy.offload_optimizer": True}), llama(), 2)
        parts = host_memory(away)
        assert parts[Part.GRADIENTS] == away.trained * 4 * copies
        assert parts[Part.OPTIMIZER] == away.trained * 12, "masters and moments"


def test_the_peak_is_where_it_is_highest(tmp_path: Path) -> None:
    full = plan(tmp_path, 1, **{"method.name": "full", "data.max_length": 8})
    assert full.peak == total(full.phases[Phase.OPTIMIZER]), "weights, gradients and states, and few activations"
    assert plan(tmp_path, 1, **{"method.name": "qlora"}).highest in (Phase.FORWARD, Phase.BACKWARD)


def test_of_a_loss_in_chunks_only_hidden_states_grow_with_the_tokens(tmp_path: Path) -> None:
    def loss_bytes(tokens: int, **more: Any) -> int:
        values = {"method.name": "lora", "data.max_length": tokens, "training.gradient_checkpointing": "all", **more}
        phases = plan(tmp_path, 1, **values).phases
        return max(phases[phase].get(Part.LOGITS, 0) for phase in (Phase.FORWARD, Phase.BACKWARD))

    hidden_states = 2 * 2 * 2048  # and gradients of them, in bf16
    assert loss_bytes(16384) - loss_bytes(8192) == 8192 * hidden_states
    of_logits = loss_bytes(16384, **{"training.loss": "full"}) - loss_bytes(8192, **{"training.loss": "full"})
    assert of_logits == 8192 * 32000 * 12
    few = {"training.loss": 128}
    assert loss_bytes(8192, **few) == 8192 * hidden_states + 128 * 32000 * 12


def test_a_head_that_is_trained_takes_chunks_that_are_worth_it(tmp_path: Path) -> None:
    auto = config(tmp_path, **{"method.name": "full"})
    frozen = config(tmp_path, **{"method.name": "lora"})
    wide, narrow = ((Compute.BF16, 152_000, 4096), (Compute.BF16, 8000, 512))
    assert chunk_tokens(auto, *wide) == 4096
    assert chunk_tokens(frozen, *wide) == chunk_tokens(config(tmp_path, **{"training.loss": "chunked"}), *wide) == 220
    assert chunk_tokens(auto, *narrow) == chunk_tokens(frozen, *narrow) == 4194


@pytest.mark.parametrize(
    "values",
    [
        {"training.loss": "full"}, {"model.task": "sequence_classification"},
        {"strategy.name": "zero3", "method.lora.modules_to_save": ["lm_head"]},
        {"strategy.name": "zero3", "method.lora.target_modules": ["q_proj", "lm_head"]},
        {"precision.compute": "fp16", "method.name": "full"},
    ],
)  # fmt: skip
def test_a_loss_that_is_taken_of_all_logits(values: dict[str, Any], tmp_path: Path) -> None:
    wanted = config(tmp_path, **values)
    compute = Compute.BF16 if wanted.precision.compute is Compute.AUTO else wanted.precision.compute
    assert chunk_tokens(wanted, compute, 32000, 2048) is None


def test_inputs_of_layers_in_host_memory(tmp_path: Path) -> None:
    values = {"method.name": "lora", "data.max_length": 3000, "training.gradient_checkpointing": "all"}
    one = 3000 * 2048 * 2
    there, here = (
        plan(tmp_path, 2, **values, **{"training.offload_activations": offload}).phases[Phase.BACKWARD]
        for offload in (False, True)
    )
    assert there[Part.BOUNDARIES] - here[Part.BOUNDARIES] == 14 * one, "of 16 layers two are on the way"
    on_host = config(tmp_path, **values, **{"training.offload_activations": True, "strategy.name": "ddp"})
    assert host_memory(job(on_host, llama(), 2)) == {Part.BOUNDARIES: 2 * 16 * (1 << 24)}
