"""What a person sees of the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.cells import cell_len
from textual import events
from textual.pilot import Pilot
from textual.screen import Screen

CHARACTERS = {"slash": "/"}
"""Of keys that have a name and can be typed, too."""


def text_of(pilot: Pilot[Any]) -> str:
    """The characters on screen, a line each."""
    app = pilot.app
    compositor = app.screen._compositor
    lines = compositor.render_strips(app.size)
    return "\n".join("".join(segment.text for segment in line) for line in lines)


async def until(pilot: Pilot[Any], condition: Callable[[], Any], what: str, seconds: float = 20) -> None:
    """Wait until something is true; the limit is for a broken program, not to measure a right one."""
    for _ in range(round(seconds / 0.05)):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"never: {what}. On screen:\n{text_of(pilot)}")


async def until_seen(pilot: Pilot[Any], text: str) -> None:
    """Wait until a text is on screen."""
    await until(pilot, lambda: text in text_of(pilot), f"{text!r} on screen")


async def until_on(pilot: Pilot[Any], screen: type[Screen[Any]]) -> None:
    """Wait until a screen of this kind is open."""
    await until(pilot, lambda: isinstance(pilot.app.screen, screen), f"screen {screen.__name__}")


def press_together(pilot: Pilot[Any], *keys: str) -> None:
    """Keys that arrive at once, as a slow line delivers them: none waits for what the one before did."""
    for key in keys:
        pilot.app.post_message(events.Key(key, CHARACTERS.get(key)))


async def click_on(pilot: Pilot[Any], text: str, right: int = 1) -> None:
    """Click where a text stands on screen, the first if there are more, or ``right`` columns from where it begins."""
    await until_seen(pilot, text)
    await pilot.pause()
    row, line = next((row, line) for row, line in enumerate(text_of(pilot).splitlines()) if text in line)
    column = cell_len(line[: line.index(text)])
    await pilot.click(offset=(column + right, row))
