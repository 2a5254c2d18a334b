"""All runs read again and again, as a screen does: one that has ended and did not change since is not read anew."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any

from qltui.runs import notes, store
from qltui.runs.state import LIVE

if TYPE_CHECKING:
    from engine.events import RunDirectory

Signature = tuple[int, ...]


class Shelf:
    """Remembers what it read. A description that did not change is the very same object the next time."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Signature, dict[str, Any]]] = {}

    def read(self, seconds: float = math.inf) -> tuple[list[dict[str, Any]], bool]:
        """The runs as :func:`store.list_runs` gives them, and whether these are all.

        After ``seconds`` the oldest that were never read are left out.
        """
        deadline = time.monotonic() + seconds
        known: dict[str, tuple[Signature, dict[str, Any]]] = {}
        is_complete = True
        for run in store.directories():
            if time.monotonic() > deadline:
                is_complete = False
                if run.id in self._known:
                    known[run.id] = self._known[run.id]
                continue
            known[run.id] = self._described(run)
        self._known = known
        return store.live_first([described for _, described in known.values()]), is_complete

    def _described(self, run: RunDirectory) -> tuple[Signature, dict[str, Any]]:
        signature = _signature(run)
        before = self._known.get(run.id)
        if before and before[0] == signature and before[1]["state"] not in LIVE:
            return before
        described = store.describe(run)
        return signature, before[1] if before and before[1] == described else described


def _signature(run: RunDirectory) -> Signature:
    """What changes whenever an ended run does."""
    return tuple(map(_changed, (run.status_json, notes.notes_file(run), run.attempts_dir)))


def _changed(path: os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
