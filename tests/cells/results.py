"""The file results go to: runs on one kind of machine with one set of versions, each a list of cells."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from cells.cells import Cell
from engine.events import read_json, write_json
from engine.versions import versions

SCHEMA_VERSION = 1


class Results:
    """A results file, and in it the run on this machine, written after every cell."""

    def __init__(self, path: Path, device: str, devices: list[str], model: str) -> None:
        """``device`` is cpu or cuda, ``devices`` the name of each rank's, ``model`` the name of the scale."""
        self._path = path
        self._document = read_json(path) or {"schema_version": SCHEMA_VERSION, "runs": []}
        here = {"device": device, "devices": devices, "model": model, "versions": versions()}
        same = [run for run in self._document["runs"] if {key: run[key] for key in here} == here]
        if not same:
            same = [{**here, "date": "", "cells": []}]
            self._document["runs"].append(same[0])
        self._run = same[0]

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
        self._run["cells"] = [one for one in self.cells if one["name"] != cell.name] + [entry]
        self._run["date"] = time.strftime("%Y-%m-%d")
        write_json(self._path, self._document)
        return entry


def loss_differences(cells: list[dict[str, Any]]) -> dict[str, float]:
    """By cell the largest relative difference of a step's loss to that of `single` with the same method and option."""

    def kind(cell: dict[str, Any]) -> tuple[str, ...]:
        return cell["method"], cell["task"], cell["option"]

    alone = {kind(cell): cell["losses"] for cell in cells if cell["strategy"] == "single" and cell.get("losses")}
    return {
        cell["name"]: max(abs(a - b) / abs(b) for a, b in zip(cell["losses"], alone[kind(cell)], strict=True))
        for cell in cells
        if cell["strategy"] != "single" and cell.get("losses") and kind(cell) in alone
    }
