"""The few collectives the loop needs; each is a plain value where there is one rank."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as distributed


def world() -> tuple[int, int]:
    """(rank, world_size)."""
    if distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def sum_over_ranks(values: list[float], device: torch.device) -> list[float]:
    """Each value summed over all ranks, in float64: token counts stay exact up to 2^53."""
    if world()[1] == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(tensor)
    return [float(value) for value in tensor.tolist()]


def from_rank_0(value: Any) -> Any:
    """Rank 0's value on every rank."""
    if world()[1] == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def gathered(value: Any) -> list[Any]:
    """Every rank's value on every rank, by rank."""
    if world()[1] == 1:
        return [value]
    values: list[Any] = [None] * world()[1]
    distributed.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Wait for every rank."""
    if world()[1] > 1:
        distributed.barrier()
