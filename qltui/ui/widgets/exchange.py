"""A question and what the model says to it, once or twice beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from engine.config.conversation import Turn
from qltui.runs.sanitise import clean_lines
from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from engine.config.conversation import Said

NAMES = {True: "tuned", False: "base"}
"""Of the sides, by whether they answer with what was learnt."""
ENDS = {"end": "", "length": "cut at the longest answer", "stopped": "stopped"}


class AnswerText(Vertical):
    """What one side says, as it is written."""

    def __init__(self, tuned: bool, *, named: bool) -> None:
        super().__init__(classes="answer")
        self.tuned = tuned
        self.text = ""
        self._named = named
        self._shown = ""

    def compose(self) -> ComposeResult:
        if self._named:
            yield Static(NAMES[self.tuned], classes="side", markup=False)
        yield Static("…", classes="text", markup=False)
        yield Line("", classes="pace", markup=False)

    def add(self, text: str) -> None:
        """More of it; :meth:`paint` shows it."""
        self.text += text

    def paint(self) -> None:
        """Show what has come since the last time."""
        if self.text != self._shown:
            self._shown = self.text
            self.query_one(".text", Static).update(Content(clean_lines(self.text)))

    def end(self, said: Said) -> None:
        """Nothing more comes."""
        self.paint()
        if not self.text:
            self.query_one(".text", Static).update(Content.styled("(nothing)", "$muted"))
        pace = f"{said.tokens} tokens, {said.tokens / max(said.seconds, 1e-9):.1f} a second"
        self.query_one(".pace", Line).update(" · ".join(filter(None, (pace, ENDS[said.reason]))))

    def refuse(self, reason: str) -> None:
        """It cannot be answered."""
        self.paint()
        self.query_one(".pace", Line).update(Content.styled(f"✗ {reason}", "$error"))


class Exchange(Vertical):
    """A question with its answers."""

    def __init__(self, question: str, sides: Sequence[bool]) -> None:
        super().__init__()
        self.question = question
        self.answers = [AnswerText(tuned, named=len(sides) > 1 or not tuned) for tuned in sides]

    def compose(self) -> ComposeResult:
        yield Static(Content(clean_lines(self.question)), classes="question", markup=False)
        yield Horizontal(*self.answers, classes="answers")

    def turns(self, tuned: bool) -> list[Turn]:
        """It as a side remembers it; where it was not asked, with the other one's answer."""
        by_side = {answer.tuned: answer.text for answer in self.answers}
        answer = by_side.get(tuned, next(iter(by_side.values())))
        return [Turn("user", self.question), Turn("assistant", answer)]
