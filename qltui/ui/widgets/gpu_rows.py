"""What each GPU, or each CPU rank, uses: memory as a stacked bar, and its figures beside it; nodes fold."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from qltui.ui import words
from qltui.ui.widgets.gpu_columns import Columns, columns_of, details, flags, node_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.geometry import Size

    from qltui.runs.devices import Device

MOST_UNFOLDED = 8
"""Rows of several nodes that are shown at once; more begin folded, a line each node."""
ALLOCATED, HELD, OTHERS, FREE, PLANNED, PEAK = "█", "▓", "░", "·", "│", "┆"
CURSOR = Style(reverse=True)
LEGEND = f"{ALLOCATED} allocated {HELD} reserved {OTHERS} others"


class Row(NamedTuple):
    """One line of the widget."""

    node: int
    device: Device | None = None
    """None of a line that stands for its node."""
    is_detail: bool = False


class GpuRows(Widget, can_focus=True):
    """A line for each device, two where there is room; several nodes have a line each that folds its devices.

    A bar ends at the GPU's memory; without GPUs at a round number above the highest peak, which ``scale`` tells.
    """

    BINDINGS = [
        Binding("up", "move(-1)", show=False, id="gpus.up", tooltip="The line above"),
        Binding("down", "move(1)", show=False, id="gpus.down", tooltip="The line below"),
        Binding("enter", "fold", "unfold", id="gpus.fold", tooltip="Unfold the node's GPUs, or fold them"),
    ]
    COMPONENT_CLASSES = {
        "gpu-rows--allocated", "gpu-rows--held", "gpu-rows--others", "gpu-rows--free", "gpu-rows--mark",
        "gpu-rows--label", "gpu-rows--text", "gpu-rows--muted", "gpu-rows--warning", "gpu-rows--error",
    }  # fmt: skip
    DEFAULT_CSS = """
    GpuRows {
        & .gpu-rows--allocated { color: $primary; }
        & .gpu-rows--held { color: $secondary; }
        & .gpu-rows--others { color: $warning; }
        & .gpu-rows--free { color: $faint; }
        & .gpu-rows--mark { color: $accent; text-style: bold; }
        & .gpu-rows--label { color: $foreground; }
        & .gpu-rows--text { color: $foreground; text-style: bold; }
        & .gpu-rows--muted { color: $muted; }
        & .gpu-rows--warning { color: $warning; text-style: bold; }
        & .gpu-rows--error { color: $error; text-style: bold; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._devices: Sequence[Device] = ()
        self._planned: int | None = None
        self._node_numbers: list[int] = []
        self._open: set[int] = set()
        self._cursor = 0
        self._top = 0
        self._rows: list[Row] = []
        self._drawn: list[Strip] = []
        self._columns = Columns()

    def show(self, devices: Sequence[Device], planned: int | None) -> None:
        """Show the devices; ``planned`` is the bytes that were planned for the fullest of them."""
        if (devices, planned) == (self._devices, self._planned):
            return
        grown = len(devices) != len(self._devices)
        self._devices, self._planned = devices, planned
        nodes = sorted({device.node for device in devices})
        if nodes != self._node_numbers:
            self._node_numbers = nodes
            self._open = set(nodes) if len(devices) <= MOST_UNFOLDED or len(nodes) == 1 else set()
        self._draw(anew=grown)

    @property
    def scale(self) -> int | None:
        """Bytes a full bar stands for where it is no GPU's memory; None if bars end at GPUs' or there are none."""
        if any(device.total for device in self._devices):
            return None
        highest = max((max(device.held or 0, device.peak or 0) for device in self._devices), default=0)
        if not highest:
            return None
        scale = 2**28
        while scale < highest:
            scale *= 2
        return scale if scale * 3 // 4 < highest else scale * 3 // 4

    @property
    def legend(self) -> str:
        """What the marks stand for that are on screen."""
        if self._planned:
            return f"{LEGEND} {PLANNED} planned peak"
        return f"{ALLOCATED} allocated {HELD} reserved {PEAK} peak"

    # Lines

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        lines = self._lines(two=False)
        return max(2, len(lines) if len(lines) > MOST_UNFOLDED else 2 * len(lines))

    def _lines(self, *, two: bool) -> list[Row]:
        found = []
        for node in self._node_numbers:
            if len(self._node_numbers) > 1:
                found.append(Row(node))
            if node in self._open:
                for device in self._devices:
                    if device.node == node:
                        found += [Row(node, device), Row(node, device, is_detail=True)] if two else [Row(node, device)]
        return found

    def _draw(self, *, anew: bool = False) -> None:
        """Make the lines and repaint those that changed; ``anew`` where their number is not what it was."""
        width, height = self.content_size
        rows = self._lines(two=True)
        self._rows = rows if len(rows) <= height else self._lines(two=False)
        self._cursor = min(self._cursor, max(len(self._rows) - 1, 0))
        self._top = max(0, min(self._top, len(self._rows) - height))
        self._columns = columns_of(self._devices, width)
        before, self._drawn = self._drawn, [self._strip(row, width) for row in self._visible(height)]
        if anew or len(before) != len(self._drawn):
            self.refresh(layout=anew)
            return
        regions = [
            Region(0, y, width, 1) for y, (old, new) in enumerate(zip(before, self._drawn, strict=True)) if old != new
        ]
        left, top = self.content_offset.x - self.region.x, self.content_offset.y - self.region.y
        if regions:
            self.refresh(*(region.translate((left, top)) for region in regions))

    def _visible(self, height: int) -> list[Row]:
        return self._rows[self._top : self._top + max(height, 0)]

    def on_resize(self) -> None:
        """Lines are as wide, and as many, as there is room for."""
        self._draw()

    def notify_style_update(self) -> None:
        """Draw in the colours of another theme."""
        super().notify_style_update()
        if self.is_mounted:
            self._draw()

    def on_focus(self) -> None:
        """Show the cursor."""
        self._draw()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self._draw()

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        if not self._devices and y == 0:
            return Strip([Segment("waiting for the first rank"[:width].ljust(width), self._style("muted"))], width)
        return self._drawn[y] if y < len(self._drawn) else Strip.blank(width, self._style("muted"))

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"gpu-rows--{part}")

    def _strip(self, row: Row, width: int) -> Strip:
        if row.device is None:
            segments = self._node_line(row)
        elif row.is_detail:
            text = details(row.device, self._columns)
            segments = [Segment(" " * (self._columns.label + 1) + text, self._style("muted"))]
        elif row.device.lost:
            text = "✗ lost: the driver does not answer"
            segments = [self._label(row.device), Segment(text, self._style("error"))]
        elif row.device.silent is not None:
            text = f"✗ the driver does not answer, for {words.duration(row.device.silent)}"
            segments = [self._label(row.device), Segment(text, self._style("error"))]
        else:
            segments = self._device_line(row.device, width)
        strip = Strip(segments).adjust_cell_length(width, self._style("muted"))
        if self.has_focus and self._cursor < len(self._rows) and self._rows[self._cursor] == row:
            strip = strip.apply_style(CURSOR)
        return strip

    def _node_line(self, row: Row) -> list[Segment]:
        mark = "▾" if row.node in self._open else "▸"
        of_node = [device for device in self._devices if device.node == row.node]
        facts, alarm = node_facts(of_node)
        return [
            Segment(f"{mark} node {row.node}  ", self._style("label")),
            Segment(facts, self._style("muted" if row.node in self._open else "text")),
            Segment(f"  {alarm}" if alarm else "", self._style("warning")),
        ]

    def _label(self, device: Device) -> Segment:
        return Segment(self._columns.label_of(device).ljust(self._columns.label) + " ", self._style("label"))

    def _device_line(self, device: Device, width: int) -> list[Segment]:
        after = [Segment(f" {text}", self._style("text" if not place else "muted"))
                 for place, text in enumerate(self._columns.figures(device))]  # fmt: skip
        if self._columns.flags:
            after.append(
                Segment(f" {flags(device)[: self._columns.flags]:<{self._columns.flags}}", self._style("warning"))
            )
        room = width - self._columns.label - 1 - sum(segment.cell_length for segment in after)
        return [self._label(device), *self._bar(device, max(room, 4)), *after]

    def _bar(self, device: Device, columns: int) -> list[Segment]:
        capacity = device.total or self.scale or 1

        def cells(count: int) -> int:
            return max(0, min(columns, round(count / capacity * columns)))

        allocated, held, others = device.parts
        ends = [cells(allocated), cells(allocated + held), cells(allocated + held + others), columns]
        marks: list[tuple[str, str]] = []
        for end, mark, part in zip(
            ends, (ALLOCATED, HELD, OTHERS, FREE), ("allocated", "held", "others", "free"), strict=True
        ):
            marks += [(mark, part)] * (end - len(marks))
        line = self._planned if self._planned and device.total else device.peak
        if line and (self._planned or line > allocated):
            place = min(columns - 1, cells(line))
            marks[place] = (PLANNED if self._planned and device.total else PEAK, "mark")
        runs = [(part, "".join(mark for mark, _ in run)) for part, run in groupby(marks, key=itemgetter(1))]
        return [Segment(text, self._style(part)) for part, text in runs]

    # Moving and folding

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Folding is for several nodes."""
        return len(self._node_numbers) > 1 if action == "fold" else True

    def action_move(self, by: int) -> None:
        """Put the cursor on another line, and it into view."""
        self._cursor = max(0, min(self._cursor + by, len(self._rows) - 1))
        height = self.content_size.height
        self._top = min(max(self._top, self._cursor - height + 1), self._cursor)
        self._draw()

    def action_fold(self) -> None:
        """Fold the node of the line with the cursor, or unfold it."""
        if len(self._node_numbers) > 1 and self._cursor < len(self._rows):
            node = self._rows[self._cursor].node
            self._open ^= {node}
            self._cursor = next((place for place, row in enumerate(self._lines(two=False)) if row.node == node), 0)
            self._draw(anew=True)

    def on_click(self, event: events.Click) -> None:
        """A click on a node's line folds it or unfolds it."""
        y = event.get_content_offset(self)
        place = self._top + y.y if y else len(self._rows)
        if place < len(self._rows):
            self._cursor = place
            if self._rows[place].device is None:
                self.action_fold()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll."""
        self._scroll(1, event)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll."""
        self._scroll(-1, event)

    def _scroll(self, by: int, event: events.MouseEvent) -> None:
        event.stop()
        self._top += by
        self._draw()
