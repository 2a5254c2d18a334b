"""How long a rank computes by itself, which tells a slow one where all ranks take the same time.

Every step ends when the slowest rank is there: the others wait for it in collectives, and their steps are as long as
its own. Inside a decoder layer's forward pass nobody waits: what is split is gathered before it, and gradients are
reduced in the backward pass. So layers are timed from after their gather to their end, now and then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from engine.phase_times import PhaseTimes

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import nn

SAMPLE_SECONDS = 0.5
"""Between the ends of two steps whose layers are timed; longer steps are timed all."""


class OwnTime:
    """Times decoder layers in the forward passes of one step of many."""

    def __init__(self, device: torch.device) -> None:
        self._times = PhaseTimes(device, ("own",))
        self._since: Any = None
        self._positions = 0
        self._taken = self._ended = time.monotonic()
        self._due = False
        """Whether the present step is timed."""
        self.active = False
        """Whether a forward pass of it runs; those recomputed for the backward pass don't count."""

    def attach(self, layers: Iterable[nn.Module]) -> None:
        """Time these, once strategies have put their hooks on them: ours run inside of theirs."""
        for layer in layers:
            layer.register_forward_pre_hook(self._begin)
            layer.register_forward_hook(self._end, prepend=True)

    def begin_forward(self) -> None:
        """Time the layers from here on, if this step is one of those."""
        self.active = self._due

    def step_done(self) -> None:
        """Choose whether the next step is timed: not while there is something to be taken."""
        now = time.monotonic()
        lasts, self._ended = now - self._ended, now
        self._due = not self._times and now + lasts >= self._taken + SAMPLE_SECONDS

    def _begin(self, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.active:
            hidden = inputs[0] if inputs else None
            self._positions += hidden.numel() // hidden.shape[-1] if hidden is not None else 0
            self._since = self._times.mark()

    def _end(self, *_: Any) -> None:
        if self.active and self._since is not None:
            self._times.add("own", self._since)
            self._since = None

    def take(self) -> dict[str, float]:
        """What was timed since it was taken last, as a step event bears it; {} where nothing was."""
        if not self._times:
            return {}
        fields = {**self._times.take(), "own_positions": self._positions}
        self._positions, self._taken = 0, time.monotonic()
        return fields
