"""What will end or slow a live run if it goes on as it does: verdicts from how telemetry and steps went. Pure.

Each names the cause it would be diagnosed by, once it came to that.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from qltui.runs.recent import gpu_name
from qltui.runs.verdict import Verdict
from qltui.words import duration, number, share, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qltui.runs.health import Signs
    from qltui.runs.state import Point

CREEP_SETTLES, CREEP_SECONDS = 300.0, 900.0
"""Seconds at the beginning that do not count, as the allocator still grows, and seconds to be seen after them."""
CREEP_POINTS, CREEP_LEAST = 200, 80
"""Samples that are looked at of each curve, and those there have to be."""
CREEP_SHARE = 0.02
"""Of the memory there is: less grows by chance as longer rows come by."""
QUARTERS = 4
LITTLE_SHARE, LITTLE_SECONDS = 0.05, 10.0
"""Host memory left, as a share of all, and how long it has to have been so little: a checkpoint passes through it."""
SWAP_SECONDS, SWAP_BYTES = 600.0, 1 << 30
"""Swap that fills by so much in so long is in the way of the run; what was put there before and stays is not."""
CHECKPOINT_MARGIN = 64 << 20
"""Bytes that events, logs and samples take until then."""
SLOWER, SLOWER_STEPS, SLOWER_SECONDS = 1.2, 200, 600.0
"""Times the first quarter's seconds a token, of at least so many steps in at least so long."""
SLOWER_WINDOW = 2000
"""Steps that are looked at."""


class Rise(NamedTuple):
    """How much something grew from one quarter of the time that is looked at to the last."""

    grown: float
    seconds: float

    def seconds_to(self, amount: float) -> float:
        """Seconds in which it grows by ``amount`` more, as it does."""
        return max(0.0, amount) * self.seconds / self.grown


def forewarnings(signs: Signs) -> Iterator[Verdict]:
    """All that are due."""
    for look in (_disk, _host_memory, _creeping_gpu, _creeping_rank, _swapping, _slowing):
        yield from look(signs)


