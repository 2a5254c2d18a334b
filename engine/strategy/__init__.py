"""How the ranks share the work: one class a strategy, the same for the loop whichever it drives."""

from __future__ import annotations

import os

import torch

from engine.config import RunConfig, StrategyName
from engine.config.ranks import ONE_RANK
from engine.errors import BadInput
from engine.strategy.base import Strategy, resolve_compute, use_cpu
from engine.strategy.process_group import join

__all__ = ["Strategy", "join_ranks", "make_strategy", "resolve_compute", "use_cpu"]


def make_strategy(config: RunConfig, *, tracking_folder: str) -> Strategy:
    """The strategy of a run, its process group made.

    Raises:
        BadInput: the ranks that were started, or the hardware, do not fit it.
    """
    join_ranks(config)
    return _kind(config.strategy.name)(config, tracking_folder=tracking_folder)


def join_ranks(config: RunConfig) -> None:
    """See that the ranks which were started fit the run, and meet them, unless they have met.

    Raises:
        BadInput: they, or the hardware, do not fit it.
    """
    name = config.strategy.name
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if name in ONE_RANK and world_size > 1:
        raise BadInput(
            f"strategy.name: {name.value} runs one rank, {world_size} were started; choose ddp.",
            "parallel_size_mismatch",
        )
    wanted = (config.hardware.ranks_per_node or 0) * config.hardware.nodes
    if name not in ONE_RANK and wanted and wanted != world_size:
        raise BadInput(
            f"hardware.ranks_per_node: {wanted} ranks are wanted, {world_size} were started;"
            " start as many (torchrun --nproc-per-node), or leave it empty.",
            "parallel_size_mismatch",
        )
    _check_devices(config)
    offloads = config.strategy.offload_optimizer or config.strategy.offload_parameters
    if offloads and use_cpu(config):
        raise BadInput("strategy: offload moves data off a GPU, and the ranks compute on CPU; turn it off.")
    join(config)


def _check_devices(config: RunConfig) -> None:
    """Each rank of a node needs a GPU of its own; NCCL hangs or dies in its own words otherwise."""
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not use_cpu(config) and ranks > torch.cuda.device_count():
        raise BadInput(
            f"hardware.ranks_per_node: {ranks} ranks want a GPU each, and {torch.cuda.device_count()} are visible;"
            " start as many as there are, or set hardware.device=cpu.",
            "parallel_size_mismatch",
        )


def _kind(name: StrategyName) -> type[Strategy]:
    """The class of a strategy; each imports its own libraries, so that none waits for another's."""
    if name is StrategyName.SINGLE:
        from engine.strategy.data_parallel import Single

        return Single
    if name is StrategyName.DDP:
        from engine.strategy.data_parallel import DataParallel

        return DataParallel
    if name is StrategyName.PIPELINE:
        from engine.strategy.pipeline import Pipeline

        return Pipeline
    if name is StrategyName.FSDP2:
        from engine.strategy.fully_sharded import FullySharded

        return FullySharded
    from engine.strategy.zero import ZERO_STAGES

    return ZERO_STAGES[name]
