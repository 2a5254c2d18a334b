"""What a GPU holds all the time: weights, adapters, gradients and optimizer states, whole or its share."""

from __future__ import annotations

from enum import Enum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from engine.config.choices import (
    Attention,
    Checkpointing,
    Compute,
    LoraInit,
    Method,
    Optimizer,
    StrategyName,
)
from engine.config.deepspeed import ADAPTER_BUCKET, FULL_BUCKET
from engine.config.quick_msgspec import msgspec
from qltui.advice.memory.parts import Part

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig
    from qltui.advice.memory.parts import Parts
    from qltui.facts.architecture import Architecture

BLOCK = 64
"""Weights a 4-bit scale is for (bitsandbytes' default)."""
SCALE_BLOCK = 256
"""Scales a scale of theirs is for, with double quantisation."""
FLOAT32 = 4
MOMENTS = {Optimizer.ADAMW: 8.0, Optimizer.ADAMW_8BIT: 2.0 + 8 / 256, Optimizer.PAGED_ADAMW_8BIT: 0.0}
"""Bytes of Adam's moments for each trained weight. 8-bit ones have a float32 scale for every 256; paged ones live in
memory that CUDA moves to the host when the GPU fills up."""
WORKSPACE = 64 << 20
"""Of cuBLAS and cuBLASLt, 32 MiB each on Hopper, in torch's allocator from the first product on."""
ZERO = (StrategyName.ZERO1, StrategyName.ZERO2, StrategyName.ZERO3)
SHARDS_WEIGHTS = (StrategyName.FSDP2, StrategyName.ZERO3)


