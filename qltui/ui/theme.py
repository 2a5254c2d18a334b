"""The look of QLTUI: one theme, which the style sheets use by ``$variable`` alone."""

from __future__ import annotations

from textual.theme import Theme

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
