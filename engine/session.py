"""What one rank works with, gathered in one place once everything is loaded and prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from torch import nn

    from engine.config import RunConfig
    from engine.data import Rows
    from engine.events import RunDirectory
    from engine.reporter import Reporter
    from engine.requests import Requests


@dataclass
class Session:
    """One rank's run."""

    config: RunConfig
    run: RunDirectory
    reporter: Reporter
    requests: Requests
    accelerator: Accelerator
    device: torch.device
    tokenizer: Any
    rows: Rows
    model: nn.Module
    """As prepared by the strategy: what is called."""
    unwrapped: Any
    """The model inside the wrapper: what is saved, audited and generated with."""
    optimizer: Any
    schedule: Any
    weights_dtype: torch.dtype
    """Type a whole model is saved in."""
    total_steps: int
    updates: int = 0
    """Steps that changed weights: neither at rate zero, where warm-up begins, nor skipped because fp16 overflowed."""
    sample_row: int = 0
    """Evaluation row shown before and after training."""
    random_state: dict[str, Any] | None = None
    """Generators as a checkpoint had them, to be set before the first step."""
