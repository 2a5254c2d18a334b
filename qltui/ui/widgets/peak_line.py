"""The highest memory of a run's GPUs beside what was planned, in words."""

from __future__ import annotations

from textual.content import Content

from qltui.ui import words
from qltui.ui.widgets.audit_line import WIDE


def planned_bytes(plan: dict[str, object] | None) -> int | None:
    """The peak that was planned for the fullest GPU; None where nothing was."""
    memory = (plan or {}).get("memory")
    total = memory.get("total_bytes") if isinstance(memory, dict) else None
    return total if isinstance(total, int) else None


def peak_text(peak: int | None, plan: dict[str, object] | None, width: int) -> Content:
    """The highest memory of any GPU, or of any rank, beside the planned."""
    planned = planned_bytes(plan)
    expected, (_, _, unit) = words.size(planned), words.size(peak).partition(" ")
    if width < WIDE:
        expected = expected.removesuffix(f" {unit}")  # it comes with the other
    measured = "measured" if planned and width >= WIDE else "peak"
    parts = [Content.assemble(("plan ", "$muted"), expected)] if planned else []
    parts += [Content.assemble((f"{measured} ", "$muted"), words.size(peak))] if peak else []
    return Content.styled(" · ", "$muted").join(parts)
