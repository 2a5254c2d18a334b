"""What somebody asked of the running job through ``request.json``, agreed on by all ranks at the same step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.collective import sum_over_ranks, world
from engine.events import RunDirectory, read_json

if TYPE_CHECKING:
    import torch


class Requests:
    """Rank 0 reads the file, all ranks hear of it in one collective, so that none saves alone."""

    def __init__(self, run: RunDirectory, attempt: int, device: torch.device) -> None:
        self._path = run.request_json
        self._attempt = attempt
        self._device = device
        self._modified = 0
        self._done: set[str] = set()
        self._action = ""
        self.stop = False
        """A stop was agreed on; it stays agreed."""

    def poll(self) -> list[float]:
        """[stop, checkpoint] as flags to be summed over ranks; zeros on every rank but 0."""
        if world()[0] == 0:
            self._read()
        return [float(self._action == "stop"), float(self._action == "checkpoint")]

    def agree(self, flags: list[float]) -> bool:
        """Take summed flags of :meth:`poll`; true if a checkpoint is wanted now."""
        self.stop = self.stop or flags[0] > 0
        if flags[1] > 0:
            self._action = ""
        return flags[1] > 0

    def stop_wanted(self) -> bool:
        """Poll and agree at once: for places that have no other collective to travel with."""
        if not self.stop:
            self.agree([sum_over_ranks(self.poll()[:1], self._device)[0], 0.0])
        return self.stop

    def _read(self) -> None:
        try:
            modified = self._path.stat().st_mtime_ns
        except OSError:
            return
        if modified == self._modified:
            return
        request = read_json(self._path) or {}
        self._modified = modified
        identifier = str(request.get("id", modified))
        # A stop of an earlier attempt must not stop the one that resumed it.
        if request.get("attempt", self._attempt) == self._attempt and identifier not in self._done:
            self._done.add(identifier)
            self._action = str(request.get("action", ""))
