"""The process group of a run's ranks, made in one place: Accelerate and DeepSpeed take the one that is there.

By themselves they make it with NCCL alone on GPUs, and a group that was made is given no other backend.
"""

from __future__ import annotations

import os
from datetime import timedelta

import torch
import torch.distributed as distributed
from torch.distributed import distributed_c10d

from engine.config import RunConfig, StrategyName
from engine.config.ranks import ONE_RANK
from engine.errors import BadInput
from engine.strategy.base import use_cpu

RENDEZVOUS = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Variables that say which rank this is, and where the others are met."""


def join(config: RunConfig) -> None:
    """Meet the other ranks of a run; nothing where they have met, or no launcher started this process.

    Raises:
        BadInput: the environment names several ranks, and not all that it takes to meet them.
    """
    if config.strategy.name in ONE_RANK or distributed.is_initialized():
        return
    missing = [name for name in RENDEZVOUS if name not in os.environ]
    if missing and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BadInput(
            f"{missing[0]}: not set in this rank's environment, and WORLD_SIZE is {os.environ['WORLD_SIZE']};"
            f" start the ranks with torchrun, or set {', '.join(RENDEZVOUS)} for each."
        )
    if missing:
        return
    on_cpu = use_cpu(config)
    if not on_cpu:
        # Slurm may show each rank a GPU of its own, which then is its first.
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    distributed.init_process_group(backend(config, on_cpu=on_cpu), timeout=_timeout(config))


def set_timeout(config: RunConfig) -> None:
    """Have all groups wait as long as the first one: those that libraries made of it have torch's default again."""
    timeout = _timeout(config)
    if timeout is None or not distributed.is_initialized():
        return
    for group in list(distributed_c10d._world.pg_map):
        distributed_c10d._set_pg_timeout(timeout, group)


def _timeout(config: RunConfig) -> timedelta | None:
    seconds = config.hardware.timeout_seconds
    return None if seconds is None else timedelta(seconds=seconds)


def backend(config: RunConfig, *, on_cpu: bool) -> str:
    """What the ranks talk over, as torch names it.

    Gradients that fsdp2 offloads live on the host, and clipping sums them there: NCCL alone cannot.
    """
    if on_cpu:
        return "gloo"
    on_host = config.strategy.name is StrategyName.FSDP2 and config.strategy.offload_parameters
    return "cpu:gloo,cuda:nccl" if on_host else "nccl"
