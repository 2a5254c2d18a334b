"""What a status and a sample tell of one moment only, kept for a while: paces of ranks, throttling of GPUs. Pure."""

from __future__ import annotations

from collections import deque
from statistics import median, median_low
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SAMPLES = 20
"""Steps kept of each rank."""
FEWEST = 5
"""Steps of a rank below which nothing is said of its pace."""


class Pace(NamedTuple):
    """How fast a rank goes, beside the others."""

    times: float
    """Its step time as a multiple of the others'."""
    seconds: float
    """Median seconds of a step."""
    data_seconds: float
    """Median seconds of it waiting for data."""


class Recent:
    """Follows a run's statuses; a new attempt begins anew."""

    def __init__(self) -> None:
        self._begin(None)

    def _begin(self, attempt: int | None) -> None:
        self._attempt = attempt
        self._steps: dict[int, deque[tuple[float, float]]] = {}
        self._newest: dict[int, int] = {}
        self._sampled: float | None = None
        self.throttled: dict[int, tuple[int, list[str]]] = {}
        """Of each GPU that is held back now, by its place: samples in a row, and the reasons."""

    def take(self, status: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]], sampled: float | None) -> None:
        """Take a status, with the newest sample of its GPUs, taken at the wall time ``sampled``."""
        if status["attempt"] != self._attempt:
            self._begin(status["attempt"])
        for row in status["ranks"]:
            rank, step, seconds = row["rank"], row["step"], row.get("step_time")
            if not seconds or self._newest.get(rank) == step:
                continue
            if rank in self._newest:  # the first one seen may be the first of all, which takes its time
                self._steps.setdefault(rank, deque(maxlen=SAMPLES)).append((seconds, row.get("data_time") or 0.0))
            self._newest[rank] = step
        if sampled is None or sampled != self._sampled:
            self._sampled = sampled
            self.throttled = {
                place: (self.throttled.get(place, (0, []))[0] + 1, list(map(str, gpu["throttle"])))
                for place, gpu in enumerate(gpus)
                if gpu.get("throttle")
            }

    @property
    def step_time(self) -> float | None:
        """Seconds of a step of rank 0; None before there are any."""
        steps = self._steps.get(0)
        return median(seconds for seconds, _ in steps) if steps else None

    @property
    def steps_seen(self) -> int:
        """Steps of rank 0 that ``data_share`` is of."""
        return len(self._steps.get(0, ()))

    @property
    def data_share(self) -> float | None:
        """Share of rank 0's time waiting for data; None while too few steps were seen."""
        steps = self._steps.get(0, ())
        return sum(wait for _, wait in steps) / sum(took for took, _ in steps) if len(steps) >= FEWEST else None

    def paces(self) -> dict[int, Pace]:
        """The pace of each rank beside the median; empty while too few steps were seen, and of one rank alone.

        Where ranks wait for each other in every step, all take the same time: what one waits longer for its data than
        the others is then what all would save without it.
        """
        seen = {rank: steps for rank, steps in self._steps.items() if len(steps) >= FEWEST}
        if len(seen) < 2:
            return {}
        took = {rank: median(seconds for seconds, _ in steps) for rank, steps in seen.items()}
        waited = {rank: median(wait for _, wait in steps) for rank, steps in seen.items()}
        usual, wait = median_low(took.values()), median_low(waited.values())
        found = {}
        for rank, seconds in took.items():
            without = max(min(usual, seconds - max(0.0, waited[rank] - wait)), seconds / 100)
            found[rank] = Pace(seconds / without, seconds, waited[rank])
        return found


def gpu_name(gpu: Mapping[str, Any], place: int) -> str:
    """What a GPU is called: its index on its host, else its place."""
    index = gpu.get("index")
    return str(place if index is None else index)
