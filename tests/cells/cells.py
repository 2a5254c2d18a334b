"""What a cell is, and the list of all cells, riskiest first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.config import Method, StrategyName, Task
from engine.config.ranks import ONE_RANK

STEPS = 4
SAVE_EVERY = 2

BY_RISK = (
    StrategyName.FSDP2, StrategyName.ZERO3, StrategyName.ZERO2, StrategyName.ZERO1, StrategyName.DDP,
    StrategyName.PIPELINE, StrategyName.SINGLE,
)  # fmt: skip
METHODS = (Method.QLORA, Method.INT8, Method.LORA, Method.FULL)
SHARDING = (StrategyName.FSDP2, StrategyName.ZERO3)
ZERO = (StrategyName.ZERO3, StrategyName.ZERO2, StrategyName.ZERO1)
SPREAD = (StrategyName.FSDP2, StrategyName.ZERO3, StrategyName.DDP)
ADAPTERS = (Method.QLORA, Method.LORA)
MIXTURES = {"experts": "mixtral", "experts-qwen3": "qwen3_moe", "experts-gpt-oss": "gpt_oss"}
"""Options whose cells have another model: a mixture of experts of this family."""


@dataclass(frozen=True)
class Cell:
    """A combination to prove."""

    strategy: StrategyName
    method: Method
    task: Task = Task.CAUSAL_LM
    option: str = ""
    """Name of what differs from the defaults; empty where nothing does."""
    overrides: dict[str, Any] = field(default_factory=dict, hash=False)
    """Fields the option sets, by dotted path."""
    needs_gpu: bool = False

    @property
    def mixture(self) -> str:
        """The family of its model if that is a mixture of experts, else empty."""
        return MIXTURES.get(self.option, "")

    @property
    def name(self) -> str:
        task = "-classification" if self.task is Task.SEQUENCE_CLASSIFICATION else ""
        return f"{self.strategy.value}-{self.method.value}{task}" + (f"+{self.option}" if self.option else "")

    @property
    def company(self) -> str:
        """Cells of the same company share their processes.

        One-rank strategies must not find a process group, pipeline sees all GPUs, and gradients on the host need
        another group of processes than those on GPUs.
        """
        if self.strategy in ONE_RANK:
            return self.strategy.value
        on_host = self.strategy is StrategyName.FSDP2 and self.overrides.get("strategy.offload_parameters", False)
        return "ranks with gradients on the host" if on_host else "ranks"

    def values(self) -> dict[str, Any]:
        """RunConfig fields by dotted path."""
        return {
            "name": "cell", "strategy.name": self.strategy.value, "method.name": self.method.value,
            "model.task": self.task.value, "training.max_steps": STEPS, "training.save_every": SAVE_EVERY,
            **self.overrides,
        }  # fmt: skip


@dataclass(frozen=True)
class Option:
    """A choice beyond method, strategy and task, and where it is tried."""

    name: str
    overrides: dict[str, Any]
    strategies: tuple[StrategyName, ...]
    methods: tuple[Method, ...] = ADAPTERS
    needs_gpu: bool = False

    def cells(self) -> list[Cell]:
        return [
            Cell(strategy, method, Task.CAUSAL_LM, self.name, self.overrides, self.needs_gpu or on_gpu_only(strategy))
            for strategy in self.strategies for method in self.methods
        ]  # fmt: skip


def on_gpu_only(strategy: StrategyName) -> bool:
    return strategy is StrategyName.PIPELINE


OPTIONS = (
    Option("dora", {"method.lora.use_dora": True}, SPREAD),
    Option("dora", {"method.lora.use_dora": True},
           (*SHARDING, StrategyName.ZERO1, StrategyName.DDP, StrategyName.SINGLE), (Method.INT8,)),
    Option("outliers", {"method.quantization.int8_threshold": 1.0}, (StrategyName.FSDP2, StrategyName.SINGLE),
           (Method.INT8,), True),
    Option("rslora", {"method.lora.use_rslora": True}, SPREAD, (Method.QLORA,)),
    Option("dropout", {"method.lora.dropout": 0.1}, SPREAD, (Method.QLORA,)),
    Option("new-tokens", {"model.new_tokens": ["<tide>"]}, SPREAD, (Method.QLORA,)),
    Option("checkpointing", {"training.gradient_checkpointing": "all"}, (*SPREAD, StrategyName.PIPELINE), METHODS),
    Option("checkpointing-2", {"training.gradient_checkpointing": 2}, SPREAD, (Method.QLORA,)),
    Option("packing", {"data.packing": True},
           (*SPREAD, StrategyName.ZERO2, StrategyName.PIPELINE, StrategyName.SINGLE)),
    Option("packing-checkpointing", {"data.packing": True, "training.gradient_checkpointing": "all"}, SHARDING,
           (Method.LORA,)),
    Option("loss-in-chunks", {"training.loss": 16}, BY_RISK, (Method.QLORA, Method.FULL)),
    Option("trained-head-in-chunks", {"training.loss": 16, "method.lora.modules_to_save": ["lm_head"]},
           (StrategyName.FSDP2, StrategyName.ZERO2, StrategyName.DDP), (Method.LORA,)),
    Option("trained-head", {"method.lora.modules_to_save": ["lm_head"]}, (StrategyName.ZERO3,), (Method.LORA,)),
    Option("offload-activations", {"training.offload_activations": True, "training.gradient_checkpointing": "all"},
           (*SPREAD, StrategyName.PIPELINE), (Method.QLORA,)),
    Option("fp4", {"method.quantization.type": "fp4"}, SHARDING, (Method.QLORA,)),
    Option("scales-plain", {"method.quantization.double_quantization": False}, SHARDING, (Method.QLORA,)),
    Option("experts", {}, BY_RISK, (Method.QLORA, Method.INT8, Method.LORA)),
    Option("experts", {}, SHARDING, (Method.FULL,)),
    Option("experts-qwen3", {}, (*SHARDING, StrategyName.SINGLE), (Method.QLORA, Method.INT8, Method.LORA)),
    Option("experts-gpt-oss", {}, (*SHARDING, StrategyName.SINGLE), (Method.QLORA, Method.INT8, Method.LORA)),
    Option("deterministic", {"precision.deterministic": True}, SPREAD, (Method.QLORA,), needs_gpu=True),
    Option("offload", {"strategy.offload_optimizer": True, "strategy.offload_parameters": True}, SHARDING, METHODS,
           True),
    Option("offload-optimizer", {"strategy.offload_optimizer": True}, ZERO, (Method.QLORA, Method.FULL), True),
    Option("adamw-8bit", {"training.optimizer": "adamw_8bit"}, (*ZERO, StrategyName.DDP, StrategyName.SINGLE),
           (Method.QLORA, Method.FULL)),
    Option("adamw-8bit-paged", {"training.optimizer": "paged_adamw_8bit"}, (*ZERO, StrategyName.DDP), (Method.FULL,),
           True),
    Option("bf16", {"precision.compute": "bf16"}, (StrategyName.ZERO2,), (Method.QLORA,)),
    Option("bf16-dora", {"precision.compute": "bf16", "method.lora.use_dora": True}, (StrategyName.ZERO3,),
           (Method.QLORA,)),
    Option("fp16", {"precision.compute": "fp16"}, BY_RISK, ADAPTERS, True),
    Option("fp32", {"precision.compute": "fp32"}, BY_RISK, (Method.LORA,), True),
)  # fmt: skip


def all_cells() -> list[Cell]:
    """Every cell of the list: the matrix, classification, options."""
    matrix = [
        Cell(strategy, method, needs_gpu=on_gpu_only(strategy)) for strategy in BY_RISK for method in METHODS
    ]  # fmt: skip
    classification = [
        Cell(strategy, method, Task.SEQUENCE_CLASSIFICATION)
        for method, strategies in (
            (Method.QLORA, (*SPREAD, StrategyName.SINGLE)),
            (Method.INT8, (StrategyName.FSDP2, StrategyName.SINGLE)),
            (Method.LORA, (StrategyName.ZERO3,)),
        )
        for strategy in strategies
    ]
    return [*matrix, *classification, *(cell for option in OPTIONS for cell in option.cells())]
