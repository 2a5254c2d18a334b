"""What the app shows of the measured points: ``python -m points.near`` writes ``qltui/facts/measured.json``."""

from __future__ import annotations

import json
from typing import Any

from points.compare import MEASURED, peak
from points.points import Point, all_points
from qltui.facts import measured


def runs() -> list[dict[str, Any]]:
    """Each measured run with its points."""
    points = {point.name: point for point in all_points()}
    found = []
    for run in json.loads(MEASURED.read_bytes())["runs"]:
        devices = run["devices"]
        lines = [row(points[cell["name"]], peak(cell)) for cell in run["cells"] if cell["name"] in points]
        about = {
            "hardware": f"{len(devices)} x {devices[0]}", "torch": run["versions"]["torch"].partition("+")[0],
            "date": run["date"],
        }  # fmt: skip
        found.append({**about, "points": lines})
    return found


def row(point: Point, allocated: int) -> list[Any]:
    """A point in the order of :class:`qltui.facts.measured.Measurement`."""
    values = point.values
    return [
        point.model, values["strategy.name"], values["method.name"], point.ranks, values["training.micro_batch_size"],
        values["data.max_length"], str(values["training.gradient_checkpointing"]), allocated,
    ]  # fmt: skip


def as_json() -> str:
    """The file's text, a point a line."""
    parts = []
    for run in runs():
        lines = ",\n".join(json.dumps(point) for point in run.pop("points"))
        parts.append(f'{json.dumps(run)[:-1]}, "points": [\n{lines}\n]}}')
    return f'{{"runs": [\n{",".join(parts)}\n]}}\n'


if __name__ == "__main__":
    measured.FILE.write_text(as_json(), "utf-8")
