"""A rehearsal in a process of its own: it needs neither this process nor its terminal, and can be asked how it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.events import read_json
from qltui.configs.writing import run_yaml
from qltui.runs.rehearsal import RehearsalRefused
from qltui.runs.sanitise import clean
from qltui.runs.store import runs_home

if TYPE_CHECKING:
    from engine.config import RunConfig


class RehearsalJob:
    """``qltui rehearse`` of a configuration, what it says in files of a folder; the folder stays as its record."""

    def __init__(self, config: RunConfig) -> None:
        """Start it.

        Raises:
            RehearsalRefused: the state folder can't be written, or no process started.
        """
        self.name = config.name
        home = runs_home().parent / "rehearsals"
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix=f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}-", dir=home))
            file = self.folder / "run.yaml"
            file.write_text(run_yaml(config), "utf-8")
            self._process = self._start(file)
        except OSError as error:
            advice = "Free some space or set QLTUI_HOME to a folder you can write."
            raise RehearsalRefused(f"The rehearsal can't be started in {home}: {error.strerror}. {advice}") from None
        self._begun = time.monotonic()
        self._ended: float | None = None
        self.is_cancelled = False
        """Whether it was asked to end."""

    def _start(self, file: Path) -> subprocess.Popen[bytes]:
        with open(self._outcome, "wb") as outcome, open(self._progress, "wb") as progress:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "qltui", "rehearse", str(file), "--json"],
                stdin=subprocess.DEVNULL, stdout=outcome, stderr=progress, start_new_session=True,
                env={**os.environ, "PYTHONSAFEPATH": "1"},
            )  # fmt: skip

    @property
    def _outcome(self) -> Path:
        return self.folder / "outcome.json"

    @property
    def _progress(self) -> Path:
        return self.folder / "progress.log"

    @property
    def is_running(self) -> bool:
        """Whether it still goes on."""
        if self._ended is None and self._process.poll() is not None:
            self._ended = time.monotonic()
        return self._ended is None

    @property
    def seconds(self) -> float:
        """Since it was started, until it ended."""
        return (self._ended or time.monotonic()) - self._begun

    @property
    def lines(self) -> list[str]:
        """What it has said so far."""
        try:
            return [clean(line) for line in self._progress.read_text("utf-8", "replace").splitlines()]
        except OSError:
            return []

    @property
    def outcome(self) -> dict[str, Any] | None:
        """What ``qltui rehearse --json`` says of it; None before it has ended, and where it was cancelled."""
        return None if self.is_running else read_json(self._outcome)

    def cancel(self) -> None:
        """Have it end its run and remove what it made; it takes some seconds."""
        if self.is_running:
            self.is_cancelled = True
            self._process.send_signal(signal.SIGINT)
