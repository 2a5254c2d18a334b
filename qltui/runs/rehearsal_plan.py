"""What a rehearsal is: the run as it is configured, on a few CPU ranks, with a small model of the same architecture.

What changes for it is one list (:func:`rehearsed`), what it cannot show another (:func:`unproven`). Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config.choices import (
    Attention,
    Compute,
    Device,
    LoraInit,
    LossOn,
    Method,
    Optimizer,
    StrategyName,
    Task,
)
from engine.config.ranks import world_size
from engine.config.run_config import FIELDS, RunConfig, build, get
from engine.config.schema import as_text
from qltui.advice.changes import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS, SAVE_EVERY = 6, 2
"""Enough to be stopped after the first checkpoint and to have steps left."""
MAX_LENGTH = 64
MOST_ACCUMULATION = 2
MOST_LORA_RANK = 16
MOST_ANSWERS, MOST_ANSWER_TOKENS = 2, 8

RANK_BYTES = 500 * 2**20
"""What a rank takes before it holds a model."""
BYTES_PER_MODEL_BYTE = 8
"""A 16-bit checkpoint trained whole: float32 weights, gradients, two moments."""


def rehearsed_strategy(strategy: StrategyName) -> StrategyName:
    """The strategy as CPU ranks have it; a pipeline needs devices to lay its layers on."""
    return StrategyName.SINGLE if strategy is StrategyName.PIPELINE else strategy


def affordable_ranks(config: RunConfig, gpu_count: int, available: int, cores: float, model_bytes: int) -> int:
    """As many of the run's ranks as fit into ``available`` bytes and on the cores; two at least, to be several."""
    if rehearsed_strategy(config.strategy.name) is StrategyName.SINGLE:
        return 1
    fitting = available // (RANK_BYTES + BYTES_PER_MODEL_BYTE * model_bytes)
    return max(2, min(world_size(config, gpu_count), fitting, int(cores)))


def rehearsed(config: RunConfig, model: str, ranks: int) -> tuple[RunConfig, list[Change]]:
    """The configuration of a rehearsal with the small model in the folder ``model``, and what it changes."""
    changed = {field: wish for field, wish in _wishes(config, model, ranks).items() if get(config, field) != wish[0]}
    values = {field: get(config, field) for field in FIELDS} | {field: value for field, (value, _) in changed.items()}
    changes = [
        Change(field, as_text(get(config, field)), as_text(value), why) for field, (value, why) in changed.items()
    ]
    return build(values), changes


def _wishes(config: RunConfig, model: str, ranks: int) -> dict[str, tuple[Any, str]]:
    """(value, why) by field; fields that have the value already are no change."""
    data, training = config.data, config.training
    few = "a few steps show whether it works"
    wishes: dict[str, tuple[Any, str]] = {
        "name": (f"{config.name[:54]}-rehearsal", "to tell them apart"),
        "parent": (None, "its checkpoint does not fit the small model"),
        "model.path": (model, "a small random model of the same architecture"),
        "model.revision": (None, "the small model has none"),
        "hardware.device": (Device.CPU, "a rehearsal needs no GPU"),
        "hardware.gpus": ([], "a rehearsal needs no GPU"),
        "hardware.nodes": (1, "all ranks run on this machine"),
        "strategy.offload_optimizer": (False, "CPU ranks hold all in host memory anyway"),
        "strategy.offload_parameters": (False, "CPU ranks hold all in host memory anyway"),
        "data.max_length": (min(data.max_length, MAX_LENGTH), few),
        "data.num_workers": (min(data.num_workers, 1), "one shows whether it works"),
        "training.max_steps": (STEPS, few),
        "training.micro_batch_size": (1, few),
        "training.gradient_accumulation_steps": (min(training.gradient_accumulation_steps, MOST_ACCUMULATION), few),
        "training.save_every": (SAVE_EVERY, "to be stopped and resumed on the way"),
        "training.eval_every": (0, "one evaluation shows whether it works, the one at the end"),
        "training.generate_answers": (min(training.generate_answers, MOST_ANSWERS), "a random model answers nothing"),
        "training.sample_prompts": (training.sample_prompts[:1], "one shows whether it works"),
        "recovery.auto": (0, "what fails is to be seen"),
        "tracking.report_to": ([], "a rehearsal is no result"),
    }
    if rehearsed_strategy(config.strategy.name) is StrategyName.SINGLE:
        wishes["hardware.ranks_per_node"] = (None, "single is one rank")
    else:
        wishes["hardware.ranks_per_node"] = (ranks, "what this machine's memory and cores allow, at least two")
    if config.strategy.name is StrategyName.PIPELINE:
        wishes["strategy.name"] = (StrategyName.SINGLE, "a pipeline lays its layers on several GPUs")
    if training.generate_answers or training.sample_prompts:
        wishes["training.answer_max_tokens"] = (min(training.answer_max_tokens, MOST_ANSWER_TOKENS), few)
    if config.hardware.device is not Device.CPU:
        wishes["hardware.threads_per_rank"] = (None, "this machine's cores are shared evenly")
    if config.precision.compute in (Compute.AUTO, Compute.FP16):
        wishes["precision.compute"] = (Compute.FP32, "CPU ranks compute in fp32 or bf16")
    if training.optimizer is Optimizer.PAGED_ADAMW_8BIT:
        wishes["training.optimizer"] = (Optimizer.ADAMW_8BIT, "CPU ranks have no GPU memory to page out of")
    if config.model.attention is Attention.FLASH_ATTENTION_2:
        wishes["model.attention"] = (Attention.AUTO, "flash attention computes on GPUs alone")
    if data.max_length > MAX_LENGTH and config.model.task is Task.CAUSAL_LM:
        wishes["data.loss_on"] = (LossOn.ALL, f"an answer may begin after token {MAX_LENGTH}")
    if config.method.name is not Method.FULL:
        wishes["method.lora.rank"] = (min(config.method.lora.rank, MOST_LORA_RANK), "the small layers are narrow")
    return wishes


