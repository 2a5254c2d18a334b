"""Memory of the rank that failed, phase by phase, beside what was planned and what there was."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual.content import Content

from qltui.ui import words
from qltui.ui.widgets.line import Line
from qltui.ui.widgets.phases import PhaseFacts, phases

if TYPE_CHECKING:
    from qltui.runs.post_mortem import PostMortem

NAME, SIZE = 10, 9
LEAST_BAR = 8
PLAN = 12
WIDE = 46
"""Columns from which the plan of each phase has room beside it."""


class Bar(NamedTuple):
    """One line."""

    name: str
    used: int | None
    """Bytes."""
    held: int = 0
    """Bytes beside those, of the allocator or of others."""
    asked: int = 0
    """Bytes on top, which were not to be had."""
    planned: int | None = None
    is_plan: bool = False

    @property
    def whole(self) -> int:
        """Bytes of all of it."""
        return (self.used or 0) + self.held + self.asked


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
        return Bar(one.name, end.allocated, max(end.held or 0, 0), end.asked, one.planned)
    return Bar(one.name, one.peak, planned=one.planned)


def memory_lines(end: PostMortem, width: int) -> list[Content]:
    """The bars in this width, and what they are drawn beside."""
    found = bars(end)
    if not found:
        return []
    capacity = end.capacity
    most = max(capacity or 0, *(bar.whole for bar in found))
    planned = PLAN if width >= WIDE and any(bar.planned for bar in found) else 0
    room = max(width - NAME - SIZE - planned, LEAST_BAR)
    lines = [_line(bar, most, capacity, room, bool(planned)) for bar in found]
    asked = next((bar for bar in found if bar.asked), None)
    if asked is not None:
        beside: list[str | tuple[str, str]] = [(" ▒ ", "$secondary"), f"{words.size(asked.held)} held"]
        beside = beside if asked.held else []
        told = (("█ ", "$error"), f"{words.size(asked.asked)} asked for ", ("▓ ", "$primary"))
        lines.append(Content.assemble(*told, f"{words.size(asked.used)} used", *beside))
    if capacity:
        lines.append(Content.assemble(("│ ", "bold"), (f"memory ends at {words.size(capacity)}", "$muted")))
    return lines


def _line(bar: Bar, most: int, capacity: int | None, room: int, with_plan: bool) -> Content:
    room -= 1 if capacity else 0  # the mark takes a column of its own
    shade = ("▒", "$muted") if bar.is_plan else ("▓", "$primary")
    cells: list[tuple[str, str]] = []
    until = 0
    for size, cell in ((bar.used or 0, shade), (bar.held, ("▒", "$secondary")), (bar.asked, ("█", "$error"))):
        until += size
        end = round(until / most * room)
        cells += [cell] * max(end - len(cells), 1 if size else 0)
    cells = cells[:room] + [("·", "$rule")] * (room - len(cells))
    if capacity:
        cells.insert(round(capacity / most * room), ("│", "bold"))
    whole = words.size(bar.whole)
    planned = words.size(bar.planned) if with_plan and bar.planned else ""
    unit = f" {whole.partition(' ')[2]}"
    plan = f"  plan {planned.removesuffix(unit)}" if planned else ""
    colour = "$error" if bar.asked else ""
    width = PLAN if with_plan else 0
    return Content.assemble(bar.name.ljust(NAME), *cells, (whole.rjust(SIZE), colour), (plan.ljust(width), "$muted"))
