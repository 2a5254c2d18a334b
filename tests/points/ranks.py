"""One rank of several points: ``python -m points.ranks JOB.json``; see :mod:`cells.ranks`.

A point's run is the engine's own but for its end: neither checkpoint nor result is written, since no peak of a step
depends on them and whole models fill disks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cells.ranks import main  # isort: skip - quiets libraries before they come

import torch
from cells.life import events_of, of_kind, peak_by_phase

from engine import checkpoint
from engine.collective import gathered, world
from engine.events import RunDirectory
from engine.session import Session
from engine.train import Rank
from points.capped import hold_to_the_limit

at_the_end: dict[str, int] = {}
"""The allocator's figures once training is over."""


def measure(run: RunDirectory, forget: Callable[[], None]) -> dict[str, Any]:
    """Live the point in ``run``; what it took in bytes, of the rank that took most."""
    Rank(run, None).once()
    seen = gathered({**at_the_end, "host": host_peak(run, world()[0], world()[1])})
    forget()
    events = [events_of(run, 1, number) for number in range(world()[1])]
    steps = of_kind(events[0], "step")
    return {
        "phases": peak_by_phase(events),
        **{name: max(one[name] for one in seen) for name in seen[0]},
        "step_times": [round(event["step_time"], 4) for event in steps],
        "tokens": int(steps[-1]["tokens"]),
        "losses": [event["loss"] for event in steps],
        "modules": of_kind(events[0], "model")[0]["parameters"],
    }


def look_at_the_allocator() -> None:
    """Note bytes torch has reserved, and those of the GPU taken beside it (by this process, if it is alone)."""
    at_the_end.update(reserved=0, outside=0)
    if torch.cuda.is_initialized():
        free, whole = torch.cuda.mem_get_info()
        reserved = torch.cuda.memory_reserved()
        at_the_end.update(reserved=reserved, outside=whole - free - reserved)


def host_peak(run: RunDirectory, rank: int, world_size: int) -> int:
    """Highest resident set this rank's events tell."""
    return max(event["host_rss"] for event in of_kind(events_of(run, 1, rank), "memory"))


def keep_nothing(session: Session) -> Path:
    """In the place of saving: all steps are done, and nothing is freed yet."""
    look_at_the_allocator()
    return session.run.path / "nothing"


if __name__ == "__main__":
    checkpoint.save = checkpoint.save_result = keep_nothing  # type: ignore[assignment]
    hold_to_the_limit()
    main(measure)
