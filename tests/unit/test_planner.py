"""The planner: what fits is ranked by time, ties go to the simpler, and the first is explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import Checkpointing, RunConfig, StrategyName
from engine.config.cells import refused
from engine.config.reading import read
from qltui.advice import planner
from qltui.advice.lengths import Lengths, of_rows
from qltui.advice.planner import Choice
from qltui.facts.architecture import Architecture, find, of_config
from qltui.facts.machine import parse

NUMBERS: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072,
}  # fmt: skip
LLAMA_8B = of_config(NUMBERS)
LLAMA_70B = of_config({
    **NUMBERS, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
})  # fmt: skip


def config(tmp_path: Path, method: str, length: int, **more: Any) -> RunConfig:
    values = {
        "model.path": "some/model", "data.path": str(tmp_path / "rows.jsonl"), "method.name": method,
        "data.max_length": length, "training.loss": "full", **more,
    }  # fmt: skip
    return read(values, where="test", base=tmp_path)


def choose(
    tmp_path: Path, architecture: Architecture, machine: str, method: str, length: int, rows: int = 32
) -> Choice:  # fmt: skip
    return planner.choose(config(tmp_path, method, length), architecture, parse(machine), rows=rows)


def best(choice: Choice) -> StrategyName:
    return choice.ranked[0].config.strategy.name


@pytest.mark.parametrize(
    ("architecture", "machine", "method", "length", "strategy"),
    [
        (LLAMA_8B, "A40", "qlora", 2048, "single"),
        (LLAMA_8B, "4xA40", "qlora", 2048, "ddp"),
        (LLAMA_8B, "4xA40", "lora", 1024, "ddp"),
        (LLAMA_70B, "8xH100-80", "lora", 4096, "fsdp2"),
    ],
)  # fmt: skip
def test_the_strategy_people_would_take(
    architecture: Architecture, machine: str, method: str, length: int, strategy: str, tmp_path: Path
) -> None:
    choice = choose(tmp_path, architecture, machine, method, length)
    assert best(choice).value == strategy
    assert choice.why.count(". ") == 1
    assert choice.why.endswith(".")


def test_all_that_is_ranked_fits_and_is_not_refused(tmp_path: Path) -> None:
    for machine, method in (("4xA40", "qlora"), ("8xH100-80", "full"), ("2x24G", "lora"), ("2n8xH100-80", "lora")):
        choice = choose(tmp_path, LLAMA_8B, machine, method, 4096)
        for candidate in choice.ranked:
            assert candidate.fit.fits
            assert not refused(candidate.config)
            assert candidate.rows == 32
        times = [candidate.seconds_per_row for candidate in choice.ranked]
        assert times[0] <= min(times) * (1 + planner.TIE)
        assert {one.strategy for one in choice.rejected} | {one.config.strategy.name for one in choice.ranked} == set(
            StrategyName
        )


def test_only_as_many_layers_are_recomputed_as_must_be(tmp_path: Path) -> None:
    first = choose(tmp_path, LLAMA_8B, "4xA40", "qlora", 8192).ranked[0]
    layers = first.job.checkpointed
    assert 0 < layers < 32
    fewer = planner.with_values(first.config, {"training.gradient_checkpointing": layers - 1})
    machine = parse("4xA40")
    assert not planner.fit(planner.job_on(fewer, LLAMA_8B, machine), machine).is_safe
    assert f"{layers} of 32 layers" in choose(tmp_path, LLAMA_8B, "4xA40", "qlora", 8192).why


def test_offload_only_where_nothing_fits_without(tmp_path: Path) -> None:
    for candidate in choose(tmp_path, LLAMA_8B, "2xH100", "full", 4096).ranked:
        if candidate.config.strategy.offload_optimizer:
            kept = planner.with_values(candidate.config, {
                "strategy.offload_optimizer": False, "strategy.offload_parameters": False,
                "training.gradient_checkpointing": Checkpointing.ALL, "training.micro_batch_size": 1,
            })  # fmt: skip
            machine = parse("2xH100")
            assert not planner.fit(planner.job_on(kept, LLAMA_8B, machine), machine).is_safe


def test_nothing_fits(tmp_path: Path) -> None:
    choice = choose(tmp_path, LLAMA_70B, "T4", "full", 8192)
    assert choice.ranked == []
    assert choice.why == ""
    assert {one.rule for one in choice.rejected} == {planner.DOES_NOT_FIT, planner.TOO_FEW_GPUS}
    assert all(one.total > 16 << 30 for one in choice.rejected if one.total)


def test_a_rule_that_blocks_is_named(tmp_path: Path) -> None:
    wanted = config(tmp_path, "qlora", 1024)
    choice = planner.choose(
        wanted, LLAMA_8B, parse("4xA40"), rows=8,
        blocks=lambda one: ["no-ddp-today"] if one.strategy.name is StrategyName.DDP else [],
    )  # fmt: skip
    assert best(choice) is not StrategyName.DDP
    assert [one.rule for one in choice.rejected if one.strategy is StrategyName.DDP] == ["no-ddp-today"]


def test_the_batch_that_was_wanted_is_kept(tmp_path: Path) -> None:
    wanted = config(tmp_path, "qlora", 512, **{
        "strategy.name": "ddp", "training.micro_batch_size": 4, "training.gradient_accumulation_steps": 2,
    })  # fmt: skip
    choice = planner.choose(wanted, LLAMA_8B, parse("4xH100-80"))
    assert {candidate.rows for candidate in choice.ranked} == {32}


def lengths(*tokens: int) -> Lengths:
    return of_rows(tokens, 10_000, shortest=min(tokens), longest=max(tokens), measured=True)


def test_memory_is_planned_at_the_longest_row_and_time_at_those_that_come(tmp_path: Path) -> None:
    wanted = config(tmp_path, "qlora", 4096, **{"strategy.name": "ddp", "training.micro_batch_size": 4})
    machine = parse("4xA40")
    same, mixed = lengths(1024), lengths(*[100] * 99, 1024)
    jobs = [planner.job_of(wanted, LLAMA_8B, machine, one) for one in (same, mixed, None)]
    assert [job.sequence for job in jobs] == [1024, 1024, 4096]
    assert [job.padded for job in jobs] == [False, True, True]
    memory = [planner.fit(job, machine).total for job in jobs]
    assert memory[0] < memory[1] < memory[2], "no mask where nothing is padded"
    times = [planner.time_of(job, machine, one).total for job, one in zip(jobs, (same, mixed, None), strict=True)]
    assert times[1] < times[0] < times[2]


def test_the_batch_is_chosen_by_the_rows_that_come(tmp_path: Path) -> None:
    """Short rows want many at once, as launching kernels takes its time; of mixed ones many are mostly padding."""
    wanted = config(tmp_path, "lora", 2048, **{"strategy.name": "ddp"})
    mixed = lengths(*[64] * 90, *[2048] * 10)
    choices = [planner.choose(wanted, LLAMA_8B, parse("4xH200"), rows=512, lengths=one) for one in (lengths(64), mixed)]
    first, second = (choice.ranked[0] for choice in choices)
    assert second.config.training.micro_batch_size < first.config.training.micro_batch_size
    assert second.seconds_per_row > first.seconds_per_row
    assert {candidate.rows for choice in choices for candidate in choice.ranked} == {512}


def test_what_surely_fits_comes_before_what_may(tmp_path: Path) -> None:
    choice = choose(tmp_path, LLAMA_8B, "4x24G", "qlora", 12288, rows=4)
    standing = {one.config.strategy.name.value: one.fit.is_safe for one in choice.ranked}
    assert standing == {"pipeline": True, "zero3": False}
    assert choice.ranked[0].seconds_per_row > choice.ranked[1].seconds_per_row
    assert "so pipeline splits it over 4" in choice.why


def test_offload_is_taken_where_it_may_fit_without_but_not_surely(tmp_path: Path) -> None:
    glm = find("zai-org/GLM-4-9B-0414")
    assert glm is not None
    choice = choose(tmp_path, glm, "4x24G", "lora", 6912, rows=4)
    first = choice.ranked[0]
    assert first.fit.is_safe
    assert first.config.strategy.offload_parameters
    assert choice.why.startswith("It does not surely fit without offload")
    recomputing = {"training.gradient_checkpointing": Checkpointing.ALL}
    without = planner.with_values(first.config, {**planner.NO_OFFLOAD, **recomputing})
    machine = parse("4x24G")
    tight = planner.fit(planner.job_on(without, glm, machine), machine)
    assert tight.fits
    assert not tight.is_safe
