"""What each GPU of a run, or each CPU rank, uses now: ranks' own words and samples of their GPUs put together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qltui.runs.recent import Pace


class Device(NamedTuple):
    """One GPU, or one rank without. Memory in bytes; None is what nothing tells."""

    place: int
    """Among all of the run, from 0."""
    node: int
    rank: int | None
    """None of a GPU that no rank has spoken for."""
    number: int | None = None
    """Of the GPU on its host; None of a rank whose GPU, if it has one, was not sampled."""
    name: str = ""
    lost: bool = False
    """Whether the driver counts it as lost."""
    silent: float | None = None
    """Seconds for which the driver has owed an answer; None while it answers."""
    allocated: int | None = None
    """Tensors, by the rank's word."""
    reserved: int | None = None
    """What the rank's allocator holds, those included."""
    peak: int | None = None
    used: int | None = None
    """Of the whole GPU, by the driver's word."""
    others: int | None = None
    """Of it what processes hold that are none of the run's."""
    total: int | None = None
    utilization: float | None = None
    """Percent."""
    power: float | None = None
    """Watts."""
    power_limit: float | None = None
    temperature: float | None = None
    """Degrees Celsius."""
    throttle: tuple[str, ...] = ()
    """Why the driver holds its clock back."""
    step_time: float | None = None
    """Seconds."""
    pace: Pace | None = None
    """Beside the other ranks."""

    @property
    def held(self) -> int | None:
        """Bytes that are in use, as far as anything tells."""
        known = [size for size in (self.used, self.reserved, self.allocated) if size is not None]
        return max(known) if known else None

    @property
    def parts(self) -> tuple[int, int, int]:
        """Bytes allocated, held beside that by the run, and held by others or nobody knows whom."""
        allocated = self.allocated or 0
        reserved = max(self.reserved or 0, allocated)
        used = max(self.used or 0, reserved)
        others = min(self.others, used - reserved) if self.others is not None else used - reserved
        return allocated, used - others - allocated, others


def devices(
    status: Mapping[str, Any],
    gpus: Sequence[Mapping[str, Any]],
    host: Mapping[str, Any],
    paces: Mapping[int, Pace],
) -> list[Device]:
    """A row for each GPU of a run's newest sample, in its order; on CPU one for each rank.

    A rank's GPU is that at its place among the GPUs of its host, which is how GPUs are given to ranks.
    """
    resident = {row.get("rank"): row.get("memory") for row in host.get("ranks") or []}
    shares: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
    for row in status["ranks"]:
        shares += [(row, part) for part in row.get("gpus") or [row]]
    free = list(gpus)
    hosts = {row.get("host") for row in status["ranks"]}
    found = []
    for place, (row, part) in enumerate(shares):
        gpu = _taken(free, row.get("host"), hosts)
        used_by_rank = None if gpus else resident.get(row["rank"])
        found.append(_device(place, row, part, gpu or {}, paces.get(row["rank"]), used_by_rank))
    return found + [
        _device(len(found) + place, {"node": found[-1].node if found else 0}, {}, gpu, None, None)
        for place, gpu in enumerate(free)
    ]


def _taken(free: list[Mapping[str, Any]], host: str | None, hosts: set[str | None]) -> Mapping[str, Any] | None:
    """The next GPU of a host, taken out of ``free``; one of a host that no rank is on is anybody's."""
    for place, gpu in enumerate(free):
        if host is None or gpu.get("host") == host or gpu.get("host") not in hosts:
            return free.pop(place)
    return None


def _device(
    place: int,
    row: Mapping[str, Any],
    part: Mapping[str, Any],
    gpu: Mapping[str, Any],
    pace: Pace | None,
    resident: int | None,
) -> Device:
    index = gpu.get("index")
    allocated = part.get("memory_allocated")
    return Device(
        place=place,
        node=row.get("node") or 0,
        rank=row.get("rank"),
        number=(place if index is None else index) if gpu else None,
        name=str(gpu.get("name") or ""),
        lost=bool(gpu.get("lost")),
        silent=gpu.get("silent"),
        allocated=resident if allocated is None else allocated,
        reserved=part.get("memory_reserved"),
        peak=part.get("memory_peak"),
        used=gpu.get("memory_used"),
        others=gpu.get("other_memory"),
        total=gpu.get("memory_total"),
        utilization=gpu.get("utilization"),
        power=gpu.get("power_watts"),
        power_limit=gpu.get("power_limit_watts"),
        temperature=gpu.get("temperature"),
        throttle=tuple(map(str, gpu.get("throttle") or ())),
        step_time=row.get("step_time"),
        pace=pace,
    )


def measured_peak(rows: Sequence[Device], telemetry: Mapping[str, Sequence[tuple[float, float]]]) -> int | None:
    """The most that the run took of any GPU, as the driver showed it; else the highest peak of a rank's own word."""
    seen = []
    for row in rows:
        history = telemetry.get(f"gpu{row.number}.memory_used") if row.number is not None else None
        if history:
            seen.append(int(max(value for _, value in history)) - (row.others or 0))
    return max(seen or [row.peak for row in rows if row.peak], default=None)
