"""The keys of a screen, with what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.screen import Screen

KEY = 10


class Help(ModalScreen[None]):
    """Lists the bindings of another screen; any of its own keys closes it."""

    BINDINGS = [
        Binding("escape,q,question_mark,enter,f1", "dismiss", "Close", id="help.close", tooltip="Back to the screen"),
    ]

    def __init__(self, screen: Screen[Any]) -> None:
        super().__init__()
        self._lines = key_lines(screen)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "Keys"
            yield Static(Content("\n").join(self._lines), markup=False)


def key_lines(screen: Screen[Any]) -> list[Content]:
    """A line for each binding that works on a screen, its own before the app's."""
    lines: dict[str, Content] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        what = binding.tooltip
        if binding.system or not what or not active.enabled:  # what widgets bring along goes without saying
            continue
        keys = lines.get(what)
        key = screen.app.get_key_display(binding)
        shown = f"{keys.plain[:KEY].strip()} {key}" if keys and key not in keys.plain[:KEY] else key
        lines[what] = Content.assemble((shown.ljust(KEY), "bold $accent"), what)
    return list(lines.values())
