"""How values read, on screens and in the output of commands alike."""

from __future__ import annotations

UNKNOWN = "–"
FOREVER = 1e12
"""Seconds that no time span of ours reaches: such a figure is no figure."""


def duration(seconds: float | None) -> str:
    """A time span in its two largest units, as ``2 h 07 m``; a dash if unknown."""
    if seconds is None or not 0 <= seconds < FOREVER:
        return UNKNOWN
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours:02} h"
    if hours:
        return f"{hours} h {minutes:02} m"
    if minutes:
        return f"{minutes} m {whole % 60:02} s"
    return f"{whole} s"


def size(count: float | None) -> str:
    """Bytes in binary units, as ``7.6 GiB``; a dash if unknown."""
    if count is None:
        return UNKNOWN
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def counted(count: int, thing: str) -> str:
    """How many of a thing, as ``1 row`` and ``1,200 rows``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def number(value: float | None, form: str = ",.0f") -> str:
    """A number in the given format; a dash if unknown."""
    return UNKNOWN if value is None else format(value, form)


def share(value: float | None) -> str:
    """A share from 0 to 1 as a percentage; a dash if unknown."""
    return UNKNOWN if value is None else f"{value * 100:.0f} %"
