"""What becomes of a run on this machine, or on another: headless, for ``launch`` and the screens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qltui.advice.adapting import Adaptation, Standing, adapt
from qltui.facts import machine as machines
from qltui.runs.assessment import assess, versions_here

__all__ = ["Adaptation", "Outcome", "Standing", "adaptation", "adapted_to", "as_assignments", "outcome"]

if TYPE_CHECKING:
    from engine.config import RunConfig
    from qltui.advice.memory import Fit
    from qltui.facts.machine import Machine
    from qltui.runs.assessment import Assessment


class Outcome(NamedTuple):
    """What becomes of a preset here."""

    here: Adaptation
    planned: Fit | None
    """Its memory on the machine it was planned for, where it cannot run here and that machine is known."""


def outcome(config: RunConfig, machine: Machine) -> Outcome:
    """What becomes of a preset on ``machine``, which is this one."""
    here = adapted_to(config, machine)
    if here.standing is not Standing.NOTHING or not config.hardware.planned_for:
        return Outcome(here, None)
    try:
        planned_for = machines.parse(config.hardware.planned_for)
    except machines.UnknownMachine:
        return Outcome(here, None)
    return Outcome(here, adapted_to(config, planned_for).advice.fit)


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
