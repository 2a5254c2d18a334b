"""Predicted seconds against measured ones, and what must hold whatever the numbers are."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from points.points import all_points, job

from engine.config.reading import read
from qltui.advice import speed
from qltui.advice.memory import job_on
from qltui.facts.architecture import Architecture, find, of_config
from qltui.facts.machine import parse

LLAMA_8B = of_config({
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072,
})  # fmt: skip
LLAMA_1B = of_config({
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632,
    "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 8, "max_position_embeddings": 2048,
})  # fmt: skip
MEASURED = [
    # H100: Transformers, PEFT and bitsandbytes in a plain loop, 2026-11-21; H200: this engine, 2026-11-22.
    (LLAMA_8B, "H100", "single", "qlora", 2, 4096, "all", 7504),
    (LLAMA_8B, "H100", "single", "qlora", 1, 4096, "none", 9659),
    (LLAMA_1B, "2xH200", "ddp", "lora", 2, 512, "none", 23926),
    (LLAMA_1B, "2xH200", "fsdp2", "lora", 2, 512, "none", 16173),
    (LLAMA_1B, "2xH200", "fsdp2", "qlora", 2, 512, "none", 10900),
]
"""Architecture, machine, strategy, method, micro batch, tokens of a row, checkpointed layers, tokens/s."""
POINTS = {point.name: point for point in all_points()}
TIMED = [
    (run["devices"], timed)
    for run in json.loads((Path(__file__).parents[1] / "points" / "timed.json").read_text("utf-8"))["runs"]
    for timed in run["cells"]
]
"""Runs of this engine with nothing else on machine and GPUs: GPUs, and what was measured."""


def seconds(
    tmp_path: Path, architecture: Architecture, machine: str, strategy: str, method: str, micro_batch: int,
    length: int, checkpointed: Any, **more: Any,
) -> float:  # fmt: skip
    config = read(
        {
            "model.path": "some/model", "data.path": str(tmp_path / "rows.jsonl"), "strategy.name": strategy,
            "method.name": method, "training.micro_batch_size": micro_batch, "data.max_length": length,
            "training.gradient_checkpointing": checkpointed, **more,
        },
        where="test", base=tmp_path,
    )  # fmt: skip
    described = parse(machine)
    return speed.step_time(job_on(config, architecture, described), described).total


@pytest.mark.parametrize("point", MEASURED, ids=lambda point: "-".join(map(str, point[1:])))
def test_measured_runs_are_met(point: tuple[Any, ...], tmp_path: Path) -> None:
    *described, tokens_per_second = point
    micro_batch, length = described[4], described[5]
    ranks = 2 if described[1].startswith("2x") else 1
    predicted = ranks * micro_batch * length / seconds(tmp_path, *described)
    assert predicted / tokens_per_second - 1 == pytest.approx(0, abs=speed.ERROR_LAUNCHING)


def measured_and_predicted(devices: list[str], timed: dict[str, Any]) -> tuple[float, speed.StepTime]:
    point, card = POINTS[timed["name"]], devices[0].split()[1]
    time = speed.step_time(job(point, find(point.model)), parse(f"{len(devices)}x{card}"))
    return statistics.median(timed["step_times"][1:-1]), time  # the first warms up, the last audits weights


@pytest.mark.parametrize(("devices", "timed"), TIMED, ids=lambda one: one["name"] if isinstance(one, dict) else None)
def test_runs_alone_on_their_machine_are_met(devices: list[str], timed: dict[str, Any]) -> None:
    measured, time = measured_and_predicted(devices, timed)
    assert time.total / measured - 1 == pytest.approx(0, abs=time.error)


def test_most_are_met_better_than_that() -> None:
    errors = [abs(time.total / measured - 1) for measured, time in (measured_and_predicted(*one) for one in TIMED)]
    assert len(errors) >= 40
    assert statistics.median(errors) < 0.2


def test_a_step_of_more_takes_longer(tmp_path: Path) -> None:
    base: tuple[Any, ...] = (LLAMA_8B, "2xH100", "fsdp2", "qlora", 2, 4096, "none")
    least = seconds(tmp_path, *base)
    assert seconds(tmp_path, *base[:4], 4, *base[5:]) > least
    assert seconds(tmp_path, *base[:5], 8192, "none") > 2 * least, "attention grows faster than the row"
    assert seconds(tmp_path, *base[:6], "all") > seconds(tmp_path, *base[:6], 16) > least
    assert seconds(tmp_path, *base, **{"training.gradient_accumulation_steps": 4}) > 3 * least
    assert seconds(tmp_path, *base[:1], "2xT4", *base[2:]) > 3 * least
    assert seconds(tmp_path, *base[:1], "2n1xH100", *base[2:]) > least, "a network is slower than NVLink"


def test_sharding_adds_traffic(tmp_path: Path) -> None:
    whole = seconds(tmp_path, LLAMA_8B, "4xA40", "ddp", "lora", 1, 1024, "none")
    assert seconds(tmp_path, LLAMA_8B, "4xA40", "fsdp2", "lora", 1, 1024, "none") > whole
    offloaded = {"strategy.offload_parameters": True, "strategy.offload_optimizer": True}
    assert seconds(tmp_path, LLAMA_8B, "4xA40", "fsdp2", "lora", 1, 1024, "none", **offloaded) > seconds(
        tmp_path, LLAMA_8B, "4xA40", "fsdp2", "lora", 1, 1024, "none"
    )


def test_a_mask_of_packed_rows_costs_scores_and_memory_that_flash_attention_does_not(tmp_path: Path) -> None:
    shape = (LLAMA_8B, "H100", "single", "qlora", 1, 8192, "none")
    plain, masked, flash = (
        seconds(tmp_path, *shape, **values)
        for values in (
            {}, {"data.packing": True}, {"data.packing": True, "model.attention": "flash_attention_2"},
        )
    )  # fmt: skip
    assert masked > plain * 1.05
    assert flash == pytest.approx(plain)
