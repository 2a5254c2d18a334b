"""The run directory: which file lies where, and how small JSON files in it are written. Standard library alone.

The directory is the truth about a run: the engine and its supervisor write it, everyone else only reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path

from engine.events.event_log import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

BEAT_SECONDS = 2.0
"""Time between heartbeats of a node, where a run has several."""

LARGEST_JSON = 32 * 1024 * 1024
"""Bytes; a file that is larger is cut, and so no JSON."""


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file at once: readers see the old one or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, ensure_ascii=False, indent=1)
            file.write("\n")
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if it is missing, unreadable, larger than any of ours or no object."""
    try:
        with open(path, "rb") as file:
            return parse(file.read(LARGEST_JSON))
    except OSError:
        return None


class Attempt:
    """One try at a run: ``attempts/<n>/``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = int(path.name)
        self.launch_json = path / "launch.json"
        self.exits_json = path / "exits.json"
        self.diagnosis_json = path / "diagnosis.json"
        self.events_dir = path / "events"
        self.logs_dir = path / "logs"
        self.nodes_dir = path / "nodes"
        """Where a run has several nodes: of each who it is, its heartbeat, how its ranks ended."""

    def node_json(self, node: int) -> Path:
        return self.nodes_dir / f"{node}.json"

    def node_beat(self, node: int) -> Path:
        return self.nodes_dir / f"{node}.beat.json"

    def node_exits(self, node: int) -> Path:
        return self.nodes_dir / f"{node}.exits.json"

    def events(self, rank: int) -> Path:
        return self.events_dir / f"rank{rank}.jsonl"

    def log(self, rank: int) -> Path:
        return self.logs_dir / f"rank{rank}.log"


class RunDirectory:
    """Names of everything in a run directory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.id = self.path.name
        self.run_yaml = self.path / "run.yaml"
        self.accelerate_yaml = self.path / "accelerate.yaml"
        self.deepspeed_json = self.path / "deepspeed.json"
        self.plan_json = self.path / "plan.json"
        self.status_json = self.path / "status.json"
        self.request_json = self.path / "request.json"
        self.telemetry = self.path / "telemetry"
        self.attempts_dir = self.path / "attempts"
        self.checkpoints = self.path / "checkpoints"
        self.data = self.path / "data"
        """Tokenised rows, so that a resumed run sees the very same data."""
        self.base_json = self.path / "base.json"
        """Which files the run's base was loaded from, and what it was computed in."""
        self.adapter = self.path / "adapter"
        self.model = self.path / "model"
        self.launcher_lock = self.path / "launcher.lock"
        self.supervisor_log = self.path / "supervisor.log"

    def attempts(self) -> list[Attempt]:
        """All attempts, oldest first."""
        try:
            numbers = sorted(int(name) for name in os.listdir(self.attempts_dir) if name.isdigit())
        except OSError:
            return []
        return [Attempt(self.attempts_dir / str(number)) for number in numbers]

    def last_attempt(self) -> Attempt | None:
        attempts = self.attempts()
        return attempts[-1] if attempts else None

    def new_attempt(self) -> Attempt:
        """Make the next attempt's folder; two who try at once get two numbers."""
        self.attempts_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            last = self.last_attempt()
            attempt = Attempt(self.attempts_dir / str(last.number + 1 if last else 1))
            try:
                attempt.path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            attempt.events_dir.mkdir()
            attempt.logs_dir.mkdir()
            return attempt

    def saved_adapters(self) -> dict[int | None, Path]:
        """Folders of saved adapters by the step of their checkpoint, oldest first; last, under None, the run's own."""
        steps = {
            int(folder.parent.name.removeprefix("step-")): folder
            for folder in self.checkpoints.glob("step-*/adapter") if folder.parent.name.removeprefix("step-").isdigit()
        }  # fmt: skip
        found: dict[int | None, Path] = {step: steps[step] for step in sorted(steps)}
        return found | ({None: self.adapter} if self.adapter.is_dir() else {})

    @contextlib.contextmanager
    def claim(self, node: int = 0) -> Iterator[None]:
        """Be the one launcher of this run on a node, until the block or the process ends.

        Raises:
            RunIsLive: another process launches it at the moment.
        """
        path = self.launcher_lock if node == 0 else self.path / f"launcher-{node}.lock"
        with open(path, "w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunIsLive(f"run {self.id} is live: stop it, or wait until it ends") from None
            yield


class RunIsLive(RuntimeError):
    """Somebody launches this run already."""
