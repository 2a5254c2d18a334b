"""Layers spread over the devices of one process, one after another; only one device computes at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from engine.errors import BadInput
from engine.parameters import trainable
from engine.strategy.data_parallel import Single

if TYPE_CHECKING:
    from torch import nn

    from engine.config import RunConfig
    from engine.strategy.base import MakeOptimizer


class Pipeline(Single):
    """A device map over all visible GPUs, balanced by bytes; Accelerate's hooks carry activations between them."""

    def __init__(self, config: RunConfig, *, tracking_folder: str) -> None:
        super().__init__(config, tracking_folder=tracking_folder)
        devices = torch.cuda.device_count() if self.device.type == "cuda" else 0
        if devices < 2:
            raise BadInput(f"strategy.name: pipeline spreads layers over GPUs, and {devices} are there; use single.")

    @property
    def device_map(self) -> Any:
        """Transformers' own balancing."""
        return "balanced"

    @property
    def devices(self) -> list[torch.device]:
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]

    def prepare(self, model: nn.Module, make_optimizer: MakeOptimizer) -> None:
        placed: dict[str, Any] = getattr(model, "hf_device_map", {})
        elsewhere = sorted(name for name, device in placed.items() if device in ("cpu", "disk"))
        if elsewhere:
            raise BadInput(
                f"strategy.name: the GPUs hold all but {len(elsewhere)} parts of the model (first: {elsewhere[0]});"
                " use more GPUs, qlora, or fsdp2 with offload."
            )
        self.model = self.unwrapped = model
        self.optimizer = self.accelerator.prepare(make_optimizer(list(trainable(model).values())))
