"""One process alone, and the same model on every rank."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from accelerate.utils import DistributedDataParallelKwargs

from engine.strategy.base import Strategy

if TYPE_CHECKING:
    from engine.config import RunConfig

DISTRIBUTED_ENVIRONMENT = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Single(Strategy):
    """One process, one device, nothing wrapped."""

    def __init__(self, config: RunConfig, *, tracking_folder: str) -> None:
        # With these set Accelerate would make a process group of one and wrap the model in DDP.
        for name in DISTRIBUTED_ENVIRONMENT:
            os.environ.pop(name, None)
        super().__init__(config, tracking_folder=tracking_folder)


class DataParallel(Strategy):
    """Every rank holds the whole model; gradients of the trained part are averaged."""

    def kwargs_handlers(self) -> list[Any]:
        # Every adapter takes part in every step, so looking for unused ones would only cost time.
        return [DistributedDataParallelKwargs(find_unused_parameters=False, broadcast_buffers=False)]
