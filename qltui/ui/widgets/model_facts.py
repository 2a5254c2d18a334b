"""What the chosen model is made of, and whether it is on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from textual.content import Content

from qltui.configs import hub
from qltui.configs.model_files import missing
from qltui.ui import words
from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qltui.configs.hub import HubAnswer
    from qltui.runs.outlook import Outlook

BYTES = 2
"""Of a parameter as models are published."""
MANY = 10**8
"""Parameters from which they are counted in billions."""
NAMED = 3
"""Models on disk that are named where the chosen one is not."""


class ModelFacts(Line):
    """One line of facts, one of where it is."""

    DEFAULT_CSS = """
    ModelFacts { height: auto; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._answers: dict[str, HubAnswer] = {}

    def answered(self, name: str, answer: HubAnswer) -> None:
        """What the hub says of a model, if it could be asked."""
        self._answers[name] = answer

    def show(self, outlook: Outlook, name: str, cached: Sequence[str]) -> None:
        """Tell of the model called ``name``; ``cached`` names those in the hub's cache."""
        revision = outlook.config.model.revision if outlook.config else None
        parts = [self._made_of(outlook), self._where(outlook, name, revision, cached)]
        self.update(Content("\n").join(part for part in parts if part.plain))

    def _made_of(self, outlook: Outlook) -> Content:
        model = outlook.architecture
        if model is None:
            return Content.styled("? not known on this machine: give a folder with its config.json", "$muted")
        known = "" if model.known else ", estimated from its numbers"
        count = f"{model.parameters / 1e9:.2f} B" if model.parameters >= MANY else f"{model.parameters / 1e6:.2f} M"
        told = f"{count} parameters{known}, {model.depth} layers"
        return Content.assemble(("✓ ", "$success"), f"{told}, up to {model.context_length:,} tokens")

    def _where(self, outlook: Outlook, name: str, revision: str | None, cached: Sequence[str]) -> Content:
        if os.path.isdir(os.path.expanduser(name)):
            return Content.assemble(("● on disk", "$success"), (", a local folder", "$muted"))
        if hub.cached_model(name, revision) is not None:
            return Content.assemble(("● on disk", "$success"), (", in the hub's cache", "$muted"))
        answer = self._answers.get(name)
        if problems := missing(name, "model.path", "model"):
            told = Content.assemble(
                ("✗ ", "$error"), words.plain(f"{problems[0].message} {problems[0].remedy}".rstrip("."))
            )
        elif answer is not None:
            mark, colour = {True: ("✓", "$success"), False: ("✗", "$error"), None: ("▲", "$warning")}[answer.is_there]
            told = Content.assemble(("○ not on disk; ", "$muted"), (f"{mark} ", colour), words.plain(answer.told))
        else:
            model = outlook.architecture
            size = f"fetches about {words.size(model.parameters * BYTES)} from" if model else "would look for it on"
            return Content.styled(f"○ not on disk: a launch {size} the hub", "$muted")
        if answer is not None and answer.is_there:
            return told
        others = ", ".join(cached[:NAMED]) + (", …" if len(cached) > NAMED else "")
        return told + Content.styled(f"; on disk: {words.plain(others) if others else 'no model yet'}", "$muted")
