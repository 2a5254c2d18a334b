"""Predicted beside measured: ``python -m points.compare`` writes ``comparison.json`` from ``measured.json``."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from points.points import Point, all_points, job, predicted
from qltui.advice.speed import step_time
from qltui.facts.architecture import find
from qltui.facts.machine import parse

MEASURED = Path(__file__).with_name("measured.json")
COMPARISON = Path(__file__).with_name("comparison.json")
CAPPED = Path(__file__).with_name("capped.json")
TIMED = Path(__file__).with_name("timed.json")
IN_A_STEP = ("load", "forward", "backward", "optimizer")
"""Phases that can have the peak of a point: none evaluates or saves."""


class Met(NamedTuple):
    """A point and what it took."""

    point: Point
    measured: int
    """Bytes torch had allocated at most, on the rank that took most."""
    entry: dict[str, Any]
    """All that was measured of it (tests/points/ranks.py)."""


def met() -> list[Met]:
    """Every point that was measured, in the order of the points."""
    runs = json.loads(MEASURED.read_bytes())["runs"]
    entries = {entry["name"]: entry for run in runs for entry in run["cells"]}
    return [
        Met(point, peak(entries[point.name]), entries[point.name]) for point in all_points() if point.name in entries
    ]


def peak(entry: dict[str, Any]) -> int:
    """Bytes torch had allocated at most in a step."""
    return max(entry["phases"].get(phase, 0) for phase in IN_A_STEP)


def compared(one: Met) -> dict[str, Any]:
    """A line of the file that plot and table are made from."""
    from points.models import transformers_config
    from points.others import estimates

    point = one.point
    said = estimates(point.config(Path("/")), transformers_config(point.model), point.ranks)
    return {
        "name": point.name, "model": point.model, "method": point.values["method.name"],
        "strategy": point.values["strategy.name"], "ranks": point.ranks, "held_out": point.held_out,
        "measured": one.measured, "predicted": predicted(point).peak,
        "others": {estimate.tool: estimate.bytes_per_gpu for estimate in said},
    }  # fmt: skip


def main() -> None:
    lines = ",\n".join(json.dumps(compared(one)) for one in met())
    COMPARISON.write_text(f'{{"points": [\n{lines}\n]}}\n', "utf-8")
    # Reserved was read after much was freed in the first runs, and then is below the peak.
    reserved = [one.entry["reserved"] / one.measured - 1 for one in met() if one.entry["reserved"] > one.measured]
    host = [one.entry["host"] / 2**30 for one in met()]
    print(f"reserved beyond the peak: median {median(reserved):.1%}, most {max(reserved):.1%} of {len(reserved)} runs")
    print(f"host memory of a rank: {min(host):.1f} GiB, median {median(host):.1f}, most {max(host):.1f}")
    tell_how_tight()
    tell_how_long()


def tell_how_tight() -> None:
    """How little more than their planned peak runs went through with, which were held to less and less."""
    peaks = {point.name: predicted(point).peak for point in all_points()}
    held = json.loads(CAPPED.read_text("utf-8"))
    for kind, fixed in (("of fixed size", True), ("that grow", False)):
        runs = [one for one in held if one["fixed"] is fixed]
        enough = {one["name"]: min(one["passed"], default=0) - peaks[one["name"]] for one in runs}
        within = [name for name, more in enough.items() if -peaks[name] < more <= 0.03 * peaks[name]]
        failed = sum((one["failed"] or 0) > 1.08 * peaks[one["name"]] for one in runs)
        print(f"segments {kind}: {failed} of {len(runs)} runs failed with 8 % more than planned,", end=" ")
        print(f"{len(within)} went through with at most 3 % more", end="")
        others = [f"{name} with {more / 2**20:.0f} MiB" for name, more in enough.items() if name not in within]
        print("" if fixed else f"; and {', '.join(others)}")


def tell_how_long() -> None:
    """How well the time of a step is met."""
    points = {point.name: point for point in all_points()}
    errors = []
    for run in json.loads(TIMED.read_text("utf-8"))["runs"]:
        machine = parse(f"{len(run['devices'])}x{run['devices'][0].split()[1]}")
        for timed in run["cells"]:
            point = points[timed["name"]]
            time = step_time(job(point, find(point.model)), machine)
            errors.append((abs(time.total / median(timed["step_times"][1:-1]) - 1), time.computing > time.launching))
    for decides, computing in (("the GPU", True), ("the host", False)):
        found = [error for error, is_computing in errors if is_computing is computing]
        said = f"median {median(found):.0%}, worst {max(found):.0%} of {len(found)}"
        print(f"time of a step where {decides} decides: {said}")
    print(f"time of a step: median {median(error for error, _ in errors):.0%} of {len(errors)}")


if __name__ == "__main__":
    main()
