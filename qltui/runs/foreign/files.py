"""What every file of a foreign run is to its reader: figures by step, as far as it tells any."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from qltui.runs.state import SERIES_LIMIT, Point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CHUNK = 1024 * 1024
LONGEST = 64 * 1024
"""Bytes of a line that are waited for; what is longer is no line of figures."""

SERIES_OF = {
    "loss": "loss", "eval_loss": "eval_loss", "learning_rate": "learning_rate", "lr": "learning_rate",
    "grad_norm": "grad_norm", "tokens_per_second": "tokens_per_second", "throughput": "tokens_per_second",
    "tokens_per_second_per_gpu": "tokens_per_second", "tokens/train_per_sec_per_gpu": "tokens_per_second",
}  # fmt: skip
"""Our series, by the names of Trainer, TRL, LLaMA-Factory and Axolotl."""


class Figures(ABC):
    """A file's figures; ``poll`` brings them up to date."""

    kind = ""
    """What the file is, for people."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.series: dict[str, list[Point]] = {}
        self.step = 0
        self.total_steps: int | None = None
        self.epoch: float | None = None
        self.eta_seconds: float | None = None
        self.elapsed_seconds: float | None = None
        self.is_finished = False
        """It says that training has ended."""
        self.patience = 0.0
        """Seconds it may stay as it is while the run goes on, as far as is known."""
        self.problem = ""
        """Why it could not be read, or not wholly."""

    @abstractmethod
    def poll(self) -> bool:
        """Read what is new; False if there is more. Never raises."""

    def forget(self) -> None:
        """Begin anew: the file is another one now."""
        self.__init__(self.path)  # type: ignore[misc]

    def take(self, step: float, figures: Mapping[str, Any]) -> None:
        """Add the figures of a step; steps done again after a checkpoint replace those before."""
        for name, value in figures.items():
            if (series := SERIES_OF.get(name)) and (found := as_number(value)) is not None:
                points = self.series.setdefault(series, [])
                while points and points[-1][0] >= step:
                    points.pop()
                points.append((step, found))
                if len(points) > SERIES_LIMIT:
                    del points[: SERIES_LIMIT // 2 : 2]
        self.is_finished = "train_runtime" in figures


class GrowingFile(Figures):
    """A file that is appended to, line by line."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._offset = 0
        self._rest = b""

    def poll(self) -> bool:
        """Take what was appended, at most a chunk; a file that shrank is read again from its start."""
        try:
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._offset:
                    self.forget()
                file.seek(self._offset)
                data = file.read(CHUNK)
        except OSError as error:
            self.problem = f"{self.path} cannot be read: {error.strerror}"
            return True
        self.problem = ""
        self._offset += len(data)
        if data:
            *lines, rest = (self._rest + data).split(b"\n")
            self._rest = rest[-LONGEST:]
            for line in lines:
                self.take_line(line.decode("utf-8", "replace"))
            self.take_begun(self._rest.decode("utf-8", "replace"))
            self.settle()
        return self._offset >= size

    @abstractmethod
    def take_line(self, line: str) -> None:
        """Take a whole line."""

    def take_begun(self, line: str) -> None:
        """Take the last line, which may go on; what it tells is told again by the whole one."""

    def settle(self) -> None:
        """All that is new was taken."""


def as_number(value: Any) -> float | None:
    """A number, also as text (Transformers 5 prints it so), 'nan' and 'inf' included; None where there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def as_count(value: Any) -> int | None:
    """A whole number from 0; None where there is none."""
    found = as_number(value)
    return int(found) if found is not None and 0 <= found < 2**53 else None


def seconds(text: Any) -> float | None:
    """A duration as programs print it: 03:10, 1:02:03, '2 days, 1:02:03'; None where it is none."""
    days, _, clock = str(text).rpartition(",")
    parts = clock.strip().split(":")
    if not 2 <= len(parts) <= 3 or not all(part.isdigit() for part in parts):
        return None
    in_day = sum(int(part) * 60**power for power, part in enumerate(reversed(parts)))
    whole_days = days.split()[0] if days.split() else "0"
    return in_day + 86400.0 * int(whole_days) if whole_days.isdigit() else None
