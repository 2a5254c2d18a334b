"""A value picked from a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from textual.widgets import Select

if TYPE_CHECKING:
    from textual import events

Value = TypeVar("Value")


class Choice(Select[Value]):
    """Textual's, which would end the app where it is taken away before it, or what shows its value, stands."""

    def _on_mount(self, event: events.Mount) -> None:
        if not self.query("SelectCurrent > #label"):
            event.prevent_default()
