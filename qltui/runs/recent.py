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
    own: float = 1.0
    """How many times as long as the others it computes where it waits for none of them; 1 where that is not known."""
    own_seconds: float | None = None
    """Median seconds of that in a step."""


class Recent:
    """Follows a run's statuses; a new attempt begins anew."""

    def __init__(self) -> None:
        self._begin(None)

    def _begin(self, attempt: int | None) -> None:
        self._attempt = attempt
        self._steps: dict[int, deque[tuple[float, float]]] = {}
        self._newest: dict[int, int] = {}
        self._own: dict[int, deque[tuple[int, float, float]]] = {}
        """Of each rank (step, seconds it computed by itself, those a position)."""
        self._sampled: float | None = None
        self.throttled: dict[int, tuple[int, list[str]]] = {}
        """Of each GPU that is held back now, by its place: samples in a row, and the reasons."""

    def take(self, status: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]], sampled: float | None) -> None:
        """Take a status, with the newest sample of its GPUs, taken at the wall time ``sampled``."""
        if status["attempt"] != self._attempt:
            self._begin(status["attempt"])
        for row in status["ranks"]:
            self._take_own(row["rank"], row.get("own"))
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

    def _take_own(self, rank: int, own: Mapping[str, Any] | None) -> None:
        if own is None:
            return
        known = self._own.setdefault(rank, deque(maxlen=SAMPLES))
        if not known or known[-1][0] != own["step"]:
            known.append((own["step"], own["seconds"], own["seconds"] / (own["positions"] or 1)))

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

        Where ranks wait for each other in every step, all take the same time. What one waits longer for its data than
        the others is then what all would save without it, and so is what it computes longer where it waits for nobody.
        """
        seen = {rank: steps for rank, steps in self._steps.items() if len(steps) >= FEWEST}
        if len(seen) < 2:
            return {}
        took = {rank: median(seconds for seconds, _ in steps) for rank, steps in seen.items()}
        waited = {rank: median(wait for _, wait in steps) for rank, steps in seen.items()}
        usual, wait = median_low(took.values()), median_low(waited.values())
        alone = self._own_times()
        found = {}
        for rank, seconds in took.items():
            own, own_seconds = alone.get(rank, (1.0, None))
            without = max(min(usual, (seconds - max(0.0, waited[rank] - wait)) / own), seconds / 100)
            found[rank] = Pace(seconds / without, seconds, waited[rank], own, own_seconds)
        return found

    def _own_times(self) -> dict[int, tuple[float, float]]:
        """How many times as long as the others each rank computes by itself, and its seconds of that in a step.

        A rank with longer rows takes longer for a step, one with shorter rows for a position: slow is who does both.
        """
        seen = {rank: samples for rank, samples in self._own.items() if len(samples) >= FEWEST}
        if len(seen) < 2:
            return {}
        seconds = {rank: median(took for _, took, _ in samples) for rank, samples in seen.items()}
        paces = {rank: median(pace for _, _, pace in samples) for rank, samples in seen.items()}
        usual, pace = median_low(seconds.values()), median_low(paces.values())
        return {rank: (max(1.0, min(seconds[rank] / usual, paces[rank] / pace)), seconds[rank]) for rank in seen}


def gpu_name(gpu: Mapping[str, Any], place: int) -> str:
    """What a GPU is called: its index on its host, else its place."""
    index = gpu.get("index")
    return str(place if index is None else index)