class Job(msgspec.Struct, frozen=True, dict=True):
    """What memory depends on beside the model's architecture. Asked for often, so it keeps what it worked out."""

    config: RunConfig
    architecture: Architecture
    compute: Compute
    """Resolved: never auto."""
    world_size: int
    """Ranks the model is spread over, on all nodes."""
    gpus: int = 1
    """GPUs one rank spreads over: those of the node under pipeline, else 1."""
    tokens: int | None = None
    """Tokens of the longest row as it will come; the configured longest sequence where None."""
    same_lengths: bool = False
    """Whether all rows of a micro batch are known to be equally long, so that nothing pads them."""

    @cached_property
    def method(self) -> Method:
        return self.config.method.name

    @cached_property
    def strategy(self) -> StrategyName:
        return self.config.strategy.name

    @cached_property
    def full(self) -> bool:
        return self.method is Method.FULL

    @cached_property
    def quantized(self) -> bool:
        return self.method in (Method.QLORA, Method.INT8)

    @cached_property
    def autocast(self) -> bool:
        """Whether operations choose their type; DeepSpeed's models in fp16, or trained in full, have one alone."""
        return not (self.strategy in ZERO and (self.full or self.compute is Compute.FP16))

    @cached_property
    def padded(self) -> bool:
        """Whether there is a mask: for rows that are filled up, or packed but for FlashAttention, which needs none."""
        if self.config.data.packing:
            return self.config.model.attention is not Attention.FLASH_ATTENTION_2
        return self.config.training.micro_batch_size > 1 and not self.same_lengths

    @cached_property
    def width(self) -> int:
        """Bytes of a number computed with."""
        return 4 if self.compute is Compute.FP32 else 2

    @cached_property
    def kept_width(self) -> int:
        """Bytes of a weight as it is kept, if it is not quantised."""
        return FLOAT32 if self.full and self.strategy not in ZERO else self.width

    @cached_property
    def sequence(self) -> int:
        """Tokens of a row."""
        longest = self.config.data.max_length
        return min(longest, self.tokens) if self.tokens else longest

    @cached_property
    def micro_batch_tokens(self) -> int:
        """Tokens computed at once on a rank."""
        return self.config.training.micro_batch_size * self.sequence

    @cached_property
    def checkpointed(self) -> int:
        """Layers that recompute in backward."""
        wanted = self.config.training.gradient_checkpointing
        if wanted is Checkpointing.NONE:
            return 0
        depth = self.architecture.depth
        return depth if wanted is Checkpointing.ALL else min(int(wanted), depth)

    @cached_property
    def trained(self) -> int:
        """Numbers that are trained."""
        if self.full:
            return _parameters(self.architecture)
        return _adapters(self.architecture, self.config.method.lora.rank, self.targets)

    @cached_property
    def targets(self) -> tuple[str, ...] | None:
        """Names of the layers that get adapters; None for all linear ones."""
        wanted = self.config.method.lora.target_modules
        if wanted == "all-linear":
            return None
        return (wanted,) if isinstance(wanted, str) else tuple(wanted)

    @cached_property
    def quantized_numbers(self) -> int:
        """Weights that are quantised, fused experts too; none where the method quantises nothing."""
        return _quantizable(self.architecture)[0] + fused_numbers(self.architecture) if self.quantized else 0

    @cached_property
    def weights(self) -> tuple[int, int]:
        """(packed bytes of quantised weights, bytes of all others), of the whole model."""
        parameters = _parameters(self.architecture)
        if self.full:
            return 0, parameters * self.kept_width
        numbers = self.quantized_numbers
        packed = numbers if self.method is Method.INT8 else numbers // 2
        return packed, (parameters - numbers) * self.width

    @property
    def share(self) -> int:
        """Into how many parts weights are cut."""
        return self.world_size if self.strategy in SHARDS_WEIGHTS else 1

    @property
    def loads_by_block(self) -> bool:
        """Whether weights wait on the host until a block at a time is quantised and sharded.

        OLoRA takes its adapters out of quantised weights, so these have to be there (engine/strategy/base.py
        ``quantizes_by_block``).
        """
        from_weights = self.quantized and self.config.method.lora.init is LoraInit.OLORA
        return self.strategy in SHARDS_WEIGHTS and not from_weights

    @property
    def share_of_scales(self) -> int:
        """Into how many parts scales are cut."""
        return self.share if self.shards_scales else 1

    @property
    def shards_scales(self) -> bool:
        """Whether scales are cut and offloaded as weights are: those of int8 under fsdp2, where they are parameters."""
        return self.method is Method.INT8 and self.strategy is StrategyName.FSDP2


@lru_cache(maxsize=64)
def _parameters(architecture: Architecture) -> int:
    return architecture.parameters


@lru_cache(maxsize=64)
def _adapters(architecture: Architecture, rank: int, targets: tuple[str, ...] | None) -> int:
    return architecture.lora_parameters(rank, targets)


@lru_cache(maxsize=64)
def _quantizable(architecture: Architecture) -> tuple[int, int]:
    """(numbers, rows of fused experts too) of the weights that bitsandbytes replaces: linear layers but the head."""
    linears = [(count * linear.matrices, linear) for count, linear in architecture.linears()]
    numbers = sum(count * linear.inputs * linear.outputs for count, linear in linears if linear.quantized)
    return numbers, sum(count * linear.outputs for count, linear in linears if linear.quantized or linear.experts > 1)


@lru_cache(maxsize=64)
def fused_numbers(architecture: Architecture) -> int:
    """Weights of fused experts, which the engine quantises itself (engine/quantized_experts.py)."""
    return sum(count * layer.fused for count, layer in architecture.layers)


@lru_cache(maxsize=64)
def linear_numbers(architecture: Architecture) -> int:
    """Weights of all linear layers and experts but the head."""
    return sum(count * linear.parameters for count, linear in architecture.linears())


def scale_bytes(job: Job) -> int:
    """Of the scales of all quantised weights."""
    if job.method is Method.INT8:
        return _quantizable(job.architecture)[1] * FLOAT32
    blocks = job.quantized_numbers / BLOCK
    nested = job.config.method.quantization.double_quantization
    return int(blocks + blocks / SCALE_BLOCK * FLOAT32) if nested else int(blocks * FLOAT32)


