"""The file results go to: runs on one kind of machine with one set of versions, each a list of cells.

``python -m cells.results INTO FILE...`` merges files; newer results take the place of older ones of the same machine
and versions.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from cells.cells import Cell
from engine.events import read_json
from engine.versions import versions

SCHEMA_VERSION = 1
KEY = ("device", "devices", "model", "versions")
"""What tells one run from another."""

Run = dict[str, Any]


class Results:
    """A results file, and in it the run on this machine, written after every cell."""

    def __init__(self, path: Path, device: str, devices: list[str], model: str) -> None:
        """``device`` is cpu or cuda, ``devices`` the name of each rank's, ``model`` the name of the scale."""
        self._path = path
        self._runs = read_runs(path)
        self._run = run_like(self._runs, {"device": device, "devices": devices, "model": model, "versions": versions()})

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Results of this machine's run, those of earlier calls included."""
        cells: list[dict[str, Any]] = self._run["cells"]
        return cells

    def settled(self) -> set[str]:
        """Names of cells that need not be run again; failed ones do."""
        return {cell["name"] for cell in self.cells if cell["result"] != "failed"}

    def add(self, cell: Cell, result: str, reason: str, world_size: int, measured: dict[str, Any]) -> dict[str, Any]:
        """Write a cell's result, in the place of an earlier one; returns it."""
        entry = {
            "name": cell.name, "strategy": cell.strategy.value, "method": cell.method.value, "task": cell.task.value,
            "option": cell.option, "options": cell.overrides, "world_size": world_size, "result": result,
            "reason": reason, **measured,
        }  # fmt: skip
        take_over(self._run, [entry])
        self._run["date"] = time.strftime("%Y-%m-%d")
        write_runs(self._path, self._runs)
        return entry


def read_runs(path: Path) -> list[Run]:
    """The runs in a results file; none if there is no such file yet."""
    document = read_json(path)
    if document is None and path.exists():
        sys.exit(f"error: {path} is no results file; give another as --out.")
    return [] if document is None else list(document["runs"])


def write_runs(path: Path, runs: list[Run]) -> None:
    """Replace a results file at once, a line for each cell."""
    texts = []
    for run in runs:
        head = json.dumps({key: value for key, value in run.items() if key != "cells"}).removesuffix("}")
        texts.append(f'{head}, "cells": [\n' + ",\n".join(json.dumps(cell) for cell in run["cells"]) + "\n]}")
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(f'{{"schema_version": {SCHEMA_VERSION}, "runs": [\n' + ",\n".join(texts) + "\n]}\n", "utf-8")
    aside.replace(path)


def run_like(runs: list[Run], wanted: Run) -> Run:
    """The run among ``runs`` on the same machine with the same versions, made if there is none."""
    same = [run for run in runs if all(run[key] == wanted[key] for key in KEY)]
    if not same:
        same = [{**{key: wanted[key] for key in KEY}, "date": "", "cells": []}]
        runs.append(same[0])
    return same[0]


def take_over(run: Run, cells: list[dict[str, Any]]) -> None:
    """Put cells into a run, in the place of those of the same name."""
    newer = {cell["name"] for cell in cells}
    run["cells"] = [cell for cell in run["cells"] if cell["name"] not in newer] + cells


def loss_differences(cells: list[dict[str, Any]]) -> dict[str, float]:
    """By cell the largest relative difference of a step's loss to that of `single` with the same method and option."""

    def kind(cell: dict[str, Any]) -> tuple[str, ...]:
        return cell["method"], cell["task"], cell["option"]

    alone = {kind(cell): cell["losses"] for cell in cells if cell["strategy"] == "single" and cell.get("losses")}
    return {
        cell["name"]: max(
            abs(float(a) - float(b)) / abs(float(b)) for a, b in zip(cell["losses"], alone[kind(cell)], strict=False)
        )
        for cell in cells
        if cell["strategy"] != "single" and cell.get("losses") and kind(cell) in alone
    }


def main() -> None:
    into, *files = map(Path, sys.argv[1:])
    runs = read_runs(into)
    for run in (run for file in files for run in read_runs(file)):
        mine = run_like(runs, run)
        take_over(mine, run["cells"])
        mine["date"] = max(mine["date"], run["date"])
    write_runs(into, runs)


if __name__ == "__main__":
    main()