def rise(points: Sequence[Point]) -> Rise | None:
    """Whether the lowest value rises from quarter to quarter, after the beginning; None if it doesn't."""
    if len(points) < CREEP_LEAST:
        return None
    begin = points[0][0] + CREEP_SETTLES
    counted = [point for point in points[:: max(1, len(points) // CREEP_POINTS)] if point[0] >= begin]
    if len(counted) < CREEP_LEAST or counted[-1][0] - counted[0][0] < CREEP_SECONDS:
        return None
    fourth = len(counted) // QUARTERS
    floors = [min(value for _, value in counted[i * fourth : (i + 1) * fourth]) for i in range(QUARTERS)]
    if not all(after > before for before, after in pairwise(floors)):
        return None
    return Rise(floors[-1] - floors[0], (counted[-1][0] - counted[0][0]) * (QUARTERS - 1) / QUARTERS)


def _by_name(signs: Signs, field: str) -> Iterator[tuple[str, str, Sequence[Point]]]:
    """(host, whose, curve) of every curve of a field; the host is empty where there is but one."""
    for key, points in signs.telemetry.items():
        where, _, what = key.rpartition(".")
        if what == field and points:
            host, _, whose = where.rpartition("/")
            yield host, whose, points


def _when(signs: Signs, seconds: float) -> tuple[str, bool]:
    """When something that takes so long happens, with the step it happens near; and whether the run is over before."""
    left, pace = signs.status.get("eta_seconds"), signs.recent.step_time
    near = f", near step {signs.status['step'] + seconds / pace:,.0f}" if pace else ""
    over = left is not None and seconds > left
    return f"in about {duration(seconds)}{'' if over else near}", over


def _creeping_gpu(signs: Signs) -> Iterator[Verdict]:
    totals = {(gpu.get("host") or "", gpu_name(gpu, place)): gpu.get("memory_total")
              for place, gpu in enumerate(signs.gpus)}  # fmt: skip
    for host, whose, points in _by_name(signs, "memory_used"):
        if not whose.startswith("gpu"):
            continue
        name = whose.removeprefix("gpu")
        total = next((size for (where, one), size in totals.items() if one == name and host in ("", where)), None)
        grows = rise(points)
        if grows is None or grows.grown <= CREEP_SHARE * (total or points[0][1]):
            continue
        yield _creeps(signs, f"memory of GPU {name}", grows, total and total - points[-1][1], "cuda_oom")
        return


def _creeping_rank(signs: Signs) -> Iterator[Verdict]:
    """Host memory of ranks: on CPU all they have, on GPUs what loaders and caches keep."""
    found = {whose.removeprefix("rank"): grows for _, whose, points in _by_name(signs, "memory")
             if whose.startswith("rank") and (grows := rise(points))}  # fmt: skip
    total, left = _host_total(signs), _newest(signs, "memory_left")
    found = {rank: grows for rank, grows in found.items() if grows.grown > CREEP_SHARE * (total or grows.grown)}
    if found:
        rank = max(found, key=lambda one: found[one].grown / found[one].seconds)
        together = sum(grows.grown / grows.seconds for grows in found.values())
        all_of_them = Rise(together * found[rank].seconds, found[rank].seconds)
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield _creeps(signs, f"host memory of rank {rank}{more}", all_of_them, left, "host_oom_sigkill")


def _creeps(signs: Signs, what: str, grows: Rise, left: float | None, cause: str) -> Verdict:
    evidence = f"{size(grows.grown)} more in {duration(grows.seconds)}"
    finding = f"{what} creeps up"
    if left is not None:
        when, over = _when(signs, grows.seconds_to(left))
        evidence += f"; as it goes it is full {when}{', after the end of the run' if over else ''}"
        finding += "" if over else " and will not last"
    return Verdict(
        "creeping", "warning", finding, evidence,
        f"save a checkpoint{signs.key('k')}. Something keeps tensors from step to step, or rows grow longer", cause,
    )  # fmt: skip


def _host_total(signs: Signs) -> float | None:
    """Host memory there is: the container's limit, where there is one."""
    return signs.host.get("memory_limit") or signs.host.get("memory_total")


def _newest(signs: Signs, field: str) -> float | None:
    """The newest value of a curve of the host; the lowest of several hosts'."""
    return min((points[-1][1] for _, whose, points in _by_name(signs, field) if whose == "host"), default=None)


def _host_memory(signs: Signs) -> Iterator[Verdict]:
    total = _host_total(signs)
    for host, _, points in _by_name(signs, "memory_left"):
        on = f" of {host}" if host else ""
        lately = [left for at, left in points if at >= points[-1][0] - LITTLE_SECONDS]
        if total and len(lately) >= LITTLE_SECONDS / 2 and max(lately) < LITTLE_SHARE * total:
            yield Verdict(
                "host memory", "error", f"host memory{on} is nearly used up",
                f"{size(lately[-1])} left of {size(total)}",
                f"save a checkpoint{signs.key('k')}: the kernel kills a process when none is left. End what else runs"
                " there, or lower data.num_workers", "host_oom_sigkill",
            )  # fmt: skip
            return
        falls = rise([(at, -left) for at, left in points])
        if total and falls and falls.grown > CREEP_SHARE * total:
            when, over = _when(signs, falls.seconds_to(points[-1][1]))
            if not over:
                yield Verdict(
                    "host memory", "warning", f"host memory{on} falls and will not last",
                    f"{size(falls.grown)} less in {duration(falls.seconds)}, {size(points[-1][1])} left: none {when}",
                    f"save a checkpoint{signs.key('k')}, and see what else grows there (top, sorted by RES)",
                    "host_oom_sigkill",
                )  # fmt: skip
                return


def _swapping(signs: Signs) -> Iterator[Verdict]:
    for host, _, points in _by_name(signs, "swap_used"):
        lately = [used for at, used in points if at >= points[-1][0] - SWAP_SECONDS]
        grown = lately[-1] - min(lately)
        if grown >= SWAP_BYTES:
            on = f" {host}" if host else ""
            yield Verdict(
                "swapping", "warning", f"the host{on} swaps", f"{size(grown)} more on disk within"
                f" {duration(SWAP_SECONDS)}, {size(lately[-1])} in all",
                "steps wait for the disk: end what else runs there, or lower data.num_workers", "host_oom_sigkill",
            )  # fmt: skip
            return


def _disk(signs: Signs) -> Iterator[Verdict]:
    needs, free = signs.host.get("checkpoint_bytes"), signs.host.get("checkpoints_disk_free")
    if needs and free is not None and free < needs + CHECKPOINT_MARGIN:
        yield Verdict(
            "disk", "error", "the disk won't hold the next checkpoint",
            f"{size(free)} free, the newest took {size(needs)}",
            "make room on that disk: a checkpoint that can't be written ends the run", "disk_full",
        )  # fmt: skip


def _slowing(signs: Signs) -> Iterator[Verdict]:
    """Time a token, since longer rows take longer by right."""
    speeds = [point for point in signs.series.get("tokens_per_second", ())[-SLOWER_WINDOW:] if point[1] > 0]
    walls = dict(signs.series.get("wall", ())[-SLOWER_WINDOW:])
    if len(speeds) < SLOWER_STEPS:
        return
    first, last = speeds[0][0], speeds[-1][0]
    if walls.get(last, 0.0) - walls.get(first, walls.get(last, 0.0)) < SLOWER_SECONDS:
        return
    fourth = len(speeds) // QUARTERS
    paces = [median(speed for _, speed in speeds[i * fourth : (i + 1) * fourth]) for i in range(QUARTERS)]
    if all(after < before for before, after in pairwise(paces)) and paces[0] >= SLOWER * paces[-1]:
        yield Verdict(
            "slowing", "warning", f"steps get slower: {share(paces[0] / paces[-1] - 1)} since step {first:,.0f}",
            f"{number(paces[0])} → {number(paces[-1])} tokens/s, falling from quarter to quarter",
            "see clocks and temperature of its GPUs, what else runs there, and whether memory creeps",
        )  # fmt: skip
