"""Measure what points take: ``python -m points.run --out r.json --only 'Llama*' ...``, on GPUs.

Resumable: points with a result are left out, and a file from elsewhere is merged with ``python -m cells.results``.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cells.results import read_runs, run_like, take_over, write_runs
from cells.run import cpu_name, environment
from cells.watching import visible_gpus, watch

from engine.events import write_json
from engine.versions import versions
from points.compare import peak
from points.models import write_rows
from points.points import STEPS, Point, all_points, predicted

KIND = "points"


def main() -> int:
    parser = argparse.ArgumentParser(prog="points.run", description="Measure what runs take on GPUs.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="GLOB", help="points whose name matches one")
    parser.add_argument("--out", type=Path, required=True, help="results; merged if it exists")
    parser.add_argument("--work", type=Path, required=True, help="folder for models, rows and runs")
    parser.add_argument("--seconds", type=float, default=180, help="time a point has before its ranks are ended")
    parser.add_argument("--alone", action="store_true", help="nothing else runs on these GPUs: times count")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of each run; more for times (default {STEPS})")
    parser.add_argument("--largest-first", action="store_true", help="else the smallest first")
    parser.add_argument("--lane", default="0", help="name of this process among several with one --work")
    options = parser.parse_args()
    options.work = options.work.absolute()
    options.work.mkdir(parents=True, exist_ok=True)
    runs = read_runs(options.out)
    chosen = [point for point in all_points() if any(fnmatch.fnmatch(point.name, glob) for glob in options.only)]
    chosen.sort(key=lambda point: predicted(point).peak, reverse=options.largest_first)
    for ranks in (1, 2):
        options.ranks = ranks
        wanted = [point for point in chosen if point.ranks == ranks]
        if wanted:
            devices = gpu_names()[:ranks] if options.device == "cuda" else [cpu_name()] * ranks
            kind = {"device": options.device, "devices": devices, "model": KIND, "versions": versions()}
            run = run_like(runs, kind)
            run["date"] = time.strftime("%Y-%m-%d")
            done = {entry["name"] for entry in run["cells"] if entry["result"] == "passed"}
            measure([point for point in wanted if point.name not in done], run, runs, options)
    return 0


def measure(points: list[Point], run: dict[str, Any], runs: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Run points that need as many ranks; after one that failed, new ranks go on with the rest."""
    left = {point.name: point for point in points}
    make_models(sorted({point.model for point in points}), options)
    for point in points:
        write_rows(point, options.work, options.steps)
        folder = folder_of(point, options)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(folder / "run.yaml", point.document(options.work, options.device, options.steps))
    sets = 0
    while left:
        job = options.work / f"job-{options.lane}-x{options.ranks}-{(sets := sets + 1)}"
        job.mkdir(exist_ok=True)
        write_json(job / "job.json", {"folders": [str(folder_of(point, options)) for point in left.values()]})
        config = next(iter(left.values())).config(options.work, options.device)
        for outcome in watch(job, config, options, environment(), "points.ranks"):
            point = left.pop(outcome.folder.name)
            entry = {
                "name": point.name, "model": point.model, "ranks": point.ranks, "values": point.values,
                "alone": options.alone, "result": "failed" if outcome.error else "passed",
                "reason": outcome.error or "", **outcome.measured,
            }  # fmt: skip
            take_over(run, [entry])
            write_runs(options.out, runs)
            print(told(point, entry), flush=True)
            shutil.rmtree(outcome.folder / "data", ignore_errors=True)


def told(point: Point, entry: dict[str, Any]) -> str:
    """A line for one result."""
    if entry["result"] == "failed":
        return f"failed   {point.name}  {entry['reason']}"
    taken, planned = peak(entry), predicted(point).peak
    return (
        f"{planned / max(taken, 1) - 1:+7.1%}  {point.name:70} {taken / 2**30:6.2f} GiB, planned"
        f" {planned / 2**30:6.2f},"
        f" reserved {entry['reserved'] / max(taken, 1):.3f}, {entry['step_times'][-1]:.2f} s"
    )


def folder_of(point: Point, options: argparse.Namespace) -> Path:
    """The run directory of a point."""
    place: Path = options.work / "runs" / point.name
    return place


def make_models(models: list[str], options: argparse.Namespace) -> None:
    """In a process of its own, so that this one needs neither torch nor a GPU."""
    command = [sys.executable, "-m", "points.models", str(options.work), *models]
    subprocess.run(command, env=environment(), check=True)


def gpu_names() -> list[str]:
    """Of the GPUs this process may use."""
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=index,name", "--format=csv,noheader"], stdout=subprocess.PIPE, check=True, text=True
    )
    named = dict(line.split(", ", 1) for line in asked.stdout.splitlines())
    return [named[index] for index in visible_gpus() if index in named]


if __name__ == "__main__":
    print(json.dumps({"points": len(all_points())}))
    sys.exit(main())
