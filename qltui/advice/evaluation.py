"""All that is to be said of a setup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.advice.rule import Concerns
from qltui.advice.rules import RULES

if TYPE_CHECKING:
    from qltui.advice.findings import Finding
    from qltui.advice.setup import Setup

OURS = tuple(rule for rule in RULES if rule.concerns is not Concerns.OTHERS)
OTHERS = tuple(rule for rule in RULES if rule.concerns is not Concerns.OURS)


def evaluate(setup: Setup) -> list[Finding]:
    """What every rule that fires says, the gravest first, else in the order of declaration."""
    findings = [rule.finding(setup) for rule in (OURS if setup.ours else OTHERS) if rule.holds(setup)]
    return sorted(findings, key=lambda finding: finding.severity.order)
