"""All that is to be said of a setup, and of a run of ours on a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.config import StrategyName
from qltui.advice.findings import Severity
from qltui.advice.our_runs import used_cards
from qltui.advice.rule import Concerns
from qltui.advice.rules import RULES
from qltui.advice.setup import Setup

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from engine.config import RunConfig
    from qltui.advice.findings import Finding
    from qltui.advice.memory import Fit
    from qltui.advice.speed import StepTime
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine

OURS = tuple(rule for rule in RULES if rule.concerns is not Concerns.OTHERS)
OTHERS = tuple(rule for rule in RULES if rule.concerns is not Concerns.OURS)

COARSER = {"replicated-does-not-fit"}
"""Rules that say by the weights alone what the memory plan says of all a run takes."""
ROOMIER = {
    "sharding-needless": StrategyName.DDP, "gpus-idle": StrategyName.DDP,
    "pipeline-one-gpu-at-a-time": StrategyName.ZERO3,
}  # fmt: skip
"""Rules that offer another strategy, not knowing all that it takes: kept only where it would surely fit."""


class Advice(NamedTuple):
    """What is known of a run of ours before it is launched."""

    findings: list[Finding]
    """The gravest first."""
    fit: Fit | None
    """The memory of each GPU it takes; None on CPU ranks, and for a model that is not known."""
    host: int
    """Bytes of a node's host memory that offload takes."""
    time: StepTime | None
    """Of a step; None where ``fit`` is."""

    @property
    def seconds(self) -> float | None:
        """Of a step; None where ``fit`` is."""
        return self.time.total if self.time else None


def evaluate(setup: Setup) -> list[Finding]:
    """What every rule that fires says, the gravest first, else in the order of declaration."""
    findings = [rule.finding(setup) for rule in (OURS if setup.ours else OTHERS) if rule.holds(setup)]
    return sorted(findings, key=lambda finding: finding.severity.order)


def blocks(
    config: RunConfig,
    machine: Machine,
    architecture: Architecture | None,
    versions: Mapping[str, str],
    forced: Collection[str] = (),
) -> list[str]:
    """Ids of the rules that block a run of ours, but for those that are overridden."""
    return _blocking(evaluate(Setup.of_run(config, machine, architecture, versions)), forced)


def _blocking(findings: list[Finding], forced: Collection[str]) -> list[str]:
    return [one.rule for one in findings if one.severity is Severity.BLOCK and one.rule not in forced]


def advise(
    config: RunConfig,
    machine: Machine,
    architecture: Architecture | None,
    versions: Mapping[str, str],
    forced: Collection[str] = (),
) -> Advice:
    """Rules and memory plan of a run of ours; whether it fits is asked only where no rule blocks it but ``forced``."""
    findings = evaluate(Setup.of_run(config, machine, architecture, versions))
    cards = used_cards(config, machine)
    if architecture is None or not cards:
        return Advice(findings, None, 0, None)
    # Only here: a run on CPU ranks would wait for their import in vain.
    from qltui.advice import fitting, planner
    from qltui.advice.memory import fit, job_on, total
    from qltui.advice.memory.host import host_memory
    from qltui.advice.speed import step_time

    used = machine._replace(cards=cards)
    job = job_on(config, architecture, used)
    fitted = fit(job, used)

    def has_room(strategy: StrategyName) -> bool:
        other = planner.with_values(config, {"strategy.name": strategy, **planner.NO_OFFLOAD})
        there = machine._replace(cards=used_cards(other, machine))
        return fit(job_on(other, architecture, there), there).is_safe

    findings = [one for one in findings if one.rule not in ROOMIER or has_room(ROOMIER[one.rule])]
    if not _blocking(findings, forced):
        verdicts = fitting.judge(
            config, architecture, machine, fitted,
            lambda one, there: blocks(one, there, architecture, versions, forced),
        )  # fmt: skip
        findings = verdicts + [one for one in findings if not (verdicts and one.rule in COARSER)]
        findings.sort(key=lambda finding: finding.severity.order)
    return Advice(findings, fitted, total(host_memory(job, machine.nodes)), step_time(job, used))
