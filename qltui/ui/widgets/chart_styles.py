"""The styles of a chart's parts, from the theme's colours.

Not as component classes: Textual matches each of those against all rules for every widget whose page changes, which
for some charts of 21 parts took longer than drawing them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.style import Style
from textual.color import Color

if TYPE_CHECKING:
    from collections.abc import Mapping


class Part(NamedTuple):
    """How a part of a chart is painted."""

    colour: str
    """Of the theme."""
    strength: float = 1.0
    """1 for the colour, 0 for the background."""
    bold: bool = False
    on: str = ""
    """Colour behind it; empty for the chart's own background."""


LINES = ("primary", "accent", "secondary", "success", "warning", "foreground")
"""Colours of lines, in their order."""
PARTS = {
    "axis": Part("rule"),
    "label": Part("muted"),
    "grid": Part("rule", 0.6),
    "gap": Part("error", bold=True),
    "empty": Part("muted"),
    "cursor": Part("foreground", bold=True, on="rule"),
    "title": Part("foreground", bold=True),
    "value": Part("foreground"),
    "state": Part("muted"),
    **{f"line-{number}": Part(colour, bold=True) for number, colour in enumerate(LINES)},
    **{f"raw-{number}": Part(colour, 0.45) for number, colour in enumerate(LINES)},
}


def chart_styles(variables: Mapping[str, str], background: Color, *, has_focus: bool) -> dict[str, Style]:
    """Styles by part; ``variables`` are the theme's, of a chart with the focus the axis stands out."""
    parts = {**PARTS, "axis": Part("primary")} if has_focus else PARTS
    return {name: _style(part, variables, background) for name, part in parts.items()}


def _style(part: Part, variables: Mapping[str, str], background: Color) -> Style:
    behind = Color.parse(variables[part.on]) if part.on else background
    colour = Color.parse(variables[part.colour])
    shown = behind + colour.multiply_alpha(part.strength)
    return Style(color=shown.rich_color, bgcolor=behind.rich_color, bold=part.bold or None)
