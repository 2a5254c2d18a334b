"""How tight a GPU may be: ``python -m points.capped --work FOLDER --out r.json --only 'Qwen*' ...``, on GPUs.

Each point is run again with torch's allocator held to a little more than what the point had allocated at most: to
less and less, until it no longer goes through. What it needs beyond its peak is lost to fragmentation.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
from pathlib import Path
from typing import Any

from cells.run import environment
from cells.watching import watch

from engine.events import write_json
from engine.versions import versions
from points.compare import Met, met
from points.models import write_rows
from points.points import Point
from points.run import folder_of, gpu_names, make_models

RATIOS = (1.10, 1.05, 1.03, 1.02, 1.01)
"""Of the bytes the point had allocated at most, the widest first."""
RESULTS = Path(__file__).with_name("capped.json")


def main() -> None:
    parser = argparse.ArgumentParser(prog="points.capped", description="Find how much memory points need at least.")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="GLOB", help="points whose name matches one")
    parser.add_argument("--out", type=Path, default=RESULTS, help="results; merged if it exists")
    parser.add_argument("--work", type=Path, required=True, help="folder for models, rows and runs")
    parser.add_argument("--seconds", type=float, default=180, help="time a run has before its ranks are ended")
    parser.add_argument("--fixed", action="store_true", help="with torch's own default, segments of fixed size")
    parser.add_argument("--lane", default="0", help="name of this process among several with one --work")
    options = parser.parse_args()
    options.device = "cuda"
    options.work = options.work.absolute()
    options.work.mkdir(parents=True, exist_ok=True)
    found = json.loads(options.out.read_text("utf-8")) if options.out.exists() else []
    done = {(entry["name"], entry["fixed"]) for entry in found}
    for one in met():
        named = any(fnmatch.fnmatch(one.point.name, glob) for glob in options.only)
        if named and (one.point.name, options.fixed) not in done:
            found.append(narrowed(one, options))
            lines = ",\n".join(map(json.dumps, found))
            options.out.write_text(f"[\n{lines}\n]\n", "utf-8")
            print(json.dumps(found[-1]), flush=True)


def narrowed(one: Met, options: argparse.Namespace) -> dict[str, Any]:
    """The bytes a point went through with, and those it did not, with what it said."""
    options.ranks = one.point.ranks
    make_models([one.point.model], options)
    write_rows(one.point, options.work)
    passed, failed, reason = [], None, ""
    for limit in (int(one.measured * ratio) for ratio in RATIOS):
        if reason := runs_within(one, limit, options):
            failed = limit
            break
        passed.append(limit)
    return {
        "name": one.point.name, "peak": one.measured, "fixed": options.fixed, "passed": passed, "failed": failed,
        "reason": reason.partition(". GPU")[0], "devices": gpu_names()[: one.point.ranks], "versions": versions(),
    }  # fmt: skip


def runs_within(one: Met, limit: int, options: argparse.Namespace) -> str:
    """Run a point within ``limit`` bytes of torch's allocator; why it failed, '' if it did not."""
    given = {"POINT_MEMORY_LIMIT": str(limit)}
    if options.fixed:
        given |= {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:False"}
    return run_alone(one.point, options, given, f"lane-{options.lane}-{limit}")[1]


def run_alone(
    point: Point, options: argparse.Namespace, given: dict[str, str], name: str
) -> tuple[dict[str, Any], str]:
    """Run a point in ranks of its own with these variables beside; what it measured, and why it failed, '' if not.

    ``name`` tells this run of the point from others.
    """
    folder = folder_of(point, options)
    folder = folder.with_name(f"{folder.name}-{name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "run.yaml", point.document(options.work, options.device))
    job = options.work / f"job-{folder.name}"
    job.mkdir(exist_ok=True)
    write_json(job / "job.json", {"folders": [str(folder)]})
    config = point.config(options.work, options.device)
    outcomes = list(watch(job, config, options, environment() | given, "points.ranks"))
    if not outcomes:
        return {}, "the ranks ended without a word"
    return outcomes[0].measured, outcomes[0].error or ""


def hold_to_the_limit() -> None:
    """In a rank: let torch's allocator reserve no more than the limit in the environment, if one is there."""
    import torch

    limit = os.environ.get("POINT_MEMORY_LIMIT")
    if limit is not None:
        whole = torch.cuda.get_device_properties(0).total_memory
        for gpu in range(torch.cuda.device_count()):
            torch.cuda.set_per_process_memory_fraction(int(limit) / whole, gpu)


if __name__ == "__main__":
    main()
