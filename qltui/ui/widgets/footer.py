"""The keys that matter most where one is, in a line: at most six, each a click as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual.content import Content
from textual.widget import Widget

if TYPE_CHECKING:
    from textual import events
    from textual.screen import Screen

MOST = 6
"""Keys shown, the command palette's aside."""
LAST = 1
"""Of the screen's keys, those that are shown whatever leaves: the way back, or the help."""


class Key(NamedTuple):
    """A key as it is shown."""

    key: str
    shown: str
    what: str
    tooltip: str
    enabled: bool

    @property
    def width(self) -> int:
        """Columns, the space around it included."""
        return Content(f" {self.shown} {self.what} ").cell_length


class Footer(Widget, can_focus=False):
    """One widget and not one for each key, which would be made anew whenever the cursor goes elsewhere."""

    DEFAULT_CSS = """
    Footer {
        dock: bottom;
        height: 1;
        background: $footer-background;
        color: $footer-description-foreground;
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[Key] = []
        self._palette: Key | None = None

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._update)
        self._update(self.screen)

    def _update(self, screen: Screen[object]) -> None:
        if not self.is_attached or screen is not self.screen:
            return
        before = self._keys, self._palette
        self._keys, self._palette = keys_of(screen)
        if before != (self._keys, self._palette):
            self.refresh()

    @property
    def shown(self) -> list[Key]:
        """Those for which there is room."""
        return fitting(self._keys, self.size.width)

    def render(self) -> Content:
        line = Content("").join(map(drawn, self.shown))
        room = self.size.width - line.cell_length
        if self._palette is not None and self._palette.width <= room:
            line += Content(" " * (room - self._palette.width)) + drawn(self._palette)
        return line

    def _key_at(self, column: int) -> Key | None:
        left = 0
        for key in self.shown:
            if left <= column < left + key.width:
                return key
            left += key.width
        palette = self._palette
        room = self.size.width - left
        if palette is not None and palette.width <= room and column >= self.size.width - palette.width:
            return palette
        return None

    def on_click(self, event: events.Click) -> None:
        """As if it were pressed."""
        if (key := self._key_at(event.x)) is not None and key.enabled:
            self.app.simulate_key(key.key)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Say what the key under the mouse does."""
        key = self._key_at(event.x)
        self.tooltip = key.tooltip if key else None


def keys_of(screen: Screen[object]) -> tuple[list[Key], Key | None]:
    """The keys to show, those of the widget with the cursor first, and that of the command palette."""
    app = screen.app
    found: dict[str, Key] = {}
    palette = None
    for active in screen.active_bindings.values():
        binding = active.binding
        key = Key(
            binding.key, app.get_key_display(binding), binding.description, active.tooltip or binding.description,
            active.enabled,
        )  # fmt: skip
        if binding.key == app.COMMAND_PALETTE_BINDING:
            palette = key
        elif binding.show and binding.description:
            found.setdefault(binding.action, key)
    return list(found.values()), palette


def fitting(keys: list[Key], width: int) -> list[Key]:
    """As many as there may be and as there is room for; the last stay."""
    kept = list(keys)
    while len(kept) > LAST and (len(kept) > MOST or sum(key.width for key in kept) > width):
        del kept[-LAST - 1]
    return kept


def drawn(key: Key) -> Content:
    """A key and what it does; one that does nothing now stands between brackets."""
    if not key.enabled:
        return Content.styled(f"({key.shown} {key.what})", "$faint")
    return Content.assemble((f" {key.shown}", "bold $footer-key-foreground"), f" {key.what} ")
