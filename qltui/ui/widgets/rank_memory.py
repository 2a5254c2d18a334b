"""Memory of every rank as a bar: allocated, reserved, and the highest it has been."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from qltui.ui import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.style import Style
    from textual.geometry import Size

LABEL = 6
FIGURE = 10


class RankMemory(Widget):
    """One row for each rank, two where there is room; memory in bytes.

    A bar ends at the GPU's memory; without GPUs at a round number above the highest peak, which ``scale`` tells.
    """

    COMPONENT_CLASSES = {
        "rank-memory--allocated", "rank-memory--reserved", "rank-memory--peak", "rank-memory--free",
        "rank-memory--label", "rank-memory--text", "rank-memory--muted",
    }  # fmt: skip
    DEFAULT_CSS = """
    RankMemory {
        & .rank-memory--allocated { color: $secondary; }
        & .rank-memory--reserved { color: $secondary 55%; }
        & .rank-memory--peak { color: $accent; text-style: bold; }
        & .rank-memory--free { color: $rule; }
        & .rank-memory--label { color: $foreground; }
        & .rank-memory--text { color: $foreground; text-style: bold; }
        & .rank-memory--muted { color: $muted; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ranks: list[dict[str, Any]] = []
        self._gpus: Sequence[Mapping[str, Any]] = ()
        self._shown: object = None
        self._rows = 0

    def show(
        self, ranks: Sequence[Mapping[str, Any]], gpus: Sequence[Mapping[str, Any]], host: Mapping[str, Any]
    ) -> None:
        """Show the ranks of a status with the newest sample of their GPUs or their host."""
        shown = (ranks, gpus, host)
        if shown == self._shown:
            return
        self._shown = shown
        resident = {row.get("rank"): row.get("memory") for row in host.get("ranks") or []}
        self._ranks = [dict(row) for row in ranks]
        for row in self._ranks:  # before its first step a rank has said nothing of its memory
            if row["memory_allocated"] is None and not gpus:
                row["memory_allocated"] = resident.get(row["rank"])
        self._gpus = gpus
        grown = len(ranks) != self._rows
        self._rows = len(ranks)
        self.refresh(layout=grown)

    @property
    def scale(self) -> int | None:
        """Bytes a full bar stands for where it is no GPU's memory; None if bars end at GPUs' or there are none."""
        highest = max((max(self._use(row)) for row in self._ranks), default=0)
        if not highest or self._gpus:
            return None
        scale = 2**28
        while scale < highest:
            scale *= 2
        return scale if scale * 3 // 4 < highest else scale * 3 // 4

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(2, 2 * len(self._ranks))

    def render_line(self, y: int) -> Strip:
        width, height = self.content_size
        count = len(self._ranks)
        if not count:
            text = "waiting for the first rank" if y == 0 else ""
            return Strip([Segment(text[:width].ljust(width), self._style("muted"))], width)
        if height >= 2 * count:
            rank, line = divmod(y, 2)
        else:
            rank, line = y, 0
        if rank >= count:
            return Strip.blank(width, self._style("muted"))
        if y == height - 1 and height < count:
            return Strip([Segment(f"and {count - height + 1} more ranks".ljust(width), self._style("muted"))], width)
        row = self._ranks[rank]
        gpu = self._gpus[rank] if rank < len(self._gpus) else {}
        segments = self._details(row, gpu) if line else self._bar(row, gpu, width)
        return Strip(segments).adjust_cell_length(width, self._style("muted"))

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"rank-memory--{part}")

    @staticmethod
    def _use(row: Mapping[str, Any]) -> tuple[int, int, int]:
        """Allocated, reserved and peak, unknown ones as 0."""
        allocated, reserved, peak = (row.get(f"memory_{key}") or 0 for key in ("allocated", "reserved", "peak"))
        return allocated, max(allocated, reserved), max(allocated, peak)

    def _bar(self, row: Mapping[str, Any], gpu: Mapping[str, Any], width: int) -> list[Segment]:
        allocated, reserved, peak = self._use(row)
        capacity = gpu.get("memory_total") or self.scale or 1
        columns = max(4, width - LABEL - FIGURE - 2)

        def cells(count: int) -> int:
            return min(columns, round(count / capacity * columns))

        full, held = cells(allocated), cells(reserved)
        bar = ["━"] * full + ["╍"] * (held - full) + ["─"] * (columns - held)
        styles = [self._style("allocated")] * full + [self._style("reserved")] * (held - full)
        styles += [self._style("free")] * (columns - held)
        if peak > allocated:
            place = min(columns - 1, cells(peak))
            bar[place], styles[place] = "│", self._style("peak")
        figure = words.size(allocated or None).rjust(FIGURE)
        return [
            Segment(f"rank {row['rank']}".ljust(LABEL) + " ", self._style("label")),
            *(Segment(cell, style) for cell, style in zip(bar, styles, strict=True)),
            Segment(figure + " ", self._style("text")),
        ]

    def _details(self, row: Mapping[str, Any], gpu: Mapping[str, Any]) -> list[Segment]:
        allocated, reserved, peak = self._use(row)
        parts = [f"peak {words.size(peak)}"] if peak else []
        if reserved > allocated:
            parts.append(f"reserved {words.size(reserved)}")
        for key, unit in (("utilization", "%"), ("power_watts", "W"), ("temperature", "°C")):
            if gpu.get(key) is not None:
                parts.append(f"{gpu[key]:.0f} {unit}")
        if row.get("step_time"):
            parts.append(f"{row['step_time']:.2f} s/step")
        return [Segment(" " * (LABEL + 1) + " · ".join(parts), self._style("muted"))]
