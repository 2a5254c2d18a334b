"""The steps of the wizard in a line: where one is, what is done, what stands in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message

from qltui.ui.steps import STEPS
from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual import events
    from textual.app import ComposeResult

REVIEW = "review"
MARKS = {"done": ("✓", "$success"), "missing": ("○", "$accent"), "wrong": ("✗", "$error"), "": (" ", "$muted")}
"""Mark and colour by how a step stands."""


class StepTitle(Line):
    """One step; a click goes there."""

    def __init__(self, name: str) -> None:
        super().__init__(id=f"step-{name}", markup=False)
        self.step = name

    def on_click(self, event: events.Click) -> None:
        """Ask to go there."""
        event.stop()
        self.post_message(StepBar.Asked(self.step))


class StepBar(Horizontal):
    """All steps, the one that is open set apart by arrows as well as by weight."""

    DEFAULT_CSS = """
    StepBar {
        height: 1;
        padding: 0 1;
        background: $panel;
        & StepTitle { width: auto; padding: 0 1; color: $muted; }
        & StepTitle:hover { color: $foreground; }
        & .-open { color: $foreground; text-style: bold; }
    }
    """

    class Asked(Message):
        """A step was clicked."""

        def __init__(self, step: str) -> None:
            super().__init__()
            self.step = step

    def compose(self) -> ComposeResult:
        for step in STEPS:
            yield StepTitle(step.name)
        yield StepTitle(REVIEW)

    def show(self, current: str, standing: Mapping[str, str]) -> None:
        """Mark the open step, and how each stands (a key of ``MARKS``)."""
        titles = {step.name: step.title for step in STEPS} | {REVIEW: "Review"}
        for title in self.query(StepTitle):
            mark, colour = MARKS[standing.get(title.step, "")]
            is_open = title.step == current
            text = f"▸{titles[title.step]}◂" if is_open else titles[title.step]
            title.update(Content.assemble(text, (f" {mark}".rstrip(), colour)))
            title.set_class(is_open, "-open")
