"""From a strategy's name to a prepared Accelerator: how the ranks share the work.

Each strategy is one subclass; the loop does not know which it drives. `single` and `ddp` stand; the others are refused
by name before anything is loaded (``engine.config.built``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from engine.config import Compute, Device, RunConfig, StrategyName
from engine.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

DISTRIBUTED_ENVIRONMENT = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
MIXED_PRECISION = {Compute.BF16: "bf16", Compute.FP16: "fp16", Compute.FP32: "no"}


class Strategy:
    """How a model is placed and prepared. ``shards`` says whether each rank is to hold a part of the weights only."""

    shards: ClassVar[bool] = False

    def __init__(self, config: RunConfig, *, tracking_folder: str) -> None:
        on_cpu = use_cpu(config)
        self.compute = resolve_compute(config, on_cpu)
        self.accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision=MIXED_PRECISION[self.compute],
            log_with=[tracker.value for tracker in config.tracking.report_to] or None,
            project_dir=tracking_folder,
            kwargs_handlers=self.kwargs_handlers(),
        )

    def kwargs_handlers(self) -> list[Any]:
        return []

    @property
    def device(self) -> torch.device:
        """Where this rank computes, as torch names it everywhere: cuda:<index>, or cpu (Accelerate says cpu:0)."""
        if self.accelerator.device.type == "cuda":
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("cpu")

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """The model and optimizer as the loop uses them."""
        model, optimizer = self.accelerator.prepare(model, optimizer)
        return model, optimizer


class Single(Strategy):
    """One process, one device, nothing wrapped."""

    def __init__(self, config: RunConfig, *, tracking_folder: str) -> None:
        # With these set Accelerate would make a process group of one and wrap the model in DDP.
        for name in DISTRIBUTED_ENVIRONMENT:
            os.environ.pop(name, None)
        super().__init__(config, tracking_folder=tracking_folder)


class DataParallel(Strategy):
    """Every rank holds the whole model; gradients of the trainable part are averaged."""

    def kwargs_handlers(self) -> list[Any]:
        # Every adapter takes part in every step, so looking for unused ones would only cost time.
        return [DistributedDataParallelKwargs(find_unused_parameters=False, broadcast_buffers=False)]


STRATEGIES: dict[StrategyName, type[Strategy]] = {StrategyName.SINGLE: Single, StrategyName.DDP: DataParallel}


def make_strategy(config: RunConfig, *, tracking_folder: str) -> Strategy:
    """The strategy of a run, its process group initialised."""
    name = config.strategy.name
    if name not in STRATEGIES:
        built = " or ".join(known.value for known in STRATEGIES)
        raise BadInput(f"strategy.name: {name.value} is not built yet; use {built}.")
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if name is StrategyName.SINGLE and world_size > 1:
        raise BadInput(f"strategy.name: single runs one rank, {world_size} were started; choose ddp.")
    wanted = (config.hardware.ranks_per_node or 0) * config.hardware.nodes
    if name is not StrategyName.SINGLE and wanted and wanted != world_size:
        raise BadInput(
            f"hardware.ranks_per_node: {wanted} ranks are wanted, {world_size} were started;"
            " start as many (torchrun --nproc-per-node), or leave it empty."
        )
    return STRATEGIES[name](config, tracking_folder=tracking_folder)


def use_cpu(config: RunConfig) -> bool:
    """Whether the ranks compute on CPU: asked for, or no GPU is there."""
    if config.hardware.device is Device.CUDA and not torch.cuda.is_available():
        raise BadInput("hardware.device: cuda was asked for, but torch sees no GPU; check the driver, or use cpu.")
    return config.hardware.device is Device.CPU or not torch.cuda.is_available()


def resolve_compute(config: RunConfig, on_cpu: bool) -> Compute:
    """The precision to compute in, by the hardware where it was left open.

    Decided by compute capability: torch's own ``is_bf16_supported()`` says yes on GPUs that only emulate it.
    """
    wanted = config.precision.compute
    if on_cpu:
        if wanted is Compute.FP16:
            raise BadInput("precision.compute: fp16 needs a GPU; use fp32 or bf16 on CPU ranks.")
        return Compute.FP32 if wanted is Compute.AUTO else wanted
    has_bf16 = torch.cuda.get_device_capability()[0] >= 8
    if wanted is Compute.BF16 and not has_bf16:
        raise BadInput(f"precision.compute: {torch.cuda.get_device_name()} computes no bf16; use fp16.")
    if wanted is Compute.AUTO:
        return Compute.BF16 if has_bf16 else Compute.FP16
    return wanted
