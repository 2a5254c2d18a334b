"""What memory and time as planned can find, declared as ``docs/rules.md`` lists it beside the rules.

``fitting`` and ``fitting_rows`` find it for runs of ours, ``fitting_others`` for other programs' files.
"""

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


SOURCE = "qltui/advice/fitting.py, fitting_others.py; docs/plan.md says how well memory is predicted"
DOES_NOT_FIT = Verdict(
    "does-not-fit",
    "block or warn",
    "a run that takes more memory than its GPUs have: surely (block), or if the plan errs by as much as it may (warn);"
    " of another program's files one that surely does (warn; block if it is half as much again with the shortest rows)",
    "The run would end with CUDA out of memory.",
    SOURCE,
)
NOTHING_FITS = Verdict(
    "nothing-fits",
    "block or warn",
    "a run that surely takes more than its GPUs have, whatever the strategy, micro batch, recomputing and offload"
    " (block); of another program's files as with `does-not-fit`",
    "Every way to run it was planned, and none has room.",
    SOURCE,
)
ROWS_CUT = Verdict(
    "rows-cut",
    "info",
    "more than 5 % of the rows are longer than data.max_length",
    "What is cut off is not learnt, and rows whose answer lies there are dropped.",
    "engine/data.py; qltui/configs/row_lengths.py says how rows are counted",
)
ROWS_PADDED = Verdict(
    "rows-padded",
    "info",
    "more than 30 % of what a micro batch computes is padding",
    "Rows are padded to the longest of their micro batch, and padding takes as long to compute as what it fills up.",
    "engine/batches.py; qltui/advice/lengths.py",
)
VERDICTS = (DOES_NOT_FIT, NOTHING_FITS, ROWS_CUT, ROWS_PADDED)
