"""How the run fares, in a line: what is so, why, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from qltui.ui import words
from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qltui.runs.verdict import Verdict

MARKS = {
    "error": ("✗", "$error"), "warning": ("▲", "$warning"), "early": ("·", "$muted"), "good": ("✓", "$success"),
}  # fmt: skip


class HealthLine(Line):
    """The worst verdict, on one line or two; the key that shows all is the screen's."""

    DEFAULT_CSS = """
    HealthLine { height: auto; max-height: 2; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.verdicts: Sequence[Verdict] = ()

    def show(self, verdicts: Sequence[Verdict]) -> None:
        """Show the first of the verdicts, and how many more there are."""
        self.verdicts = verdicts
        self.display = bool(verdicts)
        if verdicts:
            self.update(in_a_line(verdicts))


def in_a_line(verdicts: Sequence[Verdict]) -> Content:
    """The first verdict whole, the others by their number."""
    first = verdicts[0]
    mark, colour = MARKS[first.severity]
    more = len(verdicts) - 1
    return Content.assemble(
        (f"{mark} {words.plain(first.finding)}", f"bold {colour}"),
        (f": {words.plain(first.evidence)}. " if first.evidence else " ", "$foreground"),
        ("Next: " if first.next_step else "", "bold"),
        (f"{words.plain(first.next_step)}. " if first.next_step else "", "$foreground"),
        (f"h shows {more} more" if more else "", "$muted"),
    )


def in_full(verdict: Verdict) -> list[Content]:
    """A verdict in some lines, all of its evidence among them."""
    mark, colour = MARKS[verdict.severity]
    lines = [Content.styled(f"{mark} {words.plain(verdict.finding)}", f"bold {colour}")]
    lines += [Content.assemble(("  why   ", "$muted"), words.plain(verdict.evidence))] if verdict.evidence else []
    lines += [Content.assemble("        ", words.plain(detail)) for detail in verdict.details]
    lines += [Content.assemble(("  next  ", "$muted"), words.plain(verdict.next_step))] if verdict.next_step else []
    cause = f"{verdict.cause}, should the run die of it"
    lines += [Content.assemble(("  cause ", "$muted"), cause)] if verdict.cause else []
    return lines
