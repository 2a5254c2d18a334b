"""The matrix of strategies and methods, and what is to be said of the square under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from qltui.advice.matrix import row_name
from qltui.facts import verified
from qltui.ui import words
from qltui.ui.widgets.strategy_matrix import StrategyMatrix

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from qltui.advice.matrix import Square
    from qltui.runs.outlook import Outlook


class StrategyChoice(Vertical):
    """Enter takes the square; what it comes to is told below."""

    DEFAULT_CSS = """
    StrategyChoice {
        height: auto;
        margin-bottom: 1;
        & #told { height: auto; min-height: 3; padding-top: 1; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._best: tuple[str, str] | None = None
        self._why = ""

    def compose(self) -> ComposeResult:
        yield StrategyMatrix(id="matrix")
        yield Static(id="told", markup=False)

    def show(self, outlook: Outlook) -> None:
        """Show the squares of what is chosen so far."""
        config = outlook.config
        if config is None:
            return
        method = config.method.name.value
        self._best = (outlook.best, method) if outlook.best else None
        self._why = outlook.choice.why if outlook.choice else ""
        strategy = config.strategy
        chosen = row_name(strategy.name, offload=strategy.offload_parameters), method
        self.query_one(StrategyMatrix).show(outlook.squares, self._best, chosen)

    @on(StrategyMatrix.Moved)
    def _tell(self, event: StrategyMatrix.Moved) -> None:
        square = event.square
        row, method = square.place
        why = self._why if square.place == self._best else square.why
        best = "the planner's first choice. " if square.place == self._best else ""
        lines = [
            Content.assemble((f"{row} · {method}  ", "bold"), f"{best}{words.plain(why)}"),
            Content.styled(proven(square), "$muted"),
        ]
        self.query_one("#told", Static).update(Content("\n").join(lines))


def proven(square: Square) -> str:
    """Where the combination was proven by running it."""
    option = "offload" if square.offload else ""
    for session in verified.sessions():
        for proof in session.proofs:
            same = (proof.strategy, proof.method) == (square.strategy.value, square.method.value)
            if same and proof.option == option and proof.result == "passed" and proof.task == "causal_lm":
                version = session.versions.get("torch", "").partition("+")[0]
                return f"verified on {session.used_by(proof.strategy)}, torch {version}, {session.date}"
    return "not verified by a run yet" if not square.blocks else ""
