"""Which combinations are refused: each reason fires where it should, and nothing else is refused."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from engine.config import LoraInit, Method, Optimizer, RunConfig, Storage, StrategyName, Task
from engine.config.cells import REFUSALS, refused
from engine.config.ranks import gpus_per_node
from engine.config.run_config import build

SINGLE, DDP, PIPELINE, FSDP2, ZERO1, ZERO2, ZERO3 = StrategyName
FULL, LORA, QLORA, INT8 = Method
EIGHT_BIT = {Optimizer.ADAMW_8BIT, Optimizer.PAGED_ADAMW_8BIT}


def config(**values: Any) -> RunConfig:
    return build({"model.path": "org/model", "data.path": "org/data", **values})


def cell(strategy: StrategyName, method: Method = LORA, **values: Any) -> RunConfig:
    return config(**{"strategy.name": strategy, "method.name": method, **values})


def fields(of: RunConfig) -> list[str]:
    return [problem.field for problem in refused(of)]


@pytest.mark.parametrize(("method", "strategy", "task"), list(product(Method, StrategyName, Task)))
def test_of_all_methods_strategies_and_tasks_one_cell_is_refused(
    method: Method, strategy: StrategyName, task: Task
) -> None:
    named = (method, strategy) == (FULL, PIPELINE)
    assert fields(cell(strategy, method, **{"model.task": task})) == (["strategy.name"] if named else [])


OFFLOADS = {
    (FSDP2, False, True), (FSDP2, True, True), (ZERO3, False, True), (ZERO3, True, True),
    (ZERO1, True, False), (ZERO2, True, False), (ZERO3, True, False),
}  # fmt: skip
"""Strategy, optimizer offloaded, parameters offloaded: what there is."""


@pytest.mark.parametrize(("strategy", "optimizer", "parameters"), list(product(StrategyName, (0, 1), (0, 1))))
def test_offload_is_refused_where_the_strategy_has_none(
    strategy: StrategyName, optimizer: bool, parameters: bool
) -> None:
    asked = {"strategy.offload_optimizer": bool(optimizer), "strategy.offload_parameters": bool(parameters)}
    works = (strategy, bool(optimizer), bool(parameters)) in OFFLOADS or not (optimizer or parameters)
    problems = refused(cell(strategy, **asked))
    assert (problems == []) is works
    assert {problem.field for problem in problems} <= {path for path, wanted in asked.items() if wanted}


@pytest.mark.parametrize(
    ("optimizer", "strategy", "offload"), list(product(Optimizer, (SINGLE, DDP, FSDP2, ZERO1, ZERO3), (False, True)))
)
def test_8bit_optimizers_are_refused_under_fsdp2_and_with_offload(
    optimizer: Optimizer, strategy: StrategyName, offload: bool
) -> None:
    offload = offload and strategy in (ZERO1, ZERO3)
    asked = {"training.optimizer": optimizer, "strategy.offload_optimizer": offload}
    named = optimizer in EIGHT_BIT and (strategy is FSDP2 or offload)
    assert fields(cell(strategy, **asked)) == (["training.optimizer"] if named else [])


@pytest.mark.parametrize(
    ("init", "method", "strategy"), list(product(LoraInit, Method, (SINGLE, DDP, ZERO1, ZERO2, ZERO3)))
)
def test_pissa_is_refused_on_quantised_weights(init: LoraInit, method: Method, strategy: StrategyName) -> None:
    named = init is LoraInit.PISSA and method in (QLORA, INT8)
    assert fields(cell(strategy, method, **{"method.lora.init": init})) == (["method.lora.init"] if named else [])


@pytest.mark.parametrize("init", [LoraInit.PISSA, LoraInit.OLORA])
def test_inits_of_16_bit_weights_work_under_fsdp2(init: LoraInit) -> None:
    assert fields(cell(FSDP2, LORA, **{"method.lora.init": init})) == []


STORAGES = {
    FSDP2: {Storage.AUTO, Storage.FLOAT32},
    **{zero: {Storage.AUTO, Storage.UINT8} for zero in (ZERO1, ZERO2, ZERO3)},
}


@pytest.mark.parametrize(("storage", "strategy"), list(product(Storage, StrategyName)))
def test_4bit_weights_are_stored_as_what_the_strategy_moves_exactly(storage: Storage, strategy: StrategyName) -> None:
    asked = {"method.quantization.storage": storage}
    works = storage in STORAGES.get(strategy, set(Storage))
    assert fields(cell(strategy, QLORA, **asked)) == ([] if works else ["method.quantization.storage"])
    assert fields(cell(strategy, LORA, **asked)) == []


REASONS = [
    (cell(SINGLE, **{"hardware.nodes": 2}), "one process on one machine", cell(DDP, **{"hardware.nodes": 2})),
    (cell(PIPELINE, FULL), "gradients and optimizer states", cell(PIPELINE, LORA)),
    (cell(DDP, **{"strategy.offload_optimizer": True}), "ddp cannot keep optimizer", cell(DDP)),
    (
        cell(FSDP2, **{"strategy.offload_optimizer": True}),
        "only together with the parameters",
        cell(FSDP2, **{"strategy.offload_optimizer": True, "strategy.offload_parameters": True}),
    ),
    (cell(ZERO2, **{"strategy.offload_parameters": True}), "zero2 cannot keep parameters", cell(ZERO2)),
    (cell(FSDP2, **{"training.optimizer": Optimizer.ADAMW_8BIT}), "adamw_8bit has no kernels", cell(FSDP2)),
    (
        cell(ZERO1, **{"training.optimizer": Optimizer.PAGED_ADAMW_8BIT, "strategy.offload_optimizer": True}),
        "paged_adamw_8bit is not proven on states in host",
        cell(ZERO1, **{"training.optimizer": Optimizer.PAGED_ADAMW_8BIT}),
    ),
    (
        cell(SINGLE, QLORA, **{"method.lora.init": LoraInit.PISSA}),
        "those of qlora are quantised",
        cell(SINGLE, QLORA, **{"method.lora.init": LoraInit.OLORA}),
    ),
    (
        cell(FSDP2, QLORA, **{"method.quantization.storage": Storage.BFLOAT16}),
        "stored as bfloat16 bit by bit",
        cell(FSDP2, QLORA, **{"method.quantization.storage": Storage.FLOAT32}),
    ),
    (
        cell(ZERO3, QLORA, **{"method.quantization.storage": Storage.FLOAT32}),
        "would rewrite 4-bit weights stored as float32",
        cell(ZERO3, QLORA, **{"method.quantization.storage": Storage.UINT8}),
    ),
    (
        config(**{"model.task": Task.SEQUENCE_CLASSIFICATION, "data.packing": True}),
        "packed rows have one end",
        config(**{"data.packing": True}),
    ),
    (
        cell(ZERO3, QLORA, **{"training.loss": 512, "method.lora.modules_to_save": ["lm_head"]}),
        "cannot be taken in chunks",
        cell(FSDP2, QLORA, **{"training.loss": 512, "method.lora.modules_to_save": ["lm_head"]}),
    ),
    (
        config(**{"model.task": Task.SEQUENCE_CLASSIFICATION, "training.generate_answers": 8}),
        "writes no answers",
        config(**{"training.generate_answers": 8}),
    ),
    (
        config(**{"model.task": Task.SEQUENCE_CLASSIFICATION, "training.sample_prompts": ["Who?"]}),
        "answers no prompts",
        config(**{"training.sample_prompts": ["Who?"]}),
    ),
]  # fmt: skip
"""A configuration that is refused for one reason, a part of it, and one that is not; in the order of REFUSALS."""


def test_every_reason_is_tried() -> None:
    fired = [[refusal for refusal in REFUSALS if refusal.when(wrong)] for wrong, _, _ in REASONS]
    assert fired == [[refusal] for refusal in REFUSALS]


@pytest.mark.parametrize(("wrong", "reason", "right"), REASONS, ids=[reason for _, reason, _ in REASONS])
def test_a_refusal_says_why_and_what_to_do(wrong: RunConfig, reason: str, right: RunConfig) -> None:
    (problem,) = refused(wrong)
    assert reason in problem.message
    assert problem.remedy
    assert refused(right) == []


@pytest.mark.parametrize(
    ("strategy", "named", "there", "taken"),
    [(SINGLE, [], 4, 1), (DDP, [], 4, 4), (PIPELINE, [], 4, 4), (PIPELINE, ["0", "1"], 4, 2), (PIPELINE, [], 1, 2)],
)
def test_pipeline_takes_all_gpus_and_two_at_least(
    strategy: StrategyName, named: list[str], there: int, taken: int
) -> None:
    assert gpus_per_node(cell(strategy, **{"hardware.gpus": named}), there) == taken
