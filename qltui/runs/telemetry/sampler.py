"""Takes samples of this host, and keeps them: the newest as they are, all of them in levels."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING

from engine.events import read_json, write_json
from engine.events.processes import host_name
from qltui.runs.levels import Ladder
from qltui.runs.telemetry import host
from qltui.runs.telemetry.history import OLD, points_of
from qltui.runs.telemetry.patience import PatientSampler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

RAW_BYTES = 16 * 1024 * 1024
"""Size at which the file of samples takes the place of the one before: an hour and more of eight GPUs."""


class Sampler:
    """What GPUs, host and ranks use now."""

    def __init__(self, folder: Path, gpus: Sequence[str] | None) -> None:
        """Sample the GPUs of these names (None: all), and the host; :meth:`write` writes into ``folder``."""
        self._host = host_name()
        self._run_dir = folder.parent
        self._path = folder / f"{self._host}.jsonl"
        self._gpus = PatientSampler(gpus)
        self._own_kills = host.OwnKills()
        self._ladder: Ladder | None = None
        self._checkpoints: dict[str, int] = {}
        """Bytes of the newest one, by its name."""

    def sample(self, ranks: Mapping[int, int]) -> dict[str, Any]:
        """One sample; ``ranks`` is the process id of each rank of this host."""
        rows = self._gpus.rows(set(ranks.values()))
        for place, row in enumerate(rows):  # GPUs are given to ranks in order; the only rank of a host takes them all
            row["ranks"] = sorted(ranks) if len(ranks) == 1 else sorted(ranks)[place : place + 1]
        return {
            "wall": time.time(),
            "host": self._host,
            **host.sample(self._run_dir),
            "own_out_of_memory_kills": self._own_kills.count(ranks.values()),
            "checkpoint_bytes": self._checkpoint_bytes(),
            "ranks": [{"rank": rank, "memory": host.resident(pid)} for rank, pid in sorted(ranks.items())],
            "gpus": rows,
        }

    def _checkpoint_bytes(self) -> int | None:
        """Bytes of the newest checkpoint, which the next one will take again; None before there is one."""
        newest = host.newest_checkpoint(self._run_dir)
        if newest is not None and newest.name not in self._checkpoints:
            self._checkpoints = {newest.name: host.folder_bytes(newest)}
        return next(iter(self._checkpoints.values()), None)

    def write(self, ranks: Mapping[int, int]) -> None:
        """Take a sample and keep it; a full disk costs the sample, not the run. Levels wait for :meth:`keep`."""
        sample = self.sample(ranks)
        with contextlib.suppress(OSError):
            self._append(json.dumps(sample) + "\n")
            self._fold(sample)

    def _append(self, line: str) -> None:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(line)
            size = file.tell()
        if size > RAW_BYTES:
            os.replace(self._path, f"{self._path}{OLD}")

    def _fold(self, sample: Mapping[str, Any]) -> None:
        """Into the levels, which go on where those of the attempt before ended."""
        folder, name = self._run_dir / "levels", f"telemetry-{self._host}"
        if self._ladder is None:
            try:
                self._ladder = Ladder(folder, name, read_json(folder / f"{name}.json"))
            except (AttributeError, KeyError, TypeError, ValueError, OSError):
                self._ladder = Ladder(folder, name)
        wall = max(sample["wall"], self._ladder.last + 1e-3)  # a clock that was set back takes nothing back
        self._ladder.add(wall, points_of(sample))

    def keep(self) -> None:
        """Write the levels so far; on a full disk readers go on from what was written before."""
        if self._ladder is None:
            return
        folder, name = self._run_dir / "levels", f"telemetry-{self._host}"
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            self._ladder.flush()
            write_json(folder / f"{name}.json", self._ladder.describe())
            self._ladder.tidy()
