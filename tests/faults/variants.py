"""The kept logs as other programs would show them: cut at the front, or with something before every line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

LOGS = Path(__file__).parents[1] / "diagnosis_logs"
LAST_LINES = 40
START = 20 * 3600 + 53 * 60  # of the day, in seconds, for the times put before lines


class Variant(NamedTuple):
    log: str
    """File in diagnosis_logs."""
    name: str
    """Of the variant; ``as it came`` for the log itself."""
    text: bytes
    label: dict[str, Any]


def before_each(prefix: Callable[[int], str]) -> Callable[[bytes], bytes]:
    """Puts ``prefix(line's number)`` before every line; a progress bar's returns stay within theirs."""

    def put(log: bytes) -> bytes:
        lines = log.split(b"\n")
        last = [lines.pop()] if not lines[-1] else []
        return b"\n".join([prefix(number).encode() + line for number, line in enumerate(lines)] + last)

    return put


def clock(number: int) -> str:
    """Ten lines a second."""
    seconds = START + number // 10
    return f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def last_lines(log: bytes) -> bytes:
    return b"".join(log.splitlines(keepends=True)[-LAST_LINES:])


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "as it came": lambda log: log,
    "last lines": last_lines,
    "rank": before_each(lambda _: "[rank0]: "),
    "tee": before_each(lambda _: "[default0]:"),
    "slurm": before_each(lambda _: "0: "),
    "journald": before_each(lambda number: f"Nov 22 {clock(number)} node-1 python[4242]: "),
    "kubernetes": before_each(lambda number: f"2026-11-22T{clock(number)}.{number % 10}12345678Z stderr F "),
}


def variants() -> Iterator[Variant]:
    """Every log in every way in which its label still holds.

    What a cut took away cannot be found, so a cut without the text that tells the cause is left out. A cut may have
    lost the rank too, and a prefix that names rank 0 on every line contradicts the log: labels of both name no rank.
    """
    labels = json.loads((LOGS / "labels.json").read_text(encoding="utf-8"))
    for log, label in labels.items():
        whole = (LOGS / log).read_bytes()
        for name, way in WAYS.items():
            text = way(whole)
            if name == "last lines" and label["shows"].encode() not in text:
                continue
            tells_rank = name not in ("last lines", "rank", "tee", "slurm")
            yield Variant(log, name, text, label if tells_rank else {**label, "rank": None})
