"""What memory is spent on: the parts of a plan."""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    """A use of GPU memory; every byte of a plan belongs to one."""

    WEIGHTS = "weights"
    """The base's weights as this GPU keeps them between uses."""
    SCALES = "scales"
    """Of quantised weights."""
    ADAPTERS = "adapters"
    GRADIENTS = "gradients"
    OPTIMIZER = "optimizer"
    """Its states, and float32 masters of 16-bit weights."""
    ACTIVATIONS = "activations"
    """What forward keeps for backward."""
    BOUNDARIES = "boundaries"
    """What checkpointed layers keep: their inputs."""
    LOGITS = "logits"
    """The head's output, and the loss over the vocabulary."""
    GATHERED = "gathered"
    """Weights of other ranks while a layer computes."""
    TRANSIENT = "transient"
    """Weights dequantised for one product, casts of adapters."""
    COMMUNICATION = "communication"
    """Buffers that gradients are reduced in."""
    WORKSPACE = "workspace"
    """Of cuBLAS."""
    CONTEXT = "context"
    """Of CUDA and NCCL: outside of what torch's allocator counts."""
    FRAGMENTATION = "fragmentation"
    """What the allocator holds and cannot use."""


class Phase(StrEnum):
    """Moments at which memory can be highest."""

    LOAD = "load"
    FORWARD = "forward"
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"
    EVALUATION = "eval"


Parts = dict[Part, int]
"""Bytes by part; a part that takes nothing may be absent."""


def total(parts: Parts) -> int:
    """All of it, in bytes."""
    return sum(parts.values())
