"""Memory that runs were measured to take, as the plan is compared with (docs/memory.md).

``measured.json`` beside this file is written by ``python -m points.near`` from what ``tests/points`` measured.
"""

from __future__ import annotations

import json
from functools import cache
from math import log
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("measured.json")


class Measurement(NamedTuple):
    """One run on GPUs, and the most that torch had allocated on the rank that took most."""

    model: str
    strategy: str
    method: str
    ranks: int
    rows: int
    """Of a micro batch."""
    tokens: int
    """Of each row."""
    checkpointed: str
    """``training.gradient_checkpointing``."""
    allocated: int
    """Bytes."""
    hardware: str
    torch: str
    date: str


def near(strategy: str, method: str, size: int | None, most: int = 4) -> list[Measurement]:
    """Runs of the same strategy and method, those nearest in memory to ``size`` bytes first."""
    same = [one for one in measurements() if (one.strategy, one.method) == (strategy, method)]
    if size:
        same.sort(key=lambda one: abs(log(one.allocated / size)))
    return same[:most]


@cache
def measurements() -> list[Measurement]:
    """All of them, in the order they were run."""
    return [
        Measurement._make([*point, run["hardware"], run["torch"], run["date"]])
        for run in json.loads(FILE.read_bytes())["runs"]
        for point in run["points"]
    ]
