"""What cannot be merged is said in one line, before anything slow is imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.runs import Cli


def merge(folder: Path, *options: str, **values: Any) -> str:
    """What `qltui merge` says of a run that it refuses; the run has what lies in ``folder/run``."""
    run = folder / "run"
    run.mkdir(exist_ok=True)
    (run / "run.yaml").write_text(json.dumps({"model": "org/llama", "data": "d.jsonl", **values}))
    done = Cli(folder / "home")("merge", f"{run}/", "--out", str(folder / "out"), *options, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("qltui: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_runs_without_an_adapter(tmp_path: Path) -> None:
    assert "trained every weight and has no adapter to merge, and has no model yet" in merge(tmp_path, method="full")
    (tmp_path / "run" / "model").mkdir()
    assert f"its model is {tmp_path}/run/model" in merge(tmp_path, method="full")
    assert "has saved no checkpoint; resume it" in _after(tmp_path, "stopped")
    assert "has saved no checkpoint yet; wait for one" in _after(tmp_path, "training")


def _after(folder: Path, state: str) -> str:
    (folder / "run" / "status.json").write_text(json.dumps({"state": state}))
    return merge(folder)


def test_a_checkpoint_there_is_not_and_a_folder_there_is(tmp_path: Path) -> None:
    for step in (4, 10):
        (tmp_path / "run" / "checkpoints" / f"step-{step:08}" / "adapter").mkdir(parents=True)
    assert "no checkpoint at step 7; it has: 4, 10." in merge(tmp_path, "--checkpoint", "7")
    (tmp_path / "out").mkdir()
    assert f"{tmp_path}/out exists already" in merge(tmp_path)


@pytest.mark.parametrize("options", [("--check-vllm",), ("--base", "4bit"), ("--checkpoint", "-1")])
def test_wrong_usage(options: tuple[str, ...], tmp_path: Path) -> None:
    done = Cli(tmp_path)("merge", "last", "--out", "x", *options, check=False)
    assert done.returncode == 2
