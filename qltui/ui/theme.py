"""The look of QLTUI: one theme, which the style sheets use by ``$variable`` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.theme import Theme

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.color import Color

QLTUI_THEME = Theme(
    name="qltui",
    primary="#5cc8be",
    secondary="#93a4f5",
    accent="#ffb86b",
    warning="#f3d26b",
    error="#ff7b86",
    success="#84d993",
    foreground="#d8dfeb",
    background="#0d1016",
    surface="#12161f",
    panel="#1a2030",
    dark=True,
    variables={
        "rule": "#2c3548",
        "muted": "#8390a8",
        "faint": "#4d5970",
        "border": "#5cc8be",
        "border-blurred": "#2c3548",
        "block-cursor-background": "#24463f",
        "block-cursor-foreground": "#e9fffb",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-background": "#1a2030",
        "block-cursor-blurred-foreground": "#d8dfeb",
        "footer-background": "#12161f",
        "footer-key-foreground": "#ffb86b",
        "footer-description-foreground": "#8390a8",
        "scrollbar": "#2c3548",
        "scrollbar-background": "#12161f",
        "scrollbar-background-hover": "#12161f",
        "scrollbar-background-active": "#12161f",
        "scrollbar-corner-color": "#12161f",
    },
)
"""``rule`` draws frames and axes, ``muted`` secondary text, ``faint`` what should step back."""

TEXT = ("primary", "secondary", "accent", "warning", "error", "success", "muted")
"""Colours in which words and marks are written."""
CONTRAST = 3.0
"""Least contrast of those with what they are written on; 21 is black on white."""
SHARES = {"rule": 0.25, "muted": 0.7, "faint": 0.5}
"""How far each of ours is on the way from the background to the foreground, where a theme does not say."""
ANSI = {
    "rule": "ansi_bright_black", "muted": "ansi_default", "faint": "ansi_bright_black",
    "border-blurred": "ansi_bright_black",
}  # fmt: skip
"""The same where the terminal's own colours are used, of which nothing is known."""


def completed(theme: Theme, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of any theme with ours among them, and everything that is written readable on its background."""
    from textual.color import Color

    if theme.name == QLTUI_THEME.name:
        return dict(variables)
    if theme.ansi:
        return {**variables, **ANSI}
    found = dict(variables)
    back, fore = Color.parse(variables["background"]), Color.parse(variables["foreground"])
    found |= {name: back.blend(fore, share).hex for name, share in SHARES.items()}
    grounds = [back, Color.parse(variables["surface"]), Color.parse(variables["panel"])]
    for name in TEXT:
        found[name] = _readable(Color.parse(found[name]), grounds, fore).hex
    return found


def contrast(one: Color, other: Color) -> float:
    """Between two colours, as WCAG 2 defines it: 1 for the same, 21 for black and white."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _readable(colour: Color, grounds: list[Color], fore: Color) -> Color:
    """The colour, as far towards the foreground as it takes to be read."""
    for percent in range(0, 101, 10):
        found = colour.blend(fore, percent / 100)
        if all(contrast(found, ground) >= CONTRAST for ground in grounds):
            return found
    return fore


def _luminance(colour: Color) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
