"""What is chosen in the form so far, what is wrong with it, and the way back to what was chosen before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config import FIELDS
from qltui.ui.steps import NOT_ASKED, STEPS
from qltui.ui.widgets.config_form import problem_with

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qltui.ui.steps import Step

STEPS_BACK = 100
"""Changes that can be undone."""


class Chosen:
    """Texts by the dotted path of their field; those at their default are left out."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Begin with those of ``values`` that the form asks for."""
        self.values = {path: text for path, text in values.items() if path in FIELDS and path not in NOT_ASKED}
        self._before: list[dict[str, str]] = []

    def type(self, path: str, text: str) -> None:
        """Take what is typed, which is not undone."""
        if text.strip():
            self.values[path] = text
        else:
            self.values.pop(path, None)

    def set(self, changes: Mapping[str, str]) -> None:
        """Change fields at once, so that it can be undone at once."""
        self._remember()
        for path, text in changes.items():
            if text == FIELDS[path].default_text or not text:
                self.values.pop(path, None)
            else:
                self.values[path] = text

    def clear(self) -> None:
        """Choose nothing."""
        self._remember()
        self.values = {}

    def undo(self) -> bool:
        """Take the last change back; whether there was one."""
        if not self._before:
            return False
        self.values = self._before.pop()
        return True

    def _remember(self) -> None:
        self._before = [*self._before, dict(self.values)][-STEPS_BACK:]

    def text_of(self, path: str) -> str:
        """What a field stands at, chosen or by default."""
        return self.values.get(path, FIELDS[path].default_text)

    def problems(self, step: Step) -> dict[str, str]:
        """What is wrong in a step, by path."""
        found = {}
        for field in step.fields:
            text = self.values.get(field.path, "")
            if (text or field.required) and (problem := problem_with(field, text)):
                found[field.path] = problem
        return found

    def standing(self) -> dict[str, str]:
        """How each step stands: ``done``, ``missing`` where something must be filled in, or ``wrong``."""
        found = {}
        for step in STEPS:
            problems = self.problems(step)
            wrong = any(path in self.values for path in problems)
            found[step.name] = "wrong" if wrong else "missing" if problems else "done"
        return found
