"""The app: its look, and which screen it begins with. All else is in the screens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from qltui.ui import preferences, terminal

terminal.before_import()

from textual import events  # noqa: E402
from textual.app import App, SystemCommand  # noqa: E402
from textual.binding import Binding  # noqa: E402
from textual.content import Content  # noqa: E402

from qltui.ui.screens.home import PLACES, Home  # noqa: E402
from qltui.ui.theme import QLTUI_THEME, completed  # noqa: E402
from qltui.ui.widgets.too_small import TooSmall, is_too_small  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from textual.driver import Driver
    from textual.geometry import Size
    from textual.screen import Screen
    from textual.theme import Theme

NOT_OFFERED = ("Keys",)
"""Of Textual's commands: a panel of all keys, which F1 and ``?`` tell in better words."""
CALM_SECONDS = 1
"""Without a key, after which the app may see to itself."""


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
        self.theme = _theme_to_begin_with(self)
        self._pressed = time.monotonic() - CALM_SECONDS
        """When the last key was pressed; at first as if that was a moment ago."""
        self._key_problems: list[str] = []
        """What is wrong in ``keys.yaml``."""

    def get_driver_class(self) -> type[Driver]:
        return terminal.thrifty(super().get_driver_class())

    def on_mount(self) -> None:
        self.screen_change_signal.subscribe(self, lambda _screen: self._cover(self.size))
        self.theme_changed_signal.subscribe(self, self._keep_theme)
        self.set_interval(CALM_SECONDS, self._rest)

    def on_ready(self) -> None:
        """The screen stands."""
        terminal.ready()
        self._take_keymap()

    def get_css_variables(self) -> dict[str, str]:
        self.theme_variables = completed(self.current_theme, super().get_css_variables())
        return self.theme_variables

    def _keep_theme(self, theme: Theme) -> None:
        try:
            preferences.keep_theme(theme.name)
        except OSError as error:
            self.notify(f"The theme is not kept: {error}", severity="warning", markup=False)

    def _take_keymap(self) -> None:
        if not preferences.keys_path().is_file():
            return
        keymap = preferences.keymap(preferences.all_bindings())
        self.set_keymap(keymap.keys)
        self._key_problems = keymap.problems
        if keymap.notice:
            self.notify(keymap.notice, title="keys", severity="warning", timeout=20, markup=False)

    @property
    def calm_seconds(self) -> float:
        """Time since the last key or click."""
        return time.monotonic() - self._pressed

    def _rest(self) -> None:
        if self.calm_seconds > CALM_SECONDS:
            terminal.calm(self.calm_seconds)

    # A terminal with no room

    def on_resize(self, event: events.Resize) -> None:
        """Say what is needed where there is no room."""
        self._cover(event.size)

    def _cover(self, size: Size) -> None:
        if not self.screen.is_attached:
            return
        for cover in self.screen.query(TooSmall):
            if is_too_small(size):
                cover.tell(size)
                return
            cover.remove()
        if is_too_small(size):
            self.screen.mount(TooSmall(size))

    async def on_event(self, event: events.Event) -> None:
        """Take note of keys; let none do what cannot be seen."""
        if isinstance(event, (events.Key, events.MouseDown, events.Paste)):
            self._pressed = time.monotonic()
        unseen = isinstance(event, (events.Key, events.MouseEvent, events.Paste)) and is_too_small(self.size)
        if not unseen or (isinstance(event, events.Key) and event.key == "ctrl+q"):
            await super().on_event(event)

    # The command palette

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the keys of the screen do, where one can go, and what Textual offers; each title once."""
        places = (
            SystemCommand(title, help_text, lambda place=place: self.action_go(place))
            for _, place, title, help_text in PLACES
        )
        problems = SystemCommand(preferences.KEY_PROBLEMS, "Lines that change no key, and why", self._tell_key_problems)
        ours = [*self._commands_of(screen), *places, *([problems] if self._key_problems else [])]
        seen = set(NOT_OFFERED)
        for command in (*ours, *super().get_system_commands(screen)):
            if command.title not in seen:
                seen.add(command.title)
                yield command

    def _commands_of(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.id and binding.tooltip and active.enabled:
                title = (binding.description or binding.tooltip).capitalize()
                yield SystemCommand(
                    title, f"{binding.tooltip} ({self.get_key_display(binding)})",
                    lambda action=binding.action, node=active.node: self.call_later(self.run_action, action, node),
                )  # fmt: skip

    def _tell_key_problems(self) -> None:
        from qltui.ui.screens.explanation import Explanation

        self.push_screen(Explanation("keys.yaml", [Content(problem) for problem in self._key_problems]))

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


def _theme_to_begin_with(app: QltuiApp) -> str:
    chosen = preferences.theme()
    return chosen if chosen in app.available_themes else QLTUI_THEME.name


def run_app() -> None:
    """Show the app until it is left."""
    terminal.prepare()
    QltuiApp().run()


def watch(run_path: Path, readonly: bool = False) -> None:
    """Show one run until it is left: why it died if it did, else its monitor.

    With ``readonly`` nothing can be asked of the run.
    """
    from engine.events import RunDirectory
    from qltui.runs import status
    from qltui.ui.screens.post_mortem import first_look

    terminal.prepare()
    QltuiApp(lambda: first_look(run_path, status.read(RunDirectory(run_path)), readonly)).run()
