"""A screen as text that can be read, compared and reviewed: its characters, and below them what they are drawn in."""

from __future__ import annotations

import difflib
import itertools
import os
import string
from pathlib import Path
from typing import Any

from rich.style import Style
from textual.pilot import Pilot

UPDATE = "QLTUI_UPDATE_SNAPSHOTS"
"""Set in the environment to take what is on screen for right: ``make snapshots``."""


def snapshot(pilot: Pilot[Any]) -> str:
    """The screen's lines; runs of cells drawn alike as a letter and their number, a line for each; and the letters."""
    app = pilot.app
    letters: dict[str, str] = {}
    lines, drawn = [], []
    for strip in app.screen._compositor.render_strips(app.size):
        lines.append(strip.text.rstrip())
        runs = itertools.groupby(
            style for segment in strip for style in [told(segment.style)] for _ in range(segment.cell_length)
        )
        counted = [(style, len(list(cells))) for style, cells in runs]
        drawn.append(" ".join(f"{letters.setdefault(style, _letter(len(letters)))}{count}" for style, count in counted))
    legend = [f"{letter}  {style}" for style, letter in letters.items()]
    return "\n".join([*lines, "", *drawn, "", *legend, ""])


def _letter(number: int) -> str:
    most = len(string.ascii_lowercase)
    return string.ascii_lowercase[number % most] * (number // most + 1)


def told(style: Style | None) -> str:
    """What cells are drawn in, in words."""
    if style is None:
        return "plain"
    marks = [name for name in ("bold", "dim", "italic", "underline", "reverse", "strike") if getattr(style, name)]
    fore = style.color.name if style.color else "default"
    back = style.bgcolor.name if style.bgcolor else "default"
    return " ".join([*marks, fore, "on", back])


async def settled(pilot: Pilot[Any]) -> str:
    """The screen once nothing on it changes any more."""
    before = ""
    for _ in range(100):
        await pilot.pause(0.1)
        now = snapshot(pilot)
        if now == before:
            return now
        before = now
    raise AssertionError(f"it never came to rest:\n{before}")


def differs(file: Path, now: str) -> str:
    """How the screen differs from the one that was kept; empty if it does not. With ``UPDATE`` set it is kept."""
    if os.environ.get(UPDATE):
        file.write_text(now, "utf-8")
        return ""
    if not file.exists():
        return f"{file.name} is not there. make snapshots keeps it as it is now:\n{now}"
    kept = file.read_text("utf-8")
    if kept == now:
        return ""
    lines = difflib.unified_diff(kept.splitlines(), now.splitlines(), f"{file.name} as kept", "now", lineterm="", n=1)
    return "\n".join(lines)
