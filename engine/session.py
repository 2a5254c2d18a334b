"""What one rank works with, gathered in one place once everything is loaded and prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.config import Method, Task
from engine.loss import summed_loss

if TYPE_CHECKING:
    import torch

    from engine.audit import WeightWatch
    from engine.config import RunConfig
    from engine.data import Rows
    from engine.events import RunDirectory
    from engine.loss import SummedLoss
    from engine.reporter import Reporter
    from engine.requests import Requests
    from engine.strategy import Strategy


@dataclass
class Session:
    """One rank's run."""

    config: RunConfig
    run: RunDirectory
    reporter: Reporter
    requests: Requests
    strategy: Strategy
    """Holds the model and steps the optimizer."""
    tokenizer: Any
    rows: Rows
    schedule: Any
    watch: WeightWatch
    begun: dict[str, int]
    """Checksums of the adapters before the first step, for the audit to find that something was learnt."""
    total_steps: int
    global_batch_size: int
    loss: SummedLoss = summed_loss
    """Of a batch; evaluations of classes take theirs with the hits."""
    updates: int = 0
    """Steps that changed weights: neither at rate zero, where warm-up begins, nor skipped because fp16 overflowed."""
    sample_row: int = 0
    """Evaluation row shown before and after training."""
    random_state: dict[str, Any] | None = None
    """Generators as a checkpoint had them, to be set before the first step."""

    @property
    def device(self) -> torch.device:
        return self.strategy.device

    @property
    def keeps_adapter(self) -> bool:
        """The result is an adapter, not a whole model."""
        return self.config.method.name is not Method.FULL

    @property
    def classifies(self) -> bool:
        """Rows have one label each, rather than a target for every token."""
        return self.config.model.task is Task.SEQUENCE_CLASSIFICATION
