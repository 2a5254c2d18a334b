"""What one fault is: how it is caused, and what a diagnosis of its log must say."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    name: str
    """Of the log: ``NAME.log``."""
    cause: str
    """The right id."""
    command: str
    """What bash runs in the project's folder; both its outputs are the log."""
    shows: str
    """Must be in the log: without it the fault did not happen as meant."""
    how: str
    """One line: what was done wrong."""
    phase: str | None = None
    """Of the engine's PHASES; None where there is none, or none can be told."""
    rank: int | None = None
    """That failed first; None for single processes and where the log cannot tell."""
    stack: str = "new"
    hub: str = ""
    """How a hub of our own answers (see hub.py); none is started where empty."""
    seconds: int = 150
    or_also: tuple[str, ...] = ()
    """Other ids that would be right as well."""
