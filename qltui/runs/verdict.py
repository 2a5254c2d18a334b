"""What can be said of a live run's health."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Verdict(NamedTuple):
    """One thing that can be said of the run."""

    name: str
    """Such as ``straggler``."""
    severity: str
    """``error``, ``warning``, ``early`` (too early to judge) or ``good``."""
    finding: str
    """What is so, in a sentence's half."""
    evidence: str
    """The figures behind it."""
    next_step: str = ""
    """What to do; empty where there is nothing."""
    cause: str = ""
    """What a diagnosis would call it, if the run died of it; empty where none would."""
    details: Sequence[str] = ()
    """More of the evidence, a line each, where all of it is shown."""
