"""All runs read again and again, as a screen does: one that has ended and did not change since is not read anew."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any

from engine.events import RunDirectory
from qltui.runs import notes, store
from qltui.runs.state import LIVE

if TYPE_CHECKING:
    from pathlib import Path

SCREENFUL = 60
"""Runs that are read however long it takes."""

Signature = tuple[int, ...]


class Shelf:
    """Remembers what it read. A description that did not change is the very same object the next time."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Signature, dict[str, Any]]] = {}

    def read(self, seconds: float = math.inf) -> tuple[list[dict[str, Any]], bool]:
        """The runs as :func:`store.list_runs` gives them, and whether these are all.

        After ``seconds`` the oldest that were never read are left out, but for a screenful.
        """
        deadline = time.monotonic() + seconds
        home = store.runs_home()
        known: dict[str, tuple[Signature, dict[str, Any]]] = {}
        is_complete = True
        for place, name in enumerate(store.newest_names()):
            before = self._known.get(name)
            if place < SCREENFUL or time.monotonic() <= deadline:
                known[name] = _read_again(home / name, before)
            else:
                is_complete = False
                if before:
                    known[name] = before
        self._known = known
        return store.live_first([described for _, described in known.values()]), is_complete


def _read_again(
    folder: Path, before: tuple[Signature, dict[str, Any]] | None
) -> tuple[Signature, dict[str, Any]]:  # fmt: skip
    signature = _signature(str(folder))
    if before and before[0] == signature and before[1]["state"] not in LIVE:
        return before
    described = store.describe(RunDirectory(folder))
    return signature, before[1] if before and before[1] == described else described


def _signature(folder: str) -> Signature:
    """What changes whenever an ended run does."""
    return tuple(_changed(f"{folder}/{name}") for name in ("status.json", notes.NAME, "attempts"))


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
