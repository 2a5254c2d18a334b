"""How long the phases of a step take, where they compute: a GPU works on while the host has long gone on."""

from __future__ import annotations

import time
from typing import Any

import torch

TIMED = ("forward", "backward", "optimizer")
"""Phases of every step; that of data is the host's own."""


class PhaseTimes:
    """Adds up seconds by phase until they are taken: between events of a GPU's stream, else by the host's clock."""

    def __init__(self, device: torch.device, phases: tuple[str, ...] = TIMED) -> None:
        self._on_gpu = device.type == "cuda"
        self._phases = phases
        self._spans: list[tuple[str, Any, Any]] = []
        self._spare: list[Any] = []

    def __bool__(self) -> bool:
        """Whether anything was added."""
        return bool(self._spans)

    def mark(self) -> Any:
        """This moment, for :meth:`add`."""
        if not self._on_gpu:
            return time.monotonic()
        event = self._spare.pop() if self._spare else torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def add(self, phase: str, since: Any) -> None:
        """A phase that began at ``since`` ends now."""
        self._spans.append((phase, since, self.mark()))

    def forget(self) -> None:
        """Let go of what was added: it belongs to no step."""
        self._spare += [event for _, *events in self._spans for event in events if self._on_gpu]
        self._spans = []

    def take(self) -> dict[str, float]:
        """Seconds of each phase since they were taken last, as events bear them. Waits for the GPU to get there."""
        seconds = dict.fromkeys((f"{phase}_time" for phase in self._phases), 0.0)
        if self._on_gpu and self._spans:
            self._spans[-1][2].synchronize()
        for phase, begun, ended in self._spans:
            seconds[f"{phase}_time"] += begun.elapsed_time(ended) / 1e3 if self._on_gpu else ended - begun
        self.forget()
        return seconds
