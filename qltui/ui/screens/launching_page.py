"""What screens have in common from which a run is launched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import work
from textual.message import Message

from qltui.ui.screens.page import Page

if TYPE_CHECKING:
    from pathlib import Path

    from engine.config import RunConfig


class LaunchingPage(Page):
    """A full screen that starts a run and hears what became of it."""

    class Launched(Message):
        """The run was started."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

    class Refused(Message):
        """The run was not started, and why."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    @work(thread=True, group="launch", exit_on_error=False)
    def launch(self, config: RunConfig) -> None:
        """Start a run; answered by :class:`Launched` or :class:`Refused`."""
        from qltui.runs import launching
        from qltui.runs.assessment import assess

        try:
            run = launching.launch(assess(config))  # asked now: the machine may have changed since it was shown
        except launching.LaunchRefused as error:
            self.post_message(self.Refused(str(error)))
            return
        self.post_message(self.Launched(run.path))
