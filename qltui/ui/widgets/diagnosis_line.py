"""One line under a monitor, once its run has died: that it did, of what, and the key that tells more."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.content import Content
from textual.message import Message

from engine.events import RunDirectory
from qltui.runs.diagnosis.excerpt import SUSPICIOUS
from qltui.runs.post_mortem import PostMortem, headline, of_logs, of_run
from qltui.ui import words
from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

QUIET_SECONDS = 5.0
"""A log of another program that has not grown for so long may have ended."""
END = 64 * 1024
"""Bytes of its end in which a failure leaves its words."""
NO_FAILURE = ("none", "user_interrupt")


class DiagnosisLine(Line):
    """Hidden until something is to be said. Logs are read in a thread, and each end of them once."""

    DEFAULT_CSS = """
    DiagnosisLine { height: auto; max-height: 2; padding: 0 1; display: none; }
    """

    class Known(Message):
        """An end was read."""

        def __init__(self, end: PostMortem) -> None:
            super().__init__()
            self.end = end

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._looked_at: object = None
        self._is_reading = False

    def look(self, run_path: Path, status: dict[str, Any], logs: Sequence[Path] | None) -> None:
        """Find out of what a run died, if it did and this is not known; ``logs`` are those of another program's run."""
        if self._is_reading:
            return
        if logs is None:
            end: object = None if words.is_live(status) else (status["state"], status["attempt"])
        else:
            end = ends_of(logs)
        if end == self._looked_at:
            return
        self._looked_at = end
        self.display = False
        if end is not None and (logs is None or any(map(ends_badly, logs))):
            self._is_reading = True
            self._read(run_path, logs)

    @work(thread=True, group="diagnosis", exit_on_error=False)
    def _read(self, run_path: Path, logs: Sequence[Path] | None) -> None:
        try:
            self.post_message(self.Known(of_run(RunDirectory(run_path)) if logs is None else of_logs(run_path, logs)))
        finally:
            self._is_reading = False

    @on(Known)
    def _show(self, event: Known) -> None:
        found = event.end.diagnosis
        self.display = found is not None and found.cause not in NO_FAILURE
        if found is not None:
            told = words.plain(found.title + headline(found)[len(found.title) :])
            head, key = ("▲ it failed: ", "bold $error"), ("d", "bold $accent")
            self.update(Content.assemble(head, (told, "bold"), ". Press ", key, " for why"))
        self.screen.refresh_bindings()


def ends_of(logs: Sequence[Path]) -> tuple[tuple[str, int], ...] | None:
    """How far logs go; None where there is none, or one has grown just now."""
    found = []
    for log in logs:
        try:
            told = log.stat()
        except OSError:
            continue
        if time.time() - told.st_mtime < QUIET_SECONDS:
            return None
        found.append((str(log), told.st_size))
    return tuple(found) or None


def ends_badly(log: Path) -> bool:
    """Whether a word of failures stands near the end of a log."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - END))
            end = file.read(END)
    except OSError:
        return False
    return any(word in end for word in SUSPICIOUS)
