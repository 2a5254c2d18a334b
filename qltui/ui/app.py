"""The app: its look, and which screen it begins with. All else is in the screens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qltui.ui import terminal

terminal.before_import()

from textual.app import App, SystemCommand  # noqa: E402
from textual.binding import Binding  # noqa: E402

from qltui.ui.screens.home import Home  # noqa: E402
from qltui.ui.theme import QLTUI_THEME  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from textual.screen import Screen


class QltuiApp(App[None]):
    """Shows the screen that ``first_screen`` makes; leaving that one ends the app."""

    TITLE = "QLTUI"
    DEFAULT_MODE = "first"
    CSS_PATH = "app.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]
    BINDINGS = [
        Binding("ctrl+q", "quit", "Quit", id="app.quit", tooltip="End the app; runs go on", show=False, priority=True)
    ]

    def __init__(self, first_screen: Callable[[], Screen[None]] = Home) -> None:
        super().__init__()
        self.add_mode(self.DEFAULT_MODE, first_screen)
        self.animation_level = "none"
        self.register_theme(QLTUI_THEME)
        self.theme = QLTUI_THEME.name

    def on_ready(self) -> None:
        """The screen stands."""
        terminal.ready()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        for title, help_text, place in (
            ("New run", "Fill in a form", "new_run"),
            ("Presets", "Launch something that is known to work", "presets"),
            ("Runs", "All runs, live ones first", "runs"),
            ("Doctor", "What this machine has", "doctor"),
        ):
            yield SystemCommand(title, help_text, lambda place=place: self.action_go(place))

    def action_go(self, place: str) -> None:
        """Open one of the places of the home screen."""
        self.push_screen(screen_for(place))


def screen_for(place: str) -> Screen[None]:
    """The screen of a place; imported only now, so that the first paint does not wait for it."""
    if place == "new_run":
        from qltui.ui.screens.new_run import NewRun

        return NewRun()
    if place == "presets":
        from qltui.ui.screens.presets import Presets

        return Presets()
    if place == "runs":
        from qltui.ui.screens.runs import Runs

        return Runs()
    from qltui.ui.screens.doctor import Doctor

    return Doctor()


def run_app() -> None:
    """Show the app until it is left."""
    terminal.prepare()
    QltuiApp().run()


def watch(run_path: Path, readonly: bool = False) -> None:
    """Show the monitor of one run until it is left; with ``readonly`` it cannot ask anything of the run."""
    from qltui.ui.screens.monitor import Monitor

    terminal.prepare()
    QltuiApp(lambda: Monitor(run_path, readonly=readonly)).run()
