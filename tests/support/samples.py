"""Small files for tests of what is checked before a launch: model folders and data, whole or flawed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.config import Problem, RunConfig
from engine.config.reading import read

GOOD_ROW = {"prompt": "What sails?", "completion": "A boat."}


def write_model(folder: Path, weights: tuple[str, ...] = ("model.safetensors",)) -> Path:
    """A folder with all that a model folder must have; the weights are one tensor each."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "tokenizer.json").write_text("{}")
    for name in weights:
        (folder / name).write_bytes(safetensors_bytes())
    return folder


def safetensors_bytes() -> bytes:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(16)


def write_rows(file: Path, *rows: Any) -> Path:
    """A JSONL file; a row that is a string stands there as it is."""
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return file


def make_config(folder: Path, **values: Any) -> RunConfig:
    """A configuration of which nothing is wrong but what ``values`` (by dotted path) make wrong."""
    if not (folder / "model").exists():
        write_model(folder / "model")
        write_rows(folder / "data.jsonl", GOOD_ROW)
    tree = {"model.path": str(folder / "model"), "data.path": str(folder / "data.jsonl"), "hardware.device": "cpu"}
    return read({**tree, **values}, where="run.yaml", base=folder)


def only(found: list[Problem]) -> Problem:
    """The one problem that was found; a second, or none, fails the test."""
    (problem,) = found
    return problem
