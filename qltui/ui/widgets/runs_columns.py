"""The columns of the list of runs: what each says, what it sorts by, and which give way where it is narrow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len, set_cell_size

from qltui.ui import words
from qltui.words import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Status = dict[str, Any]

GAP = 2
"""Columns between two cells."""


class Column(NamedTuple):
    """One column; the cells are text."""

    name: str
    title: str
    written: Callable[[Status], str]
    order: Callable[[Status], Any]
    """What it sorts by; None goes last."""
    most: int
    """Columns it takes at most."""
    least: int = 0
    """Columns it makes do with; 0 where it is whole or not there."""
    right: bool = False
    """Whether its cells end below each other, as numbers do."""
    falling: bool = False
    """Whether the highest comes first when it is sorted by."""


def _state(status: Status) -> str:
    return words.state(words.plain(status["state"]))[0] + (" ?" if status.get("unseen") else "")


def _step(status: Status) -> str:
    total = status["total_steps"]
    return f"{status['step']:,}" + (f" / {total:,}" if total else "")


def _share(status: Status) -> float | None:
    return status["step"] / status["total_steps"] if status["total_steps"] else None


def _left(status: Status) -> str:
    return words.duration(status["eta_seconds"]) if words.is_live(status) else UNKNOWN


def _method(status: Status) -> str:
    return " · ".join(words.plain(status[key]) for key in ("method", "strategy") if status[key]) or UNKNOWN


def _model(status: Status) -> str:
    return words.plain(status["model"]).rstrip("/").rpartition("/")[2] or UNKNOWN


def _begun(status: Status) -> str:
    created = status["created"]
    try:
        return time.strftime("%m-%d %H:%M", time.localtime(created)) if created else UNKNOWN
    except (OverflowError, OSError, ValueError):
        return UNKNOWN


def _tags(status: Status) -> str:
    return " ".join(f"#{words.plain(tag)}" for tag in status.get("tags") or ()) or UNKNOWN


def _text(key: str) -> Callable[[Status], Any]:
    return lambda status: str(status[key]).lower() if status[key] is not None else None


def _number(key: str) -> Callable[[Status], Any]:
    """A number to sort by; one that is none is unknown."""
    return lambda status: value if (value := status[key]) == value else None


COLUMNS = (
    Column("state", "state", _state, _text("state"), 14),
    Column("name", "name", lambda status: words.plain(status["name"]), _text("name"), 44, 24),
    Column("step", "step", _step, _share, 21, right=True, falling=True),
    Column("loss", "loss", lambda status: words.number(status["loss"], ".4f"), _number("loss"), 10, right=True),
    Column("eval", "eval", lambda status: words.number(status["eval_loss"], ".4f"), _number("eval_loss"), 10,
           right=True),
    Column("speed", "tok/s", lambda status: words.number(status["tokens_per_second"]), _number("tokens_per_second"), 9,
           right=True, falling=True),
    Column("left", "left", _left, _number("eta_seconds"), 9, right=True),
    Column("tags", "tags", _tags, lambda status: _tags(status).lower() if status.get("tags") else None, 30, 8),
    Column("method", "method", _method, lambda status: _method(status).lower(), 18),
    Column("model", "model", _model, lambda status: _model(status).lower(), 30, 12),
    Column("begun", "begun", _begun, _number("created"), 11, falling=True),
    Column("id", "id", lambda status: words.plain(status["id"]), _text("id"), 60),
)  # fmt: skip
IMPORTANCE = ("state", "name", "loss", "step", "left", "begun", "eval", "tags", "method", "speed", "model", "id")
"""Columns that come first when there is little room; shown they are in their own order."""
BY_NAME = {column.name: column for column in COLUMNS}


class Cells(NamedTuple):
    """A run as it is shown."""

    texts: tuple[str, ...]
    """One for each of ``COLUMNS``."""
    widths: tuple[int, ...]
    """Columns each takes; 0 where nothing is known."""


def cells_of(status: Status) -> Cells:
    """What the columns say of a run."""
    texts = tuple(column.written(status) for column in COLUMNS)
    return Cells(texts, tuple(0 if text == UNKNOWN else cell_len(text) for text in texts))


def laid_out(rows: Sequence[Cells], width: int) -> dict[str, int]:
    """The columns there is room for, in their order, each with its width; those that nobody fills are left out."""
    natural = {
        column.name: min(max(widest, len(column.title) + 1), column.most)
        for column, widest in zip(COLUMNS, map(max, zip(*(row.widths for row in rows), strict=True)), strict=True)
        if widest
    } if rows else {}  # fmt: skip
    kept: dict[str, int] = {}
    room = width
    for name in IMPORTANCE:
        column = BY_NAME[name]
        least = min(column.least or column.most, natural.get(name, 0))
        if name in natural and least + GAP <= room:
            kept[name] = least
            room -= least + GAP
    for name in IMPORTANCE:  # what is left goes to those that made do with less
        if name in kept:
            more = min(natural[name] - kept[name], room)
            kept[name] += more
            room -= more
    return {column.name: kept[column.name] for column in COLUMNS if column.name in kept}


def in_order(described: Sequence[Status], by: str, falling: bool) -> list[Status]:
    """Runs sorted by a column, unknown ones last; by none of them as they come: live ones first, then the newest."""
    if by not in BY_NAME:
        return list(described)
    order = BY_NAME[by].order
    known = [(key, one) for one in described if (key := order(one)) is not None]
    unknown = [one for one in described if order(one) is None]
    return [one for _, one in sorted(known, key=lambda pair: pair[0], reverse=falling)] + unknown


def fitted(text: str, width: int, right: bool) -> str:
    """A cell in its width, cut with an ellipsis."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 1 else "…"[:width]
    return " " * (width - length) + text if right else text + " " * (width - length)
