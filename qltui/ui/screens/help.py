"""What the cursor is on, and the keys of a screen, with what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

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
        about = focused_lines(screen)
        head = [*about, Content(""), Content.styled("Keys", "bold")] if about else []
        self._lines = [*head, *key_lines(screen)]
        self._title = "Help" if about else "Keys"

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = self._title
            yield Static(Content("\n").join(self._lines), markup=False)


@runtime_checkable
class Helpful(Protocol):
    """A widget with more to say of itself than its keys."""

    def help_lines(self) -> list[Content]:
        """What it is for and how it is read."""


def focused_lines(screen: Screen[Any]) -> list[Content]:
    """What the widget with the cursor says of itself, or the nearest around it that says something."""
    around = screen.focused.ancestors_with_self if screen.focused else ()
    return next((one.help_lines() for one in around if isinstance(one, Helpful)), [])


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
