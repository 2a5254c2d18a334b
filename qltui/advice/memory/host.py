"""What a run puts into the memory of a node's host: what of weights, gradients, optimizer states and inputs of layers
is offloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.run_config import StrategyName
from qltui.advice.memory.activations import boundary_bytes
from qltui.advice.memory.held import FLOAT32, MOMENTS, ZERO, scale_bytes
from qltui.advice.memory.parts import Part

if TYPE_CHECKING:
    from qltui.advice.memory.held import Job
    from qltui.advice.memory.parts import Parts


def host_memory(job: Job, nodes: int = 1) -> Parts:
    """Bytes by part on each of ``nodes`` hosts, over all its ranks; buffers that tensors pass through come on top.

    The mirror of :func:`qltui.advice.memory.held.held`, which leaves out of the GPU what is counted here. Gradients go
    where the optimizer steps: torch 2.13.0 ``fsdp/_fully_shard/_fsdp_collectives.py`` moves them as they are reduced,
    deepspeed 0.19.8 ``runtime/zero/stage_1_and_2.py`` keeps pinned float32 ones beside the masters. Inputs of layers
    are pinned one by one, each rounded up to a power of two (torch 2.13.0 ``core/CachingHostAllocator.h``).
    """
    offload, trained = job.config.strategy, job.trained
    steps_there = offload.offload_optimizer or (offload.offload_parameters and job.strategy is StrategyName.FSDP2)
    parts: Parts = {}
    if offload.offload_parameters:
        parts[Part.WEIGHTS] = sum(job.weights)
        parts[Part.SCALES] = scale_bytes(job) if job.shards_scales else 0
        parts[Part.ADAPTERS] = 0 if job.full else trained * FLOAT32
    if steps_there:
        masters = FLOAT32 if job.strategy in ZERO else 0
        parts[Part.GRADIENTS] = trained * FLOAT32
        parts[Part.OPTIMIZER] = int(trained * (MOMENTS[job.config.training.optimizer] + masters))
    if job.config.training.offload_activations:
        one = boundary_bytes(job) * job.micro_batch_tokens
        parts[Part.BOUNDARIES] = job.world_size * job.checkpointed * (1 << (one - 1).bit_length())
    return {part: size // nodes for part, size in parts.items() if size}
