"""Where the time of a step goes, and the highest memory of each phase beside what was planned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from textual.content import Content

from qltui.ui import words
from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IN_A_STEP = ("forward", "backward", "optimizer", "data", "other")
PHASES = ("load", "prepare", "forward", "backward", "optimizer", "eval", "save", "data", "other")
ONE_LINE = 3
"""Lines below which everything has to be said in one."""
NAME, TIME, PEAK = 10, 6, 15
PLAN = 21
APART = "  "
LEAST_BAR, MOST_BAR = 6, 24
SMALL_SHARE = 0.02
"""A difference between measured and planned that is not worth a word."""


class PhaseFacts(NamedTuple):
    """What is known of one phase."""

    name: str
    seconds: float | None
    """Of a step."""
    peak: int | None
    """Bytes, the highest of any rank."""
    planned: int | None
    """Bytes, the same as planned."""


def phases(
    ranks: Sequence[Mapping[str, Any]], seconds: Mapping[str, float], plan: Mapping[str, Any] | None
) -> list[PhaseFacts]:
    """The phases of which anything is known, in the order they come in."""
    planned = ((plan or {}).get("memory") or {}).get("phases") or {}
    found = []
    for name in PHASES:
        peaks = [peak for row in ranks if (peak := (row["memory_by_phase"].get(name) or {}).get("memory_peak"))]
        parts = planned.get(name)
        facts = PhaseFacts(
            name, seconds.get(name), max(peaks, default=None), sum(parts.values()) if parts else None
        )  # fmt: skip
        if any(value is not None for value in facts[1:]):
            found.append(facts)
    return found


class Phases(Line):
    """One line, or a line for each phase where there is room."""

    DEFAULT_CSS = """
    Phases { text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._facts: list[PhaseFacts] = []

    def show(self, facts: list[PhaseFacts]) -> None:
        """Show what is known of the phases."""
        if facts != self._facts:
            self._facts = facts
            self.refresh_lines()

    def on_resize(self) -> None:
        """There may be room for more."""
        self.refresh_lines()

    def refresh_lines(self) -> None:
        """Draw anew."""
        if not self._facts:
            self.update(Content.styled("no phase has ended yet", "$muted"))
        elif self.content_size.height < ONE_LINE:
            self.update(in_a_line(self._facts, max(self.content_size.width, 20)))
        else:
            self.update(
                Content("\n").join(table(self._facts, self.content_size.height, self.content_size.width)), layout=False
            )


def in_a_line(facts: Sequence[PhaseFacts], width: int) -> Content:
    """Shares of the time, then the highest peaks, as far as there is room."""
    peaks = sorted((one for one in facts if one.peak), key=lambda one: -(one.peak or 0))
    memory = [Content.assemble(("peak in ", "$muted"), f"{one.name} ", _against_plan(one)) for one in peaks]
    line = times(facts)
    for piece in memory:
        apart = Content("  " if line.plain else "")
        if line.cell_length + apart.cell_length + piece.cell_length <= width:
            line = line + apart + piece
    return line


def times(facts: Sequence[PhaseFacts]) -> Content:
    """Each phase's share of a step."""
    total = sum(one.seconds or 0 for one in facts)
    timed = [one for name in IN_A_STEP for one in facts if one.name == name and one.seconds is not None and total]
    return Content("  ").join(
        Content.assemble((f"{_called(one, timed)} ", "$muted"), words.share((one.seconds or 0) / total))
        for one in timed
    )


def _called(one: PhaseFacts, timed: Sequence[PhaseFacts]) -> str:
    """What is left of a step has another name where nothing is told of computing."""
    return "all else" if one.name == "other" and len(timed) < len(IN_A_STEP) - 1 else one.name


def table(facts: Sequence[PhaseFacts], height: int, width: int) -> list[Content]:
    """A line for each phase; those with the least to tell give way where there is no room."""
    total = sum(one.seconds or 0 for one in facts)
    timed = [one for one in facts if one.seconds is not None]
    planned = PLAN + len(APART) if any(one.planned for one in facts) else 0
    room = min(width - NAME - TIME - PEAK - planned - len(APART), MOST_BAR)
    room = room if timed and room >= LEAST_BAR else 0
    told = sorted(facts, key=lambda one: (one.peak is None, one.seconds is None))
    if len(told) > height and timed:  # time goes into one line, which leaves the others to memory
        return [*table([one._replace(seconds=None) for one in told if one.peak], height - 1, width), times(facts)]
    told = told[:height]
    lines = []
    for one in sorted(told, key=lambda one: PHASES.index(one.name)):
        part = one.seconds / total if one.seconds is not None and total else None
        bar = "━" * round((part or 0) * room)
        rest = ("─" if part is not None else " ") * (room - len(bar))
        peak = f"peak {words.size(one.peak)}" if one.peak else ""
        apart_planned = (APART, _planned(one)) if planned else ()
        lines.append(
            Content.assemble(
                _called(one, timed).ljust(NAME), (words.share(part) if part is not None else "").rjust(TIME),
                APART if room else "", (bar, "$primary"), (rest, "$rule"), peak.rjust(PEAK), *apart_planned,
            )
        )  # fmt: skip
    return lines


def _against_plan(one: PhaseFacts) -> Content:
    measured = Content(words.size(one.peak))
    return Content.assemble(measured, "  " if one.planned else "", _planned(one))


def _planned(one: PhaseFacts) -> Content:
    """What was planned, and by how much it was missed."""
    if not one.planned:
        return Content("")
    missed = one.peak / one.planned - 1 if one.peak else 0.0
    by = f" {missed:+.0%}".replace("%", " %") if abs(missed) >= SMALL_SHARE else ""
    return Content.assemble((f"plan {words.size(one.planned)}", "$muted"), (by, "$warning" if missed > 0 else "$muted"))
