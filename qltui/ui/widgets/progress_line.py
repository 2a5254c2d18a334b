"""Where the run is: its state, a bar, and the figures beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual.containers import Horizontal
from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget

from qltui.ui import words
from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from textual.app import ComposeResult


class Bar(Widget):
    """A share from 0 to 1 as a horizontal line that fills up."""

    COMPONENT_CLASSES = {"bar--done", "bar--left"}
    DEFAULT_CSS = """
    Bar {
        height: 1;
        & .bar--done { color: $primary; }
        & .bar--left { color: $rule; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._share = 0.0

    def show(self, share: float) -> None:
        """Fill the bar up to ``share``."""
        if share != self._share:
            self._share = share
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        halves = round(min(max(self._share, 0.0), 1.0) * width * 2)
        done = "━" * (halves // 2) + ("╸" if halves % 2 else "")
        # The rest is thinner, not only darker, so that it reads without colour.
        return Strip(
            [
                Segment(done, self.get_component_rich_style("bar--done")),
                Segment("─" * (width - len(done)), self.get_component_rich_style("bar--left")),
            ],
            width,
        )


class ProgressLine(Horizontal):
    """State, bar, step, epoch, time left and speed."""

    DEFAULT_CSS = """
    ProgressLine {
        height: 1;
        & .state { width: auto; padding: 0 1; }
        & Bar { width: 1fr; }
        & .figures { width: auto; padding: 0 1; }
    }
    """

    def compose(self) -> ComposeResult:
        yield Line(classes="state", markup=False)
        yield Bar()
        yield Line(classes="figures", markup=False)

    def show(self, status: dict[str, Any]) -> None:
        """Show a status."""
        text, colour = words.state(status["state"])
        self.query_one(".state", Line).update(Content.styled(text, f"bold {colour}"))
        step, total = status["step"], status["total_steps"]
        self.query_one(Bar).show(step / total if total else 0.0)
        self.query_one(".figures", Line).update(Content("  ").join(self._figures(status, step, total)))

    def _figures(self, status: dict[str, Any], step: int, total: int | None) -> list[Content]:
        def figure(name: str, value: str, unit: str = "") -> Content:
            return Content.assemble((name and f"{name} ", "$muted"), value, (unit and f" {unit}", "$muted"))

        shown = [figure("step", f"{step:,}", f"/ {total:,}" if total else "")]
        if status["epoch"] is not None:
            shown.append(figure("epoch", f"{status['epoch']:.2f}"))
        if status["eta_seconds"] is not None and words.is_live(status):
            shown.append(figure("ETA", words.duration(status["eta_seconds"])))
        if status["tokens_per_second"] is not None:
            shown.append(figure("", words.number(status["tokens_per_second"]), "tok/s"))
        return shown
