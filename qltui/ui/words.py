"""How a run reads on screen: states and audits with marks. Every mark stands beside a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.cells import cell_len

from qltui.runs.sanitise import clean
from qltui.runs.state import LIVE
from qltui.words import UNKNOWN, counted, duration, number, share, size

__all__ = [
    "AUDITS", "STATES", "counted", "duration", "fitted", "is_live", "number", "path", "plain", "rate", "share", "size",
    "state",
]  # fmt: skip

STATES: dict[str, tuple[str, str]] = {
    "queued": ("◌", "$muted"),
    "starting": ("◔", "$secondary"),
    "loading": ("◑", "$secondary"),
    "training": ("●", "$primary"),
    "evaluating": ("◆", "$primary"),
    "saving": ("◕", "$primary"),
    "finished": ("✓", "$success"),
    "stopped": ("■", "$accent"),
    "failed": ("✗", "$error"),
    "lost": ("?", "$warning"),
}
"""Mark and colour of each state of a run."""

AUDITS: dict[str, tuple[str, str]] = {
    "passed": ("✓ passed", "$success"),
    "failed": ("✗ failed", "$error"),
    "pending": ("· pending", "$muted"),
    "not_applicable": ("– not needed", "$faint"),
}
"""Words and colour of each result of an audit."""


def state(name: str) -> tuple[str, str]:
    """Mark with word, and colour, of a state; a newer program's state is shown as it is."""
    mark, colour = STATES.get(name, ("·", "$foreground"))
    return f"{mark} {name}", colour


def is_live(status: dict[str, Any]) -> bool:
    """Whether the run still goes on."""
    return status.get("state") in LIVE


def rate(value: float | None) -> str:
    """A small number such as a learning rate, short; a dash if unknown."""
    if value is None:
        return UNKNOWN
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-") if value and abs(value) < 1e-2 else f"{value:.4g}"


def plain(value: object) -> str:
    """Text that others wrote, as one printable line; a dash if there is none."""
    return UNKNOWN if value is None else clean(str(value).replace("\n", " ↵ "))


def path(value: str | Path) -> str:
    """A path with the home folder as ``~``."""
    text, home = plain(value), str(Path.home())
    return f"~{text[len(home) :]}" if text == home or text.startswith(f"{home}/") else text


def fitted(path: str, width: int) -> str:
    """A path in ``width`` columns: folders in its middle give way to an ellipsis, then the beginning of its name."""
    if cell_len(path) <= width:
        return path
    first, *rest = path.split("/")
    for place in range(1, len(rest)):
        shorter = "/".join([first, "…", *rest[place:]])
        if cell_len(shorter) <= width:
            return shorter
    name = path.rpartition("/")[2]
    while name and cell_len(name) >= width:
        name = name[1:]
    return f"…{name}"
