"""What becomes of a run on this machine, or on another: headless, for ``launch`` and the screens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.advice.adapting import Adaptation, Standing, adapt
from qltui.runs.assessment import assess, versions_here

__all__ = ["Adaptation", "Standing", "adaptation", "adapted_to", "as_assignments"]

if TYPE_CHECKING:
    from engine.config import RunConfig
    from qltui.facts.machine import Machine
    from qltui.runs.assessment import Assessment


def adaptation(assessed: Assessment) -> Adaptation:
    """The run as it can be launched where it was assessed."""
    return adapt(
        assessed.config, assessed.machine, assessed.architecture, versions_here(), assessed.advice,
        lengths=assessed.lengths, forced=assessed.forced,
    )  # fmt: skip


def adapted_to(config: RunConfig, machine: Machine | None = None) -> Adaptation:
    """The run as it can be launched on ``machine``, or on this one."""
    return adaptation(assess(config, machine))


def as_assignments(found: Adaptation) -> list[str]:
    """Its changes as ``--set`` takes them."""
    return [f"{one.field}={one.after}" for one in found.changes]
