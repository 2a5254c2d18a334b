"""A run of another program as the monitor shows runs: what its files tell, and this machine's GPUs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qltui.runs.follow import LOG_LINES, POLL_SECONDS, Snapshot
from qltui.runs.foreign.finding import find
from qltui.runs.foreign.printed import PrintedLog
from qltui.runs.logs import RunLogs
from qltui.runs.state import LIVE, RunState
from qltui.runs.telemetry import Sampler
from qltui.words import duration

if TYPE_CHECKING:
    from qltui.runs.foreign.files import Figures
    from qltui.runs.state import Point

QUIET_SECONDS = 300
"""Without a file growing, after which a run that has not said it ended is no longer taken for alive; where there are
checkpoints alone, later: they tell how far apart they are."""
SAMPLE_SECONDS = 1.0
SAMPLES_KEPT = 3600
LOOK_SECONDS = 10
"""Between two looks for files that were not there."""
TELEMETRY = ("memory_used", "utilization", "power_watts", "temperature")


class ForeignFollower:
    """Reads on where the last poll ended, as :class:`qltui.runs.follow.Follower` does."""

    def __init__(self, path: Path) -> None:
        """Follow what is at ``path``.

        Raises:
            NoRun: nothing is there that can be followed.
        """
        self.path = path.absolute()
        self._files = find(self.path)
        logs = [file.path for file in self._files if isinstance(file, PrintedLog)]
        self._logs = RunLogs(dict(enumerate(logs)))
        self._seen: dict[str, tuple[int, int]] = {}
        self._grown: float | None = None
        """When a file was seen to grow, by this host's own clock; None if that was before we looked."""
        self._looked = time.monotonic()
        self._sampler = Sampler(self.path / "telemetry", None)  # nothing is written there
        self._sample: dict[str, Any] = {}
        self._sampled = 0.0
        self._telemetry: dict[str, list[Point]] = {}

    def poll(self) -> Snapshot:
        """What is known now."""
        caught_up = self._read()
        self._take_sample()
        status = self._status(caught_up)
        elapsed = [file.elapsed_seconds for file in self._files if file.elapsed_seconds is not None]
        return Snapshot(
            status=status,
            series={**RunState().series, **self._series()},
            log=self._logs.read(LOG_LINES),
            warnings=[file.problem for file in self._files if file.problem],
            gpus=self._sample.get("gpus") or [],
            host={key: value for key, value in self._sample.items() if key != "gpus"},
            elapsed_seconds=max(elapsed, default=None),
            caught_up=caught_up,
            telemetry=self._telemetry,
            sample_age=time.time() - self._sample["wall"] if self._sample else None,
            logs=[Path(file.path) for file in self._files if isinstance(file, PrintedLog)],
        )

    def _read(self) -> bool:
        """Read what is new, as far as the time of a poll goes; True if nothing is left."""
        if self.path.is_dir() and time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            self._look_again()
        deadline = time.monotonic() + POLL_SECONDS
        for file in self._files:
            self._notice(file)
            while not file.poll():
                if time.monotonic() > deadline:
                    return False
        return True

    def _look_again(self) -> None:
        """Take files that have come since: the first checkpoint, a log."""
        known = {file.path for file in self._files}
        try:
            new = [file for file in find(self.path) if file.path not in known]
        except LookupError:
            return
        had_log = any(isinstance(file, PrintedLog) for file in self._files)
        self._files += [file for file in new if not (had_log and isinstance(file, PrintedLog))]
        logs = [file.path for file in self._files if isinstance(file, PrintedLog)]
        self._logs.follow(dict(enumerate(logs)))

    def _notice(self, file: Figures) -> None:
        """Remember when the file grew."""
        newest = _newest(file)
        if newest is None:
            return
        if file.path in self._seen and self._seen[file.path] != newest:
            self._grown = time.monotonic()
        self._seen[file.path] = newest

    def _quiet_seconds(self) -> float:
        """For how long nothing has been written: by what was seen, and before that by the files' own times."""
        by_files = time.time() - max((mtime for mtime, _ in self._seen.values()), default=0) / 1e9
        if self._grown is None:
            return max(0.0, by_files)
        return min(time.monotonic() - self._grown, max(0.0, by_files))

    def _series(self) -> dict[str, list[Point]]:
        """Of every series the file's that tells most of it: the one that has come furthest, then the longest."""
        series: dict[str, list[Point]] = {}
        for file in self._files:
            for name, points in file.series.items():
                known = series.get(name)
                if points and (not known or (points[-1][0], len(points)) > (known[-1][0], len(known))):
                    series[name] = points
        return series

    def _status(self, caught_up: bool) -> dict[str, Any]:
        """A status as of our own runs, with what is known."""
        newest = max(self._files, key=lambda file: file.step)
        state, reason = self._state(newest, caught_up)
        series = self._series()
        last = {name: points[-1][1] for name, points in series.items() if points}
        return {
            **RunState().status(),
            "id": self.path.name, "name": self.path.name, "run_dir": str(self.path), "audits": {},
            "state": state, "reason": reason, "exit_code": {"finished": 0, "lost": 1}.get(state),
            "step": newest.step, "total_steps": newest.total_steps, "epoch": newest.epoch,
            "loss": last.get("loss"), "eval_loss": last.get("eval_loss"),
            "tokens_per_second": last.get("tokens_per_second"),
            "eta_seconds": self._eta() if state in LIVE else None,
            "updated": max((mtime / 1e9 for mtime, _ in self._seen.values()), default=None),
        }  # fmt: skip

    def _state(self, newest: Figures, caught_up: bool) -> tuple[str, str | None]:
        quiet = self._quiet_seconds()
        if not caught_up:
            return "loading", None
        if newest.is_finished:
            return "finished", None
        if quiet >= max(QUIET_SECONDS, *(file.patience for file in self._files)):
            where = newest.path if os.path.isfile(newest.path) else self.path
            reason = f"Nothing new for {duration(quiet)} in {where}. It may have ended, or wait: files tell no more."
            return "lost", reason
        return ("training" if newest.step else "starting"), None

    def _eta(self) -> float | None:
        told = [file.eta_seconds for file in self._files if file.eta_seconds is not None]
        return min(told, default=None)

    def _take_sample(self) -> None:
        if self._sample and time.monotonic() - self._sampled < SAMPLE_SECONDS:
            return
        self._sampled = time.monotonic()
        self._sample = self._sampler.sample({})
        for gpu in self._sample["gpus"]:
            for key in TELEMETRY:
                if gpu.get(key) is not None:
                    points = self._telemetry.setdefault(f"gpu{gpu.get('index')}.{key}", [])
                    points.append((self._sample["wall"], gpu[key]))
                    del points[:-SAMPLES_KEPT]


def _newest(file: Figures) -> tuple[int, int] | None:
    """When the file was written, in ns, and its size."""
    from qltui.runs.foreign.trainer_state import TrainerState

    if isinstance(file, TrainerState):
        newest = file.newest()
        return (newest[1], newest[2]) if newest else None
    try:
        stat = os.stat(file.path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
