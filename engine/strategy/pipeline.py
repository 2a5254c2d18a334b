"""Layers spread over the GPUs of one process, one after another; only one GPU computes at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from engine.errors import BadInput
from engine.parameters import trainable
from engine.strategy.base import DTYPES
from engine.strategy.data_parallel import Single
from engine.strategy.device_map import spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from engine.config import RunConfig
    from engine.strategy.base import MakeOptimizer, See


class Pipeline(Single):
    """A device map over all visible GPUs; Accelerate's hooks carry activations between them."""

    def __init__(self, config: RunConfig, *, tracking_folder: str) -> None:
        super().__init__(config, tracking_folder=tracking_folder)
        devices = torch.cuda.device_count() if self.device.type == "cuda" else 0
        if devices < 2:
            raise BadInput(f"strategy.name: pipeline spreads layers over GPUs, and {devices} are there; use single.")

    def device_map(self, shape: Callable[[], nn.Module]) -> dict[str, Any]:
        """Runs of layers, so cut that the fullest GPU takes least (engine/config/layer_split.py)."""
        room = [torch.cuda.get_device_properties(gpu).total_memory for gpu in self.devices]
        return spread(shape(), self.config, room, DTYPES[self.compute].itemsize)

    def place(self, model: nn.Module, see: See) -> None:
        self.pack_experts(model, None)
        see(model)

    @property
    def devices(self) -> list[torch.device]:
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]

    def prepare(self, model: nn.Module, make_optimizer: MakeOptimizer) -> None:
        self.model = self.unwrapped = model
        self.optimizer = self.accelerator.prepare(make_optimizer(list(trainable(model).values())))
