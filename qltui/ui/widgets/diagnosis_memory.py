"""Memory of the rank that failed, phase by phase, beside what was planned and what there was."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual.content import Content

from qltui.ui import words
from qltui.ui.widgets.line import Line
from qltui.ui.widgets.phases import PhaseFacts, phases

if TYPE_CHECKING:
    from qltui.runs.post_mortem import PostMortem

NAME, SIZE = 10, 10
LEAST_BAR = 8
PLAN = 15
WIDE = 50
"""Columns from which the plan of each phase has room beside it."""


class Bar(NamedTuple):
    """One line."""

    name: str
    used: int | None
    """Bytes."""
    asked: int = 0
    """Bytes on top, which were not to be had."""
    planned: int | None = None
    is_plan: bool = False


class DiagnosisMemory(Line):
    """A bar for each phase, with a mark where memory ends."""

    DEFAULT_CSS = """
    DiagnosisMemory { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._end: PostMortem | None = None

    def show(self, end: PostMortem) -> bool:
        """Show what is known; False if nothing is."""
        self._end = end
        self._draw()
        return bool(bars(end))

    def on_resize(self) -> None:
        """Bars take what room there is."""
        self._draw()

    def _draw(self) -> None:
        if self._end is not None:
            self.update(Content("\n").join(memory_lines(self._end, max(self.content_size.width, 40))))


def bars(end: PostMortem) -> list[Bar]:
    """The phases in their order, then the plan; [] where nothing was measured."""
    if end.row is None:
        return []
    failed_in = end.diagnosis.phase if end.diagnosis else None
    facts = [one for one in phases([end.row], {}, end.plan) if one.peak or one.name == failed_in]
    if end.asked and failed_in and all(one.name != failed_in for one in facts):
        facts.append(PhaseFacts(failed_in, None, None, None))
    found = [_bar(one, end, one.name == failed_in) for one in facts]
    found = [bar for bar in found if bar.used]
    total = ((end.plan or {}).get("memory") or {}).get("total_bytes")
    return [*found, Bar("planned", total, is_plan=True)] if found and isinstance(total, int) else found


def _bar(one: PhaseFacts, end: PostMortem, has_failed: bool) -> Bar:
    if has_failed and end.asked and end.allocated:
        return Bar(one.name, end.allocated, end.asked, one.planned)
    return Bar(one.name, one.peak, 0, one.planned)


def memory_lines(end: PostMortem, width: int) -> list[Content]:
    """The bars in this width, and what they are drawn beside."""
    found = bars(end)
    if not found:
        return []
    capacity = end.capacity
    most = max([*(sum((bar.used or 0, bar.asked)) for bar in found), capacity or 0])
    planned = PLAN if width >= WIDE and any(bar.planned for bar in found) else 0
    room = max(width - NAME - SIZE - planned - 2, LEAST_BAR)
    lines = [_line(bar, most, capacity, room, bool(planned)) for bar in found]
    asked = next((bar for bar in found if bar.asked), None)
    if asked is not None:
        told = f"{words.size(asked.used)} in use and {words.size(asked.asked)} more asked for, in {asked.name}"
        lines.append(Content.assemble(("▒ ", "$error"), told))
    if capacity:
        lines.append(Content.assemble(("│ ", "bold"), (f"memory ends at {words.size(capacity)}", "$muted")))
    return lines


def _line(bar: Bar, most: int, capacity: int | None, room: int, with_plan: bool) -> Content:
    used = min(round((bar.used or 0) / most * room), room)
    asked = min(max(round(bar.asked / most * room), 1 if bar.asked else 0), room)
    used = min(used, room - asked)
    cells = [("▒" if bar.is_plan else "▓", "$muted" if bar.is_plan else "$primary")] * used
    cells += [("▒", "$error")] * asked
    cells += [("░", "$rule")] * (room - len(cells))
    if capacity:
        cells[min(round(capacity / most * room), room - 1)] = ("│", "bold")
    size = words.size((bar.used or 0) + bar.asked)
    plan = f"  plan {words.size(bar.planned)}" if with_plan and bar.planned else ""
    return Content.assemble(
        bar.name.ljust(NAME), *cells, (size.rjust(SIZE), "$error" if bar.asked else ""), (plan, "$muted")
    )
