"""Tables of causes in ``docs/diagnosis.md``: ``PYTHONPATH=tests python -m support.causes_page docs/diagnosis.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from cells.pages import with_part

from qltui.runs.diagnosis.causes import (
    CAUSES,
    NONE,
    UNKNOWN,
    adapters,
    checkpoints,
    data,
    deepspeed,
    distributed,
    environment,
    hub,
    memory,
    process,
    quantization,
    training,
)
from qltui.runs.diagnosis.causes.cause import Cause

BEGIN, END = "<!-- causes: written by `make docs` -->", "<!-- end of causes -->"
AREAS = {
    "Memory and disks": memory, "Several processes": distributed, "Ends from outside": process,
    "GPUs, drivers and libraries": environment, "Quantised weights": quantization, "Adapters": adapters,
    "Training": training, "Data": data, "Hub": hub, "Checkpoints": checkpoints, "DeepSpeed": deepspeed,
}  # fmt: skip


def table() -> str:
    """A table for each area, with what is said of each cause and what is advised first."""
    areas = [(title, module.CAUSES) for title, module in AREAS.items()]
    assert sorted(cause.id for _, causes in areas for cause in causes) == sorted(cause.id for cause in CAUSES)
    return "\n".join(
        line for title, causes in [*areas, ("Otherwise", (UNKNOWN, NONE))] for line in _area(title, causes)
    )


def _area(title: str, causes: tuple[Cause, ...]) -> Iterator[str]:
    yield f"\n**{title}**\n"
    yield "| id | cause | what is said of it | first of the fixes |"
    yield "|---|---|---|---|"
    for cause in causes:
        first = cause.fixes[0] if cause.fixes else None
        what = [f"{field}={value}" for field, value in first.patch] or [first.command] if first else []
        how = f": `{', '.join(what)}`" if any(what) else ""
        cells = (f"`{cause.id}`", cause.title, cause.says, f"{first.title}{how}" if first else "–")
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def with_causes(page: str) -> str:
    """The page with its tables made anew."""
    return with_part(page, BEGIN, END, table())


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_causes(file.read_text("utf-8")), "utf-8")