class Moment(Enum):
    """What gradients there are while nothing computes."""

    RESTING = "resting"
    """None: between steps."""
    COMPUTING = "computing"
    """Those of earlier micro batches."""
    STEPPING = "stepping"
    """All."""


def held(job: Job, moment: Moment) -> Parts:
    """Bytes by part on the fullest GPU that no computation takes."""
    packed, others = job.weights
    trained, offload = job.trained, job.config.strategy
    parts: Parts = {
        Part.WEIGHTS: (packed + others) // job.share,
        Part.SCALES: scale_bytes(job) // job.share_of_scales,
        Part.ADAPTERS: 0 if job.full else trained * FLOAT32 // job.share,
        Part.GRADIENTS: gradient_bytes(job, moment),
        Part.OPTIMIZER: optimizer_bytes(job),
        Part.COMMUNICATION: buffer_bytes(job, moment),
        Part.WORKSPACE: WORKSPACE,
    }
    if offload.offload_parameters:
        parts[Part.WEIGHTS] = parts[Part.ADAPTERS] = 0
        if job.shards_scales:
            parts[Part.SCALES] = 0
    return parts


def gradient_bytes(job: Job, moment: Moment) -> int:
    """Gradients in float32, this rank's share where they are reduced as they come."""
    whole, offload = job.trained * FLOAT32, job.config.strategy
    if (offload.offload_optimizer and job.strategy is StrategyName.ZERO3) or (
        offload.offload_parameters and job.strategy is StrategyName.FSDP2
    ):
        return 0  # they go where the optimizer steps, as they come
    if offload.offload_optimizer and job.strategy in ZERO:
        return whole // job.world_size if moment is Moment.STEPPING else 0
    if job.strategy is StrategyName.ZERO1 and job.full and job.compute is Compute.BF16:
        # DeepSpeed's optimizer for models in bf16 sums them up in a buffer that stays, and lets go of what came to it
        # with the step alone.
        several = job.config.training.gradient_accumulation_steps > 1
        return whole + (job.trained * job.width if several and moment is Moment.COMPUTING else 0)
    if job.strategy is StrategyName.ZERO3:
        return whole // job.world_size
    if moment is Moment.RESTING:
        return 0
    if moment is Moment.COMPUTING and job.config.training.gradient_accumulation_steps == 1:
        return 0
    return whole // job.world_size if job.strategy in (*ZERO, StrategyName.FSDP2) else whole


def optimizer_bytes(job: Job) -> int:
    """States on the GPU; under ZeRO with the float32 masters that the optimizer steps."""
    offload = job.config.strategy
    if offload.offload_optimizer or (offload.offload_parameters and job.strategy is StrategyName.FSDP2):
        return 0
    states = job.trained * MOMENTS[job.config.training.optimizer]
    if job.strategy in ZERO:
        return int((states + job.trained * FLOAT32) / job.world_size)
    return int(states / job.share)


def buffer_bytes(job: Job, moment: Moment) -> int:
    """Buffers that stay, which gradients are put together in to be reduced."""
    if job.strategy is StrategyName.DDP:
        return job.trained * FLOAT32
    if job.strategy is StrategyName.ZERO3:
        return (FULL_BUCKET if job.full else ADAPTER_BUCKET) * FLOAT32
    if reduces_as_stage_2(job) and moment is not Moment.RESTING:  # stage 2 lets go of its two buckets by then
        return 2 * FULL_BUCKET * job.width
    return 0


def reduces_as_stage_2(job: Job) -> bool:
    """Whether stage 1 runs on DeepSpeed's optimizer of stage 2 (bf16 in full without offload has one of its own)."""
    own = job.compute is Compute.BF16 and not job.config.strategy.offload_optimizer
    return job.strategy is StrategyName.ZERO1 and job.full and not own
