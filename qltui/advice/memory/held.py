"""What a GPU holds all the time: weights, adapters, gradients and optimizer states, whole or its share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from engine.config.deepspeed import ADAPTER_BUCKET, FULL_BUCKET
from engine.config.run_config import Checkpointing, Compute, Method, Optimizer, StrategyName
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


@dataclass(frozen=True, slots=True)
class Job:
    """What memory depends on beside the model's architecture."""

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

    @property
    def method(self) -> Method:
        return self.config.method.name

    @property
    def strategy(self) -> StrategyName:
        return self.config.strategy.name

    @property
    def full(self) -> bool:
        return self.method is Method.FULL

    @property
    def quantized(self) -> bool:
        return self.method in (Method.QLORA, Method.INT8)

    @property
    def width(self) -> int:
        """Bytes of a number computed with."""
        return 4 if self.compute is Compute.FP32 else 2

    @property
    def sequence(self) -> int:
        """Tokens of a row."""
        longest = self.config.data.max_length
        return min(longest, self.tokens) if self.tokens else longest

    @property
    def micro_batch_tokens(self) -> int:
        """Tokens computed at once on a rank."""
        return self.config.training.micro_batch_size * self.sequence

    @property
    def checkpointed(self) -> int:
        """Layers that recompute in backward."""
        wanted = self.config.training.gradient_checkpointing
        if wanted is Checkpointing.NONE:
            return 0
        depth = self.architecture.depth
        return depth if wanted is Checkpointing.ALL else min(int(wanted), depth)

    @property
    def trained(self) -> int:
        """Numbers that are trained."""
        if self.full:
            return self.architecture.parameters
        lora = self.config.method.lora
        targets = None if lora.target_modules == "all-linear" else tuple(_names(lora.target_modules))
        return self.architecture.lora_parameters(lora.rank, targets)

    @property
    def share(self) -> int:
        """Into how many parts weights are cut."""
        return self.world_size if self.strategy in SHARDS_WEIGHTS else 1


def _names(targets: str | list[str]) -> list[str]:
    return [targets] if isinstance(targets, str) else targets


def quantized_numbers(architecture: Architecture) -> int:
    """Weights that bitsandbytes replaces: those of linear layers but the head. Fused experts stay as they are."""
    return sum(
        count * linear.inputs * linear.outputs * linear.count
        for count, layer in architecture.layers for linear in layer.linears if linear.quantized
    )  # fmt: skip


def linear_numbers(architecture: Architecture) -> int:
    """Weights of all linear layers and experts but the head."""
    return sum(count * linear.parameters for count, layer in architecture.layers for linear in layer.linears)


def scale_bytes(job: Job, numbers: int) -> int:
    """Of the scales of so many quantised weights; they are not sharded."""
    if job.method is Method.INT8:
        rows = sum(
            count * linear.outputs * linear.count
            for count, layer in job.architecture.layers for linear in layer.linears if linear.quantized
        )  # fmt: skip
        return rows * FLOAT32
    blocks = numbers / BLOCK
    nested = job.config.method.quantization.double_quantization
    return int(blocks + blocks / SCALE_BLOCK * FLOAT32) if nested else int(blocks * FLOAT32)


def weight_bytes(job: Job) -> tuple[int, int]:
    """(packed bytes of quantised weights, bytes of all others), of the whole model."""
    architecture = job.architecture
    if job.full:
        wide = FLOAT32 if job.strategy not in ZERO else job.width
        return 0, architecture.parameters * wide
    if not job.quantized:
        return 0, architecture.parameters * job.width
    numbers = quantized_numbers(architecture)
    packed = numbers if job.method is Method.INT8 else numbers // 2
    return packed, (architecture.parameters - numbers) * job.width


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
    packed, others = weight_bytes(job)
    trained, offload, spread = job.trained, job.config.strategy, job.gpus
    parts: Parts = {
        Part.WEIGHTS: (packed + others) // job.share // spread,
        Part.SCALES: scale_bytes(job, quantized_numbers(job.architecture)) // spread if job.quantized else 0,
        Part.ADAPTERS: 0 if job.full else trained * FLOAT32 // job.share // spread,
        Part.GRADIENTS: gradient_bytes(job, moment) // spread,
        Part.OPTIMIZER: optimizer_bytes(job) // spread,
        Part.COMMUNICATION: buffer_bytes(job),
        Part.WORKSPACE: WORKSPACE,
    }
    if offload.offload_parameters:
        parts[Part.WEIGHTS] = parts[Part.ADAPTERS] = 0
    return parts


def gradient_bytes(job: Job, moment: Moment) -> int:
    """Gradients in float32, this rank's share where they are reduced as they come."""
    whole, offload = job.trained * FLOAT32, job.config.strategy
    if (offload.offload_optimizer and job.strategy in ZERO) or (
        offload.offload_parameters and job.strategy is StrategyName.FSDP2
    ):
        return 0  # they go where the optimizer steps
    if job.strategy is StrategyName.ZERO1:
        return whole  # summed up in a buffer that stays
    if job.strategy is StrategyName.ZERO3:
        return whole // job.world_size
    if moment is Moment.RESTING:
        return 0
    if moment is Moment.COMPUTING and job.config.training.gradient_accumulation_steps == 1:
        return 0
    return whole // job.world_size if job.strategy in (StrategyName.ZERO2, StrategyName.FSDP2) else whole


def optimizer_bytes(job: Job) -> int:
    """States on the GPU; under ZeRO with the float32 masters that the optimizer steps."""
    offload = job.config.strategy
    if offload.offload_optimizer or (offload.offload_parameters and job.strategy is StrategyName.FSDP2):
        return 0
    states = job.trained * MOMENTS[job.config.training.optimizer]
    if job.strategy in ZERO:
        return int((states + job.trained * FLOAT32) / job.world_size)
    return int(states / job.share)


def buffer_bytes(job: Job) -> int:
    """Buffers that stay, which gradients are put together in to be reduced."""
    if job.strategy is StrategyName.DDP:
        return job.trained * FLOAT32
    if job.strategy is StrategyName.ZERO3:
        return (FULL_BUCKET if job.full else ADAPTER_BUCKET) * FLOAT32
    return 0
