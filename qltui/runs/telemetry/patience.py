"""Asks the GPU driver without ever waiting long for it: after an Xid error a call may block for minutes."""

from __future__ import annotations

import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from qltui.runs.telemetry.gpus import UNKNOWN, GpuSampler

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

WAIT_SECONDS = 2.0
"""Time a call waits for an answer, which normally comes within milliseconds; none while an older question is open."""
SILENT_SECONDS = 5.0
"""Age beyond which the last answer is not taken for what is so now."""
LASTING = ("uuid", "index", "name", "pci_bus_id", "memory_total", "sm_clock_max_mhz", "mig")
"""Fields of a row that stay true while nobody answers."""


class PatientSampler:
    """A :class:`GpuSampler` in a thread of its own, with its newest answer.

    The thread is a daemon: whoever ends while the driver blocks does not wait for it.
    """

    def __init__(self, names: Sequence[str] | None) -> None:
        """As ``GpuSampler``; nothing is asked yet."""
        self._names = names
        self._sampler: GpuSampler | None = None
        self._pids: Collection[int] = ()
        self._told = ""
        self._asked, self._answered = threading.Event(), threading.Event()
        self._answered.set()
        self._open_since = self._answered_at = time.monotonic()
        self._rows = [{"uuid": name, "lost": False, "mig": name.startswith("MIG-"), **UNKNOWN} for name in names or ()]
        if names is None or names:
            threading.Thread(target=self._work, name="gpus", daemon=True).start()

    def rows(self, pids: Collection[int] = ()) -> list[dict[str, Any]]:
        """The newest row of each GPU. Of one for which the driver owes an answer ``silent`` is the seconds since.

        Then nothing that changes is known of any of them: the one that blocks keeps the others from being asked.
        """
        if self._names is not None and not self._names:
            return []
        patience = 0.0
        if self._answered.is_set():
            patience = WAIT_SECONDS
            self._pids, self._open_since = pids, time.monotonic()
            self._answered.clear()
            self._asked.set()
        if self._answered.wait(patience) or time.monotonic() - self._answered_at < SILENT_SECONDS:
            return [dict(row) for row in self._rows]
        silent = time.monotonic() - self._open_since
        blocking = self._sampler.asking if self._sampler else None  # None: the driver itself, before any GPU
        return [_unknown(row, silent if blocking in (None, place) else None) for place, row in enumerate(self._rows)]

    def _work(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            try:
                if self._sampler is None:
                    self._sampler = GpuSampler(self._names)
                self._rows = self._sampler.rows(self._pids)
            except Exception as error:  # a driver's bug costs samples, and is told in the supervisor's log
                if repr(error) != self._told:
                    self._told = repr(error)
                    traceback.print_exc()
            self._answered_at = time.monotonic()
            self._answered.set()


def _unknown(row: dict[str, Any], silent: float | None) -> dict[str, Any]:
    return {**UNKNOWN, "lost": False, **{key: row[key] for key in LASTING}, "silent": silent}
