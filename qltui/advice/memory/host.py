"""What a run puts into the memory of a node's host: what of weights, gradients, optimizer states and inputs of layers
is offloaded."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from engine.config.choices import Method, StrategyName
from qltui.advice.memory.activations import boundary_bytes
from qltui.advice.memory.held import FLOAT32, MOMENTS, ZERO, scale_bytes
from qltui.advice.memory.parts import Part

if TYPE_CHECKING:
    from qltui.advice.memory.held import Job
    from qltui.advice.memory.parts import Parts
    from qltui.facts.architecture import Architecture


def host_memory(job: Job, nodes: int = 1) -> Parts:
    """Bytes by part on each of ``nodes`` hosts, over all its ranks; buffers that tensors pass through come on top.

    The mirror of :func:`qltui.advice.memory.held.held`, which leaves out of the GPU what is counted here. Gradients go
    where the optimizer steps: torch 2.13.0 ``fsdp/_fully_shard/_fsdp_collectives.py`` moves them as they are reduced,
    deepspeed 0.19.8 ``runtime/zero/stage_1_and_2.py`` keeps pinned float32 ones beside the masters, and
    ``stage3.py`` once more those that were reduced (``grad_partitions_flat_buffer``). Weights and inputs of layers are
    pinned one by one, each rounded up to a power of two (torch 2.13.0 ``core/CachingHostAllocator.h``).
    """
    offload, trained = job.config.strategy, job.trained
    steps_there = offload.offload_optimizer or (offload.offload_parameters and job.strategy is StrategyName.FSDP2)
    parts: Parts = {}
    if offload.offload_parameters:
        parts[Part.WEIGHTS] = _pinned_weights(job)
        parts[Part.SCALES] = scale_bytes(job) if job.shards_scales else 0
        parts[Part.ADAPTERS] = 0 if job.full else trained * FLOAT32
    if steps_there:
        masters = FLOAT32 if job.strategy in ZERO else 0
        copies = 2 if job.strategy is StrategyName.ZERO3 else 1
        parts[Part.GRADIENTS] = trained * FLOAT32 * copies
        parts[Part.OPTIMIZER] = int(trained * (MOMENTS[job.config.training.optimizer] + masters))
    if job.config.training.offload_activations:
        one = boundary_bytes(job) * job.micro_batch_tokens
        parts[Part.BOUNDARIES] = job.world_size * job.checkpointed * _power_of_two(one)
    return {part: size // nodes for part, size in parts.items() if size}


def _pinned_weights(job: Job) -> int:
    """Of all ranks, each of which pins its part of every weight by itself."""
    packed, others = job.weights
    halves = {Method.QLORA: 1, Method.INT8: 2}.get(job.method, 2 * job.kept_width)
    matrices = _matrices(job.architecture, halves, 2 * job.kept_width)
    exact = sum(count * size // 2 for count, size in matrices)
    rounded = sum(count * _power_of_two(-(-size // (2 * job.share))) for count, size in matrices) * job.share
    return packed + others - exact + rounded


@lru_cache(maxsize=64)
def _matrices(architecture: Architecture, quantised: int, plain: int) -> tuple[tuple[int, int], ...]:
    """(count, half bytes) of the weights that are not small, given half bytes of a quantised number and of others."""
    found = [
        (count * one.count, one.inputs * one.outputs * (one.experts or 1)
         * (quantised if one.quantized or one.experts > 1 else plain))
        for count, one in architecture.linears()
    ]  # fmt: skip
    return (*found, *((1, end * plain) for end in (architecture.embeddings, architecture.head) if end))


def _power_of_two(size: int) -> int:
    """What torch takes to pin so many bytes."""
    return 1 << (size - 1).bit_length()
