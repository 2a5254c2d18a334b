"""What the memory plan can find, declared as ``docs/rules.md`` lists it beside the rules; ``fitting`` finds it."""

from __future__ import annotations

from typing import NamedTuple


class Verdict(NamedTuple):
    """A kind of finding that no single condition tells."""

    id: str
    """Stable, as a rule's."""
    severity: str
    """In words: one kind may be grave or less so."""
    case: str
    why: str
    source: str


SOURCE = "qltui/advice/fitting.py; docs/plan.md says how well memory is predicted"
DOES_NOT_FIT = Verdict(
    "does-not-fit",
    "block or warn",
    "a run that takes more memory than its GPUs have: surely (block), or if the plan errs by as much as it may (warn)",
    "The run would end with CUDA out of memory.",
    SOURCE,
)
NOTHING_FITS = Verdict(
    "nothing-fits",
    "block",
    "a run that surely takes more than its GPUs have, whatever the strategy, micro batch, recomputing and offload",
    "Every way to run it was planned, and none has room.",
    SOURCE,
)
VERDICTS = (DOES_NOT_FIT, NOTHING_FITS)