def unproven(config: RunConfig, ranks: int, gpu_count: int) -> list[str]:
    """What of the run a rehearsal on ``ranks`` CPU ranks cannot show."""
    return [
        f"the weights of {config.model.path}: the small model has the architecture, and random numbers",
        *_unproven_data(config),
        *(_unproven_gpu(config, gpu_count) if config.hardware.device is not Device.CPU else _unproven_cpu()),
        *_unproven_choices(config),
        *_unproven_scale(config, ranks, gpu_count),
    ]


def _unproven_data(config: RunConfig) -> Iterator[str]:
    if config.data.max_length > MAX_LENGTH:
        yield f"rows longer than {MAX_LENGTH} tokens, of {config.data.max_length} allowed"
        if config.data.loss_on is LossOn.ANSWERS and config.model.task is Task.CAUSAL_LM:
            yield "the loss on answers alone, and whether any answer is left at that length"
    yield "what is learnt: the loss of a random model says nothing of it"
    if config.parent:
        yield f"going on from {config.parent}"


def _unproven_cpu() -> Iterator[str]:
    yield "memory and speed with the real model"


def _unproven_gpu(config: RunConfig, gpu_count: int) -> Iterator[str]:
    """What is otherwise on GPUs, for each choice that makes it so."""
    method, strategy = config.method, config.strategy
    yield "GPU memory and speed, and kernels that compute on GPUs alone"
    if world_size(config, gpu_count) > 1 or strategy.name not in (StrategyName.SINGLE, StrategyName.PIPELINE):
        yield "NCCL: CPU ranks talk over gloo"
    if method.name is Method.QLORA:
        yield f"bitsandbytes' CUDA kernels for {method.quantization.type.value}"
        if strategy.name is StrategyName.FSDP2:
            yield "FSDP2's copies of the 4-bit bytes on CUDA (the weights audit of the real run measures them)"
    if method.name is Method.INT8:
        yield "bitsandbytes' CUDA kernels for int8"
    if config.training.optimizer is not Optimizer.ADAMW:
        yield f"bitsandbytes' CUDA kernels for {config.training.optimizer.value}"
    if config.precision.compute is Compute.AUTO:
        yield "16-bit computation, which auto chooses on GPUs"
    if config.precision.deterministic:
        yield "deterministic kernels on GPUs"


def _unproven_choices(config: RunConfig) -> Iterator[str]:
    """What a rehearsal sets otherwise, wherever the run is to compute."""
    method, strategy = config.method, config.strategy
    if method.name is not Method.FULL and method.lora.init is not LoraInit.DEFAULT:
        yield f"the initialisation {method.lora.init.value} on the real weights, and how long it takes"
    if config.precision.compute is Compute.FP16:
        yield "fp16: its range, and the scaling of the loss"
    if config.model.attention is Attention.FLASH_ATTENTION_2:
        yield "flash attention"
    if config.training.optimizer is Optimizer.PAGED_ADAMW_8BIT:
        yield "paging of the optimizer's states"
    if strategy.offload_optimizer or strategy.offload_parameters:
        yield "offload to host memory"
    if strategy.name is StrategyName.PIPELINE:
        yield "where the pipeline lays its layers: it was rehearsed as single"


def _unproven_scale(config: RunConfig, ranks: int, gpu_count: int) -> Iterator[str]:
    wanted = world_size(config, gpu_count)
    if wanted > ranks:
        yield f"{wanted} ranks: {ranks} were rehearsed"
    if config.hardware.nodes > 1:
        yield f"{config.hardware.nodes} machines: their network, and the folders they share"
    if config.tracking.report_to:
        yield f"what is sent to {', '.join(tracker.value for tracker in config.tracking.report_to)}"
