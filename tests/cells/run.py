"""The parent: ``python -m cells.run``. Starts ranks, watches over them, merges what they measured into one file.

Exit code 0 when every cell passed or is refused by declaration, 1 otherwise.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cells.cells import Cell, all_cells
from cells.results import Results, loss_differences
from cells.scale import SCALES, Scale
from cells.verdict import complaints
from cells.watching import Outcome, watch
from engine.config import RunConfig
from engine.config.cells import refused
from engine.config.ranks import ONE_RANK
from engine.config.reading import read
from engine.events import write_json

ROOT = Path(__file__).parents[2]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cells.run", description="Prove the matrix of cells by running it.")
    parser.add_argument("--ranks", type=int, default=2, help="ranks, or GPUs (default 2)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--model", choices=tuple(SCALES), default="tiny", help="tiny, or 1b for GPUs")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="GLOB", help="cells whose name matches one")
    parser.add_argument("--matrix", action="store_true", help="leave options out")
    parser.add_argument("--out", type=Path, default=Path("results.json"), help="merged if it exists")
    parser.add_argument("--work", type=Path, help="folder for model, rows and runs (default: a temporary one)")
    parser.add_argument("--seconds", type=float, default=300, help="time a cell has before its ranks are ended")
    parser.add_argument("--shared", action="store_true", help="others use these devices: leave out speeds")
    parser.add_argument("--list", action="store_true", help="print the names of the cells and end")
    options = parser.parse_args(arguments)
    chosen = choose(options)
    if options.list:
        print(*(cell.name for cell in chosen), sep="\n")
        return 0
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
        return prove(chosen, options, options.work.absolute())
    with tempfile.TemporaryDirectory(prefix="cells-") as folder:
        return prove(chosen, options, Path(folder))


def choose(options: argparse.Namespace) -> list[Cell]:
    """The cells that were asked for and can run here."""
    return [
        cell for cell in all_cells()
        if any(fnmatch.fnmatch(cell.name, pattern) for pattern in options.only)
        and not (cell.option and options.matrix)
        and not (cell.needs_gpu and options.device == "cpu")
        and (options.ranks > 1 or cell.company == "single")
    ]  # fmt: skip


def prove(chosen: list[Cell], options: argparse.Namespace, folder: Path) -> int:
    """Run the cells that have no result yet; model, rows and runs lie in ``folder``."""
    scale = SCALES[options.model]
    made = subprocess.run(
        [sys.executable, "-m", "cells.scale", scale.name, str(folder)],
        env=environment(), stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    gpus: list[str] = json.loads(made.stdout.splitlines()[-1])
    devices = gpus[: options.ranks] if options.device == "cuda" else [cpu_name()] * options.ranks
    if len(devices) < options.ranks:
        sys.exit(f"error: --ranks {options.ranks}: there are {len(gpus)} GPUs; ask for as many, or use --device cpu.")
    results = Results(options.out, options.device, devices, scale.name)
    left = [cell for cell in chosen if cell.name not in results.settled()]
    print(f"{len(left)} of {len(chosen)} cells to run on {options.ranks} x {devices[0]}", flush=True)
    prover = Prover(scale, folder, options, results)
    for company in dict.fromkeys(cell.company for cell in left):
        prover.prove([cell for cell in left if cell.company == company])
    summarise(results, {cell.name for cell in chosen})
    return 0 if {cell.name for cell in chosen} <= results.settled() else 1


class Prover:
    """Runs cells in sets of ranks and judges them."""

    def __init__(self, scale: Scale, folder: Path, options: argparse.Namespace, results: Results) -> None:
        self._scale = scale
        self._folder = folder
        self._options = options
        self._results = results
        self._sets = 0

    def prove(self, cells: list[Cell]) -> None:
        """Run cells that share their processes; after one that failed, a new set of ranks goes on with the rest."""
        left: dict[str, Cell] = {}
        configs: dict[str, RunConfig] = {}
        for cell in cells:
            values = self._scale.values(cell, self._folder, self._options.device, self._options.ranks)
            config = read(values, where=cell.name, base=self._folder)
            if problems := refused(config):
                self._tell(cell, "refused", " ".join(problem.message for problem in problems), {})
                continue
            write_json(self._fresh(cell) / "run.yaml", values)  # JSON is YAML
            left[cell.name], configs[cell.name] = cell, config
        while left:
            self._sets += 1
            job = self._folder / f"job-{self._sets}"
            job.mkdir(exist_ok=True)
            write_json(job / "job.json", {"folders": [str(self._run_of(cell)) for cell in left.values()]})
            config = configs[next(iter(left))]
            for outcome in watch(job, config, self._options, environment()):
                self._judge(left.pop(outcome.folder.name), outcome)

    def _judge(self, cell: Cell, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._tell(cell, "failed", outcome.error, {})
            return
        wrong = list(complaints(cell, self._options.device, outcome.measured))
        if self._options.shared:
            outcome.measured["tokens_per_second"] = None
        self._tell(cell, "failed" if wrong else "passed", "; ".join(wrong), outcome.measured)

    def _tell(self, cell: Cell, result: str, reason: str, measured: dict[str, Any]) -> None:
        world_size = 1 if cell.strategy in ONE_RANK else self._options.ranks
        entry = self._results.add(cell, result, reason, world_size, measured)
        numbers = ""
        if measured:
            losses = " ".join(f"{float(loss):.4f}" for loss in entry["losses"])
            numbers = f" {entry['seconds']:5.1f} s  {losses}  resumed {'equal' if entry['resumed_equal'] else 'near'}"
            if entry["memory_peak"]:
                numbers += f"  {max(entry['memory_peak']) / 2**20:,.0f} MiB"
            if entry["tokens_per_second"]:
                numbers += f"  {entry['tokens_per_second']:,.0f} tok/s"
        print(f"{result:8} {cell.name:32}{numbers}" + (f"  {reason}" if reason else ""), flush=True)
        # A checkpoint of a whole model is gigabytes; what a failed cell said is kept.
        for big in ("checkpoints", "adapter", "model", "first-result") if result == "failed" else (".",):
            shutil.rmtree(self._run_of(cell) / big, ignore_errors=True)

    def _run_of(self, cell: Cell) -> Path:
        return self._folder / "runs" / cell.name

    def _fresh(self, cell: Cell) -> Path:
        folder = self._run_of(cell)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def summarise(results: Results, names: set[str]) -> None:
    """Counts, and how far losses are from those of one process alone."""
    chosen = [cell for cell in results.cells if cell["name"] in names]
    counts = {word: sum(cell["result"] == word for cell in chosen) for word in ("passed", "refused", "failed")}
    print(", ".join(f"{count} {word}" for word, count in counts.items()))
    for name, difference in sorted(loss_differences(results.cells).items(), key=lambda pair: -pair[1]):
        if name in names:
            print(f"  loss of {name} against single: {difference:.1e}")


def environment() -> dict[str, str]:
    """For our own processes: this checkout's packages, no hub, and CUDA sums that can be made repeatable."""
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8", **os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


def cpu_name() -> str:
    """The processor's model, as Linux names it."""
    lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return lines[0].partition(":")[2].strip() if lines else "CPU"


if __name__ == "__main__":
    sys.exit(main())
