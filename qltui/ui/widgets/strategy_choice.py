"""The matrix of strategies and methods, and what is to be said of the square under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from qltui.advice.matrix import row_name
from qltui.ui import words
from qltui.ui.widgets.line import Line
from qltui.ui.widgets.square_words import evidence_lines, name, proven, why_lines
from qltui.ui.widgets.strategy_matrix import StrategyMatrix

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from qltui.runs.outlook import Outlook


class StrategyChoice(Vertical):
    """Enter takes the square; what it comes to is told below."""

    DEFAULT_CSS = """
    StrategyChoice {
        height: auto;
        & #told { height: auto; min-height: 3; max-height: 5; margin-top: 1; }
        & #explain { height: 1; }
        & #explain Button { min-width: 1; background: $background; color: $accent; margin-right: 2; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._best: tuple[str, str] | None = None
        self._why = ""

    def compose(self) -> ComposeResult:
        yield StrategyMatrix(id="matrix")
        yield Line(id="told", markup=False)
        with Horizontal(id="explain"):
            yield Button("⏎ take it", id="take", compact=True)
            yield Button("w why not this?", id="why", compact=True)
            yield Button("e evidence", id="evidence", compact=True)

    def show(self, outlook: Outlook, *, is_open: bool) -> None:
        """Show the squares of what is chosen so far; ``is_open``: nobody has chosen a strategy yet."""
        config = outlook.config
        if config is None:
            return
        method = config.method.name.value
        self._best = (outlook.best, method) if outlook.best else None
        self._why = outlook.choice.why if outlook.choice else ""
        strategy = config.strategy
        chosen = row_name(strategy.name, offload=strategy.offload_parameters), method
        self.query_one(StrategyMatrix).show(outlook.squares, self._best, chosen, is_open=is_open)

    @on(StrategyMatrix.Moved)
    def _tell(self, event: StrategyMatrix.Moved) -> None:
        square = event.square
        why = self._why if square.place == self._best else square.why
        best = "the planner's first choice. " if square.place == self._best else ""
        lines = [
            Content.assemble((f"{name(square)}  ", "bold"), f"{best}{words.plain(why)}"),
            Content.styled(proven(square), "$muted"),
        ]
        self.query_one("#told", Static).update(Content("\n").join(lines))

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        matrix = self.query_one(StrategyMatrix)
        matrix.focus()
        actions = {"take": matrix.action_choose, "why": matrix.action_why, "evidence": matrix.action_evidence}
        matrix.call_later(actions[event.button.id or ""])  # as its own doing: what a parent posts does not bubble by it

    @on(StrategyMatrix.Explained)
    def _explain(self, event: StrategyMatrix.Explained) -> None:
        event.stop()
        from qltui.ui.screens.explanation import Explanation

        what, lines = {"why": ("why not, what it takes", why_lines), "evidence": ("evidence", evidence_lines)}[
            event.what
        ]
        self.app.push_screen(Explanation(f"{name(event.square)}: {what}", lines(event.square)))
