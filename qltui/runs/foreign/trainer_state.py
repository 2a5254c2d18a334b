"""``trainer_state.json`` of Hugging Face's Trainer: written with every checkpoint, and at the end by many scripts."""

from __future__ import annotations

import contextlib
import json
import os

from qltui.runs.foreign.files import Figures, as_count, as_number

NAME = "trainer_state.json"
ONE_CHECKPOINT_SECONDS = 3600.0
LARGEST = 256 * 1024 * 1024
"""Bytes of a state that are read."""


def states(folder: str) -> list[str]:
    """Every state in an output folder: at its root and in its checkpoints."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith("checkpoint-")]
    except OSError:
        return []
    paths = [os.path.join(folder, NAME), *(os.path.join(folder, name, NAME) for name in names)]
    return [path for path in paths if os.path.isfile(path)]


class TrainerState(Figures):
    """The newest state of an output folder."""

    kind = "Trainer's state"

    def __init__(self, path: str) -> None:
        """``path`` is the folder, or one state alone."""
        super().__init__(path)
        self._read: tuple[str, int, int] | None = None

    def poll(self) -> bool:
        """Read the newest state if it is another than before; one that is half-written leaves what is known."""
        newest = self.newest()
        if newest is None or newest == self._read:
            return True
        try:
            if newest[2] > LARGEST:
                raise ValueError
            with open(newest[0], "rb") as file:
                state = json.loads(file.read())
            if not isinstance(state, dict):
                raise ValueError
        except OSError as error:
            self.problem = f"{newest[0]} cannot be read: {error.strerror}"
            return True
        except (ValueError, RecursionError):
            self.problem = f"{newest[0]} is not whole, or no state of a Trainer; it is tried again when it changes"
            self._read = newest
            return True
        self.forget()
        self._read = newest
        self.patience = self._patience()
        self._take(state)
        return True

    def _states(self) -> list[str]:
        return states(self.path) if os.path.isdir(self.path) else [self.path]

    def newest(self) -> tuple[str, int, int] | None:
        """The state written last: path, time in ns, size. None if there is none."""
        found = []
        for path in self._states():
            with contextlib.suppress(OSError):
                stat = os.stat(path)
                found.append((stat.st_mtime_ns, path, stat.st_size))
        return (max(found)[1], max(found)[0], max(found)[2]) if found else None

    def _patience(self) -> float:
        """Twice the time between the two newest checkpoints; an hour where one is all there is."""
        times = sorted((os.stat(path).st_mtime for path in self._states() if os.path.isfile(path)), reverse=True)
        return 2 * (times[0] - times[1]) if len(times) > 1 else ONE_CHECKPOINT_SECONDS

    def _take(self, state: dict[str, object]) -> None:
        self.step = as_count(state.get("global_step")) or 0
        self.total_steps = as_count(state.get("max_steps")) or None
        self.epoch = as_number(state.get("epoch"))
        history = state.get("log_history")
        for figures in history if isinstance(history, list) else []:
            step = as_count(figures.get("step")) if isinstance(figures, dict) else None
            if step is not None:
                self.take(step, figures)
        self.is_finished = self.is_finished or (self.total_steps is not None and self.step >= self.total_steps)
