"""Which combinations are refused, and why: declared once, for the launch check, the engine's launcher and the form.

Every method runs on every strategy for every task but for what stands here. What depends on the machine (GPUs, memory)
is the launch check's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.config.choices import LoraInit, Loss, Method, Optimizer, Storage, StrategyName, Task
from engine.config.loss_chunks import why_full
from engine.config.ranks import ONE_RANK
from engine.config.run_config import get
from engine.config.schema import Problem, as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from engine.config.run_config import RunConfig

ZERO = (StrategyName.ZERO1, StrategyName.ZERO2, StrategyName.ZERO3)
OFFLOADS_OPTIMIZER = (*ZERO, StrategyName.FSDP2)
OFFLOADS_PARAMETERS = (StrategyName.FSDP2, StrategyName.ZERO3)
QUANTIZED = (Method.QLORA, Method.INT8)


class Refusal(NamedTuple):
    """A combination that does not run."""

    id: str
    """Stable: the rules know it as ``engine-<id>``."""
    field: str
    """The field the problem is told of."""
    when: Callable[[RunConfig], bool]
    message: str
    """Why; ``{value}`` stands for the field's value, ``{strategy}`` and ``{method}`` for theirs."""
    remedy: str


def _is(config: RunConfig, method: Method, strategy: StrategyName) -> bool:
    return config.method.name is method and config.strategy.name is strategy


def _is_8bit(optimizer: Optimizer) -> bool:
    return optimizer in (Optimizer.ADAMW_8BIT, Optimizer.PAGED_ADAMW_8BIT)


def _stored_as_other_than(config: RunConfig, strategies: Collection[StrategyName], exact: Storage) -> bool:
    storage = config.method.quantization.storage
    concerned = config.method.name is Method.QLORA and config.strategy.name in strategies
    return concerned and storage not in (Storage.AUTO, exact)


REFUSALS = (
    Refusal(
        "nodes-one-rank",
        "hardware.nodes",
        lambda config: config.hardware.nodes > 1 and config.strategy.name in ONE_RANK,
        "{strategy} is one process on one machine.",
        "Set it to 1, or use ddp, fsdp2 or zero3.",
    ),
    Refusal(
        "pipeline-full",
        "strategy.name",
        lambda config: _is(config, Method.FULL, StrategyName.PIPELINE),
        "pipeline places weights alone; full keeps gradients and optimizer states beside every one of them.",
        "Use fsdp2 or zero3, which split all of it, or method.name=lora.",
    ),
    Refusal(
        "offload-optimizer-strategy",
        "strategy.offload_optimizer",
        lambda config: config.strategy.offload_optimizer and config.strategy.name not in OFFLOADS_OPTIMIZER,
        "{strategy} cannot keep optimizer states in host memory.",
        "Turn it off, or use zero1, zero2 or zero3.",
    ),
    Refusal(
        "fsdp2-offload-optimizer-alone",
        "strategy.offload_optimizer",
        lambda config: (
            config.strategy.offload_optimizer
            and config.strategy.name is StrategyName.FSDP2
            and not config.strategy.offload_parameters
        ),
        "fsdp2 offloads optimizer states only together with the parameters.",
        "Set strategy.offload_parameters=true as well, or use zero1, zero2 or zero3.",
    ),
    Refusal(
        "offload-parameters-strategy",
        "strategy.offload_parameters",
        lambda config: config.strategy.offload_parameters and config.strategy.name not in OFFLOADS_PARAMETERS,
        "{strategy} cannot keep parameters in host memory.",
        "Turn it off, or use fsdp2 or zero3.",
    ),
    Refusal(
        "adamw-8bit-fsdp2",
        "training.optimizer",
        lambda config: _is_8bit(config.training.optimizer) and config.strategy.name is StrategyName.FSDP2,
        "{value} has no kernels for fsdp2's sharded parameters.",
        "Use adamw, or zero1, zero2 or zero3.",
    ),
    Refusal(
        "adamw-8bit-offloaded",
        "training.optimizer",
        lambda config: (
            _is_8bit(config.training.optimizer) and config.strategy.offload_optimizer and config.strategy.name in ZERO
        ),
        "{value} is not proven on states in host memory, and needs a quarter of theirs anyway.",
        "Use adamw, or strategy.offload_optimizer=false.",
    ),
    Refusal(
        "pissa-quantised",
        "method.lora.init",
        # peft 0.21.2 tuners/lora/layer.py pissa_init raises
        lambda config: config.method.lora.init is LoraInit.PISSA and config.method.name in QUANTIZED,
        "pissa decomposes 16-bit weights, and those of {method} are quantised.",
        "Use olora or default, or method.name=lora.",
    ),
    Refusal(
        "storage-fsdp2",
        "method.quantization.storage",
        lambda config: _stored_as_other_than(config, (StrategyName.FSDP2,), Storage.FLOAT32),
        "fsdp2 does not move 4-bit weights stored as {value} bit by bit.",
        "Use auto or float32.",
    ),
    Refusal(
        "storage-zero",
        "method.quantization.storage",
        lambda config: _stored_as_other_than(config, ZERO, Storage.UINT8),
        "DeepSpeed casts floating parameters by value, which would rewrite 4-bit weights stored as {value}.",
        "Use auto or uint8.",
    ),
    Refusal(
        "packing-of-classification",
        "data.packing",
        lambda config: config.model.task is Task.SEQUENCE_CLASSIFICATION and config.data.packing,
        "a sequence classification reads a class off the end of each row, and packed rows have one end together.",
        "Set it to false.",
    ),
    Refusal(
        "loss-chunks",
        "training.loss",
        lambda config: (
            config.training.loss not in (Loss.AUTO, Loss.FULL) and bool(why_full(config, config.precision.compute))
        ),
        "under zero3 the loss of a head with adapters, or trained beside them, cannot be taken in chunks, nor in fp16.",
        "Use auto or full.",
    ),
    Refusal(
        "answers-of-classification",
        "training.generate_answers",
        lambda config: config.model.task is Task.SEQUENCE_CLASSIFICATION and config.training.generate_answers > 0,
        "a sequence classification chooses a class and writes no answers.",
        "Set it to 0.",
    ),
    Refusal(
        "prompts-of-classification",
        "training.sample_prompts",
        lambda config: config.model.task is Task.SEQUENCE_CLASSIFICATION and bool(config.training.sample_prompts),
        "a sequence classification chooses a class and answers no prompts.",
        "Leave it empty.",
    ),
)


def refused(config: RunConfig) -> list[Problem]:
    """A problem for each reason why a configuration would not run on any machine; empty if it would."""
    problems = []
    words = {"strategy": config.strategy.name.value, "method": config.method.name.value}
    for refusal in REFUSALS:
        if refusal.when(config):
            message = refusal.message.format(value=as_text(get(config, refusal.field)), **words)
            problems.append(Problem("", refusal.field, message, refusal.remedy))
    return problems
