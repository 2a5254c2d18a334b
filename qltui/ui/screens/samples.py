"""What the model answered to the user's own prompts, from before it learnt to now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from qltui.runs.sanitise import clean_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.app import ComposeResult

STEP_WIDTH = 12


class Samples(ModalScreen[None]):
    """Each prompt with its answers, the newest first."""

    BINDINGS = [
        Binding("escape,q,v,enter,f1", "dismiss", "Close", id="samples.close", tooltip="Back to the monitor"),
    ]

    def __init__(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """``samples`` as a run's status has them."""
        super().__init__()
        self._samples = samples

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "Answers while it learns"
            dialog.styles.width = 100
            for sample in self._samples:
                yield Static(Content.styled(clean_lines(sample["prompt"] or ""), "bold $accent"), markup=False)
                yield Static(Content("\n").join(answer_lines(sample["answers"])), markup=False)


def answer_lines(answers: Sequence[Mapping[str, Any]]) -> list[Content]:
    """A line for each answer, or several; one that is that of the step before is not said again."""
    lines = []
    for number, told in reversed(list(enumerate(answers))):
        where = "before" if told["when"] == "before" else f"step {told['step']:,}"
        same = number > 0 and answers[number - 1]["answer"] == told["answer"]
        indented = clean_lines(told["answer"] or "").replace("\n", "\n" + " " * STEP_WIDTH) or "(nothing)"
        answer = Content.styled("as before it", "$muted") if same else Content(indented)
        lines.append(Content.styled(where.ljust(STEP_WIDTH), "$muted") + answer)
    return [*lines, Content("")]
