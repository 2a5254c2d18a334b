"""A field that is set otherwise than a run says, and why: what an adaptation or a rehearsal tells."""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """One field."""

    field: str
    """Dotted path."""
    before: str
    """As one types it."""
    after: str
    why: str
    """A clause."""

    def __str__(self) -> str:
        return f"{self.field}: {self.before} -> {self.after}: {self.why}"
