"""The optimizer and the schedule of the learning rate."""

from __future__ import annotations

from typing import Any

import torch
from transformers import get_scheduler

from engine.config import Optimizer, RunConfig, Schedule
from engine.errors import BadInput

SCHEDULES = {Schedule.LINEAR: "linear", Schedule.COSINE: "cosine", Schedule.CONSTANT: "constant_with_warmup"}


def make_optimizer(config: RunConfig, parameters: list[torch.nn.Parameter]) -> Any:
    """AdamW over ``parameters``; never silently another one than was asked for."""
    training, device = config.training, parameters[0].device
    common: dict[str, Any] = {
        "lr": training.learning_rate,
        "betas": (training.adam_beta1, training.adam_beta2),
        "weight_decay": training.weight_decay,
    }
    if training.optimizer is Optimizer.ADAMW:
        fused = device.type == "cuda" and not config.strategy.offload_optimizer
        return torch.optim.AdamW(parameters, fused=fused, **common)
    paged = training.optimizer is Optimizer.PAGED_ADAMW_8BIT
    if paged and device.type == "cpu":  # bitsandbytes would leave the paging out, with a warning
        raise BadInput("training.optimizer: paged_adamw_8bit needs a GPU; use adamw_8bit on CPU ranks.")
    import bitsandbytes

    kind = bitsandbytes.optim.PagedAdamW8bit if paged else bitsandbytes.optim.AdamW8bit
    return kind(parameters, **common)


def make_schedule(config: RunConfig, optimizer: Any, total_steps: int) -> Any:
    """Warm-up, then the wanted decay over ``total_steps`` optimizer steps."""
    return get_scheduler(
        SCHEDULES[config.training.schedule],
        optimizer,
        num_warmup_steps=round(config.training.warmup_ratio * total_steps),
        num_training_steps=total_steps,
    )
