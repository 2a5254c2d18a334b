"""What a person sees of the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot
from textual.screen import Screen


def text_of(pilot: Pilot[Any]) -> str:
    """The characters on screen, a line each."""
    app = pilot.app
    compositor = app.screen._compositor
    lines = compositor.render_strips(app.size)
    return "\n".join("".join(segment.text for segment in line) for line in lines)


async def until(pilot: Pilot[Any], condition: Callable[[], Any], what: str) -> None:
    """Wait until something is true, however long the machine takes for it."""
    for _ in range(400):
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
