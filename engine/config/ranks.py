"""How many ranks a run starts and on what: said once for the launcher, the launch check and the screens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.choices import Compute, Device, StrategyName

if TYPE_CHECKING:
    from collections.abc import Collection

    from engine.config.run_config import RunConfig

ONE_RANK = (StrategyName.SINGLE, StrategyName.PIPELINE)
"""Strategies of one process."""

BF16_CAPABILITY = 8
"""Major compute capability from which GPUs compute bf16; older ones only emulate it."""


def uses_gpu(config: RunConfig, gpu_count: int) -> bool:
    """Whether the ranks compute on GPUs, on a node that has ``gpu_count`` of them."""
    device = config.hardware.device
    return device is Device.CUDA or (device is Device.AUTO and gpu_count > 0)


def ranks_per_node(config: RunConfig, gpu_count: int) -> int:
    """Processes to start on each node, on nodes that have ``gpu_count`` usable GPUs; at least 1."""
    if config.strategy.name in ONE_RANK:
        return 1
    if config.hardware.ranks_per_node is not None:
        return config.hardware.ranks_per_node
    if not uses_gpu(config, gpu_count):
        return 1
    return max(1, len(config.hardware.gpus) or gpu_count)


def gpus_per_node(config: RunConfig, gpu_count: int) -> int:
    """GPUs to take on each node, of ``gpu_count`` usable ones: one a rank; pipeline's one rank spreads over all."""
    if config.strategy.name is StrategyName.PIPELINE:
        return max(2, len(config.hardware.gpus) or gpu_count)
    return ranks_per_node(config, gpu_count)


def world_size(config: RunConfig, gpu_count: int) -> int:
    """Ranks of the whole run."""
    return ranks_per_node(config, gpu_count) * config.hardware.nodes


def compute_type(config: RunConfig, capabilities: Collection[int]) -> Compute:
    """What ``precision.compute`` comes to on GPUs of these major compute capabilities; without any, on CPU."""
    wanted = config.precision.compute
    if wanted is not Compute.AUTO:
        return wanted
    if not capabilities:
        return Compute.FP32
    return Compute.BF16 if min(capabilities) >= BF16_CAPABILITY else Compute.FP16
