"""What all full screens have in common: a way back, and help made from their own bindings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.reactive import Reactive
from textual.screen import Screen
from textual.worker import Worker, WorkerState

if TYPE_CHECKING:
    from textual.widget import Widget

HELP = Binding("question_mark,f1", "help", "help", id="help", key_display="?", tooltip="All keys of this screen")
BACK = Binding("q,escape", "back", "back", id="back", key_display="q", tooltip="Back to the screen before")
"""Every screen lists its own keys first and these last, as the footer shows them in that order."""


class Page(Screen[None]):
    """A full screen. On the first one, going back ends the app."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    """The widget with the cursor. Only it and the one before are painted, not the whole screen as Textual has it."""

    @property
    def is_current(self) -> bool:
        """Whether any of it can be seen.

        Textual counts the screen right under an opaque one, too, and paints all of that one whenever this one changes.
        """
        if not super().is_current:
            return False
        stack = self.app.screen_stack
        return all(screen.styles.background.a < 1 for screen in stack[stack.index(self) + 1 :])

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Say what went wrong in a thread that nobody waits for."""
        if event.state is WorkerState.ERROR:
            self.app.notify(f"{event.worker.name}: {event.worker.error!r}", severity="error", timeout=10, markup=False)

    def action_help(self) -> None:
        """List the keys that work here."""
        from qltui.ui.screens.help import Help

        self.app.push_screen(Help(self))

    def action_back(self) -> None:
        """Go back to the screen before, or end the app if there is none."""
        if self.is_first:
            self.app.exit()
        else:
            self.app.pop_screen()

    @property
    def is_first(self) -> bool:
        """Whether the app began with this screen."""
        return self.app.screen_stack[0] is self
