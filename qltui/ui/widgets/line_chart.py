"""A live chart that keys and the mouse zoom, move and inspect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.binding import Binding
from textual.message import Message

from qltui.ui.widgets.chart_canvas import ChartCanvas

if TYPE_CHECKING:
    from textual import events

    from qltui.runs.axes import View

ZOOM, WHEEL = 0.5, 0.8
"""How much of the width a key, or a notch of the wheel, leaves."""
PAN = 0.25
"""Share of the width that a key moves by."""
LEAST = 1e-5
"""Share of the whole that can be looked at."""
LEAST_STEPS = 4
DOUBLE = 2


class LineChart(ChartCanvas, can_focus=True):
    """A chart with a cursor line that says values, a window that is zoomed and moved, and a way to be shown large."""

    BINDINGS = [
        Binding("enter", "open", "large", id="chart.open", tooltip="Show this chart large, with all its keys"),
        Binding("plus,equals_sign,up", "zoom(-1)", "zoom", id="chart.zoom-in", key_display="+", show=False,
                tooltip="Show less of the run, larger"),
        Binding("minus,down", "zoom(1)", id="chart.zoom-out", show=False, tooltip="Show more of the run"),
        Binding("left", "pan(-1)", id="chart.left", show=False, tooltip="Move towards the beginning"),
        Binding("right", "pan(1)", id="chart.right", show=False, tooltip="Move towards the newest"),
        Binding("home", "begin", id="chart.begin", show=False, tooltip="Go to the beginning, as wide as now"),
        Binding("end", "live", id="chart.live", show=False, tooltip="Go to the newest and stay with it"),
        Binding("0", "all", id="chart.all", show=False, tooltip="Show all of the run"),
        Binding("f", "freeze", id="chart.freeze", show=False, tooltip="Hold the chart still, or follow the run again"),
        Binding("shift+left,comma", "inspect(-1)", id="chart.inspect-left", show=False,
                tooltip="Say the values at a line, and move it left"),
        Binding("shift+right,full_stop", "inspect(1)", id="chart.inspect-right", show=False,
                tooltip="Say the values at a line, and move it right"),
        Binding("escape", "inspect_none", id="chart.inspect-none", show=False, tooltip="Take the line away"),
    ]  # fmt: skip

    class Opened(Message):
        """The chart is to be shown large."""

        def __init__(self, chart: LineChart) -> None:
            super().__init__()
            self.chart = chart

        @property
        def control(self) -> LineChart:
            return self.chart

    def __init__(self, title: str = "", **options: Any) -> None:
        """As ``ChartCanvas``."""
        super().__init__(title, **options)
        self._held: int | None = None
        """Column in which the mouse took hold of the chart."""
        self._moved = False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "inspect_none" or self.cursor is not None

    # Keys

    def action_open(self) -> None:
        """Ask for a screen of its own."""
        self.post_message(self.Opened(self))

    def action_zoom(self, direction: int) -> None:
        """Show half or twice as much: around the cursor line, else what is newest, else the middle."""
        at = 1.0 if self.span.live else 0.5
        view = self._view_drawn
        if self.cursor is not None and view:
            at = min(max(view.across(self.cursor), 0.0), 1.0)
        self._zoom(ZOOM if direction < 0 else 1 / ZOOM, at)

    def action_pan(self, direction: int) -> None:
        """Move by a quarter of the width."""
        if self.whole:
            self.span.pan(direction * PAN, *self.whole)
            self._show_moved()

    def action_begin(self) -> None:
        """Move to the beginning."""
        if self.whole:
            self.span.to_begin(*self.whole)
            self._show_moved()

    def action_live(self) -> None:
        """Move to the newest and on with it."""
        self.span.follow()
        self._show_moved()

    def action_all(self) -> None:
        """Show everything, live."""
        self.span.show_all()
        self.inspect(None)
        self._show_moved()

    def action_freeze(self) -> None:
        """Hold still, or follow."""
        if not self.span.live:
            self.span.follow()
        elif self.whole:
            self.span.freeze(*self.whole)
        self._show_moved()

    def action_inspect(self, direction: int) -> None:
        """Move the cursor line by a point, or by a column where they are closer; it begins at the newest."""
        if self._plot is None:
            return
        view, frame = self._plot
        if self.cursor is None:
            self.inspect(view.right)
            return
        column = (view.right - view.left) / max(frame.columns - 1, 1)
        self.inspect(self._next_point(self.cursor, direction * column))

    def action_inspect_none(self) -> None:
        """Take the cursor line away."""
        self.inspect(None)

    def _next_point(self, place: float, step: float) -> float:
        """The point about a step from a place; where there is none, the next that way."""
        found = self._on_a_point(place + step)
        passed = (found - place) * step > 0
        return found if passed else self._on_a_point(place + step, 1 if step > 0 else -1)

    def _show_moved(self) -> None:
        self._redraw()
        self.post_message(self.Moved())

    def _zoom(self, factor: float, at: float) -> None:
        if self.whole:
            first, last = self.whole
            least = max((last - first) * LEAST, LEAST_STEPS)
            self.span.zoom(factor, at, first, last, least)
            self._show_moved()

    # Mouse

    @property
    def _view_drawn(self) -> View | None:
        return self._plot[0] if self._plot else None

    def _share_at(self, column: int) -> float:
        """How far across the plot a column of the widget is."""
        if self._plot is None:
            return 1.0
        frame = self._plot[1]
        return min(max((column - frame.gutter - frame.axis) / max(frame.columns - 1, 1), 0.0), 1.0)

    def _place_at(self, column: int) -> float | None:
        view = self._view_drawn
        return view.left + self._share_at(column) * (view.right - view.left) if view else None

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in where the mouse is."""
        event.stop()
        self._zoom(WHEEL, self._share_at(event.x))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out where the mouse is."""
        event.stop()
        self._zoom(1 / WHEEL, self._share_at(event.x))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold of the chart, or with another button of the cursor line."""
        self.capture_mouse()
        self._held, self._moved = event.x, False
        if event.button != 1:
            self._moved = True
            self.inspect(self._place_at(event.x))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag the chart, or the cursor line."""
        if self._held is None or event.x == self._held:
            return
        if event.button == 1 and self.whole and self._plot:
            self._moved = True
            self.span.pan((self._held - event.x) / max(self._plot[1].columns - 1, 1), *self.whole)
            self._held = event.x
            self._show_moved()
        elif not event.button:  # it was let go where nobody told of it
            self._held = None
            self.release_mouse()
        else:
            self.inspect(self._place_at(event.x))

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Let go; where nothing was dragged, the values there are asked for."""
        self.release_mouse()
        if self._held is not None and not self._moved:
            self.inspect(self._place_at(event.x))
        self._held = None

    def on_click(self, event: events.Click) -> None:
        """Twice: show everything."""
        if event.chain == DOUBLE and not self._moved:
            self.action_all()
