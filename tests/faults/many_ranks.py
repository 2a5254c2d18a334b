"""Faults of several processes: launchers, process groups, DDP, FSDP, DeepSpeed."""

from __future__ import annotations

from fault import Fault

FAULTS: list[Fault] = []
