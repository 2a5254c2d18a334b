"""Lines drawn in braille, live: cheap at any number of points, and no spike is ever averaged away."""

from __future__ import annotations

from bisect import bisect_left
from functools import partial
from typing import TYPE_CHECKING

from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from qltui.runs.axes import fitted, room_to_grow, time_text
from qltui.ui import words
from qltui.ui.widgets import chart_drawing as drawing
from qltui.ui.widgets.chart_finer import Finer
from qltui.ui.widgets.chart_lines import Followed, Line, marked
from qltui.ui.widgets.chart_span import Span
from qltui.ui.widgets.chart_styles import chart_styles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.style import Style

    from qltui.runs.axes import View
    from qltui.runs.finer import Part

SMOOTHING = 0.85
"""Weight of the past in the smoothed curve, unless another is chosen."""
STRENGTHS = (0.0, 0.6, 0.85, 0.95, 0.99)
"""Those that a key chooses from; 0 is not smoothed."""
MANY_ROWS = 12
"""Rows that are sooner painted as one area than each for itself."""


class ChartCanvas(Widget):
    """Lines with a smoothed curve over each, or scattered points, under a heading with the newest value.

    Values that are no number leave a gap, marked ``!`` at the top.
    """

    log_scale = reactive(False, init=False)
    """Whether heights are logarithmic; values of zero and less are then left out."""
    by_time = reactive(False, init=False)
    """Whether x is the time since the first step and not the step, where it is known."""
    smoothing = reactive(SMOOTHING, init=False)
    """Weight of the past in the smoothed curves; 0 draws none."""

    class Moved(Message):
        """The cursor line was moved, or another part of the run is shown."""

    def __init__(
        self, title: str = "", *, empty: str, written: Callable[[float | None], str] | None = None,
        smoothed: bool = True, unit: float = 1.0, unit_name: str = "", id: str | None = None,
    ) -> None:  # fmt: skip
        """Make a chart that says ``empty`` until there is something to draw.

        ``written`` puts a value into words; with ``smoothed`` off the values alone are drawn.
        Heights are labelled in ``unit``, whose name is for pictures that are read without the heading.
        """
        super().__init__(id=id)
        self.title, self.empty, self.smoothed, self.unit = title, empty, smoothed, unit
        self.written = written or (lambda value: words.number(value, ".4g"))
        self.unit_name = unit_name
        self.span = Span()
        self.finer = Finer()
        self.cursor: float | None = None
        """Place on the axis that is looked at."""
        self.followed: list[Followed] = []
        self._rows: list[drawing.Row] = []
        self._strips: list[Strip] = []
        self._drawn: tuple[Size, str, bool] | None = None
        self._styles: dict[str, Style] = {}
        self._plot: tuple[View, drawing.Frame] | None = None
        self._under_cursor: list[drawing.Row] | None = None
        """The plot without the cursor line, which moves more often than it changes."""
        self._under_cursor_size: Size | None = None

    def show(self, lines: Sequence[Line]) -> None:
        """Draw what the lines hold now; they may have grown, been thinned or begun anew, and others may have come."""
        names = [line.name for line in lines]
        changed = names != [one.line.name for one in self.followed]
        if changed:
            known = {one.line.name: one for one in self.followed}
            self.followed = [known.get(line.name) or Followed(line) for line in lines]
        for one, line, mark in zip(self.followed, lines, marked(lines), strict=True):
            changed |= one.follow(line, mark)
        self.finer.extend(self.followed)
        if changed:
            self._redraw()

    @property
    def time(self) -> bool:
        """Whether the axis is one of seconds: as wanted, where that can be."""
        known = [one for one in self.followed if one.curve.x or one.curve.gaps]
        return self.by_time if any(one.can_be_by(self.by_time) for one in known) else not self.by_time and bool(known)

    @property
    def _whole_lines(self) -> list[Followed]:
        """The lines that have a place on this axis, as long as the run."""
        return [one for one in self.followed if one.can_be_by(self.time)]

    @property
    def shown(self) -> list[Followed]:
        """The lines that have a place on this axis, finer ones where the part that is shown was read anew."""
        lines, ends = self._whole_lines, self._steps_shown()
        return [self.finer.line(one) for one in lines] if ends and self.finer.covers(*ends) else lines

    def _steps_shown(self) -> tuple[float, float] | None:
        """The first and the last step that are shown, where that is not all of them."""
        line = next((one for one in self._whole_lines if one.line.key), None)
        if line is None or self.span.window is None or self.whole is None:
            return None
        left, right = (line.own(place, self.time) for place in self.span.shown(*self.whole))
        return max(left, 0.0), right

    @property
    def way(self) -> drawing.Way:
        return drawing.Way(self.time, self.smoothing if self.smoothed else 0.0)

    @property
    def whole(self) -> tuple[float, float] | None:
        """Where the lines begin and end."""
        ends = [found for one in self._whole_lines if (found := one.ends(self.time))]
        return (min(first for first, _ in ends), max(last for _, last in ends)) if ends else None

    def view(self) -> View | None:
        """The part of the plane that is shown: as high as what lies between its ends."""
        if self.whole is None:
            return None
        left, right = self.span.shown(*self.whole)
        if self.span.live:
            ahead = room_to_grow(right, (right - left) / max(self.content_size.width, 1))
            left, right = (left if self.span.window is None else left + ahead - right), ahead
        bounds = []
        for one in self.shown:
            begin, end = one.curve.within(one.own(left, self.time), one.own(right, self.time))
            if begin == end:  # a line may go through without a point
                begin, end = begin - 1, end + 1
            bounds.append(one.curve.extremes(begin, end, self.log_scale))
        return fitted(left, right, bounds, self.log_scale)

    # Drawing

    def watch_log_scale(self) -> None:
        self._redraw()

    def watch_smoothing(self) -> None:
        self._redraw()

    def watch_by_time(self, before: bool, _wanted: bool) -> None:
        """Show the same part of the run, as far as its times are known."""
        after = self.time
        line = next((one for one in self.shown if one.line.clock and one.ends(after)), None)
        if line is None or before == after or self.span.window is None:
            self.span.show_all()
        else:
            ends = line.ends(before) or (0.0, 1.0)
            self.span.convert(lambda place: line.placed(line.own(place, before), after), *ends)
        self.cursor = None
        self._redraw()

    def watch_has_focus(self, _has_focus: bool) -> None:
        super().watch_has_focus(_has_focus)
        self._redraw(cursor_alone=True)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn = None

    def render_line(self, y: int) -> Strip:
        if self._drawn != self._drawing_for:
            self._draw()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.content_size.width, self.rich_style)

    @property
    def _drawing_for(self) -> tuple[Size, str, bool]:
        return self.content_size, self.app.theme, self.has_focus

    def _redraw(self, cursor_alone: bool = False) -> None:
        """Draw, and repaint only the cells that came out differently."""
        if not cursor_alone:
            self._under_cursor = None
            self._look_closer()
        if not self.is_attached or not self.content_size:
            return
        if not self.screen.is_current:  # whatever was seen of it is painted anew when it comes back
            self._drawn = None
            return
        before = self._rows
        self._draw()
        if len(before) != len(self._rows):
            self.refresh()
            return
        # Regions to refresh are counted from the widget's corner, its border included.
        left, top = self.content_region.offset - self.region.offset
        changes = [
            Region(left + cells[0], top + y, cells[1] - cells[0], 1)
            for y, (old, new) in enumerate(zip(before, self._rows, strict=True))
            if (cells := new.changes(old))
        ]
        if len(changes) > MANY_ROWS:
            changes = [Region.from_union(changes)]
        if changes:
            self.refresh(*changes)

    def _look_closer(self) -> None:
        """Have what is shown read anew, where the whole is too coarse for it."""
        ends = self._steps_shown() if self.finer.reader and self.is_attached else None
        wanted = self.finer.wants(self._whole_lines, *ends) if ends else None
        if wanted:
            self.run_worker(partial(self._read_finer, wanted), group="finer", thread=True, exit_on_error=False)

    def _read_finer(self, wanted: tuple[float, float]) -> None:
        """In a thread: read, and show it if nothing else is wanted by then."""
        part = self.finer.reader(*wanted) if self.finer.reader and self.finer.wanted == wanted else None
        if self.finer.wanted == wanted and self.is_attached:
            self.call_later(self._take_finer, part)  # a message, so that nobody waits when the app ends

    def _take_finer(self, part: Part | None) -> None:
        self.finer.take(part)
        self._redraw()
        self.post_message(self.Moved())

    def _draw(self) -> None:
        """Make the strips, those of rows that are as before excepted."""
        now = self._drawing_for
        styles = self._styles
        if self._drawn is None or self._drawn[1:] != now[1:]:
            styles = chart_styles(self.app.theme_variables, self.background_colors[1], has_focus=self.has_focus)
        before = zip(self._rows, self._strips, strict=True) if styles is self._styles else ()
        known = dict(enumerate(before))
        self._styles, self._rows = styles, self._draw_rows(*self.content_size)
        self._strips = [
            known[y][1] if y in known and known[y][0] == row else row.strip(styles) for y, row in enumerate(self._rows)
        ]
        self._drawn = now

    def _draw_rows(self, width: int, height: int) -> list[drawing.Row]:
        self._plot = None
        view = self.view()
        head = int(height >= 3 and bool(self.title))
        if view is None or width < 4 or height < 1:
            lost = any(one.curve.gaps for one in self.followed)
            text = "not a number so far" if lost else self.empty
            below = drawing.words_in(width, height - head, text, "empty")
            return [drawing.heading(width, self._heading_left(), ()), *below] if head else below
        frame = drawing.framed(view, width, height - head, self.unit)
        self._plot = view, frame
        rows = [drawing.heading(width, self._heading_left(), *self._heading_rights())] if head else []
        if self._under_cursor is None or self._under_cursor_size != self.content_size:
            self._under_cursor = drawing.plot(self.shown, view, frame, self.way)
            self._under_cursor_size = self.content_size
        rows += drawing.with_cursor(self._under_cursor, view, frame, self.cursor)
        return rows + drawing.axis(view, frame, self.time) if frame.axis else rows

    def _heading_left(self) -> list[drawing.Text]:
        newest = [one.curve.y[-1] for one in self.followed if one.curve.y and not one.line.scattered]
        value = [(f" {self.written(max(newest))}", "value")] if newest else []
        return [("▸ " if self.has_focus else "", "title"), (self.title, "title"), *value]

    def _heading_rights(self) -> list[list[drawing.Text]]:
        """The values at the cursor; or which part is shown and what the lines are, at length and short."""
        if self.cursor is not None and self._values_in_heading():
            return [self.readout()]
        state = [(f"{self.state}  ", "state")] if self.state else []
        named: list[drawing.Text] = []
        short: list[drawing.Text] = []
        for number, one in enumerate(self.shown):
            if one.line.mark and (one.curve.x or not one.line.scattered):
                part = f"line-{number % drawing.COLOURS}"
                named.append((f"{one.line.mark} {one.line.name}  ", part))
                short.append((f"{one.line.mark} ", part))
        return [[*state, *named], [*state, *short], state]

    def _values_in_heading(self) -> bool:
        """Whether the heading is where the values at the cursor stand."""
        return True

    @property
    def state(self) -> str:
        """Which part of the run is shown, and how; empty for all of it on a linear axis."""
        words = ["log"] if self.log_scale else []
        if not self.span.live:
            ends = self.span.shown(*self.whole) if self.whole else ()
            words.append(f"❚❚ frozen, {' to '.join(time_text(end) if self.time else f'{end:,.0f}' for end in ends)}")
        elif self.span.window is not None:
            words.append("last " + (time_text(self.span.window) if self.time else f"{self.span.window:,.0f} steps"))
        steps = self._steps_shown()
        if steps and self.finer.covers(*steps):
            width = self.finer.width
            words.append("every step" if width == 1 else f"lowest and highest of {width} steps")
        return " · ".join(words)

    # Inspecting

    def readout(self) -> list[drawing.Text]:
        """Place and values at the cursor, as words with their parts; empty without one."""
        if self.cursor is None or self._plot is None:
            return []
        view, frame = self._plot
        half = (view.right - view.left) / max(frame.columns - 1, 1) / 2
        where = time_text(round(self.cursor)) if self.time else f"step {self.cursor:,.0f}"
        found: list[drawing.Text] = [(where, "value")]
        for number, one in enumerate(self.shown):
            said = self._said(one, self.cursor - half, self.cursor + half)
            if said:
                name = one.line.mark or one.line.name
                found += [(f"  {name} ", f"line-{number % drawing.COLOURS}"), (said, "value")]
        return found + self._said_smoothed()

    def _said_smoothed(self) -> list[drawing.Text]:
        """The smoothed value at the cursor, where there is one curve."""
        through = [one for one in self.shown if not one.line.scattered]
        if len(through) != 1 or not self.way.smoothing or self.cursor is None:
            return []
        curve = through[0].curve
        index = curve.nearest(through[0].own(self.cursor, self.time))
        if index is None:
            return []
        _, values = curve.smoothed(index, index + 1, self.way.smoothing, 1)
        return [("  smoothed ", "state"), (self.written(values[-1]), "value")]

    def _said(self, one: Followed, left: float, right: float) -> str:
        """A line's value between two places on the axis, lowest to highest where there are several."""
        curve, own = one.curve, [one.own(place, self.time) for place in (left, right)]
        gap = bisect_left(curve.gaps, own[0])
        if gap < len(curve.gaps) and curve.gaps[gap] <= own[1]:
            return str(curve.strange[gap])
        begin, end = curve.within(*own)
        bounds = curve.extremes(begin, end)
        if bounds is None:
            index = None if one.line.scattered else curve.nearest((own[0] + own[1]) / 2)
            return "" if index is None else self.written(curve.y[index])
        if end - begin == 1 or bounds[0] == bounds[1]:
            return self.written(bounds[0])
        return f"{self.written(bounds[0])} to {self.written(bounds[1])}"

    def inspect(self, place: float | None) -> None:
        """Put the cursor line at a place on the axis, or take it away."""
        if place is not None and self._plot:
            view, _ = self._plot
            place = self._on_a_point(min(max(place, view.left), view.right))
        if place != self.cursor:
            self.cursor = place
            self._redraw(cursor_alone=True)
            self.post_message(self.Moved())

    def _on_a_point(self, place: float, direction: int = 0) -> float:
        """Where the first line has something nearest to a place; with a direction, from there on in it."""
        for one in self.shown[:1]:
            x = one.curve.nearest_x(one.own(place, self.time), direction)
            if x is not None:
                return one.placed(x, self.time)
        return place
