"""Out of memory on a GPU in every phase, really caused: the process may have no more of its GPU than it holds there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.runs import DEMO, write_run
from support.warm_runs import PATHS, attempt_of

from engine.events import RunDirectory, read_json

PHASES = ("load", "forward", "backward", "optimizer", "eval", "save")
LINE = '"kind": "failed"'

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.mark.parametrize("phase", PHASES)
def test_a_gpu_that_is_full(phase: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / f"full-{phase}")
    run.path.mkdir()
    rows = (DEMO / "data" / "heldout.jsonl").read_text("utf-8").splitlines()[:24]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), "utf-8")
    # Evaluated before training, so that only where an evaluation is to fail there is one.
    held_out = str(tmp_path / "rows.jsonl") if phase == "eval" else None
    values = {
        "data.path": str(tmp_path / "rows.jsonl"), "data.eval_path": held_out, "training.max_steps": 3,
        "strategy.name": "single", "hardware.device": "cuda", "hardware.ranks_per_node": 1, "method.name": "lora",
    }  # fmt: skip
    write_run(run.path, **values)
    (run.path / "phase.txt").write_text(phase)
    command = [sys.executable, "-m", "qltui.runs.supervisor", str(run.path), "--rank-module", "full_gpu_rank"]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": PATHS, "HF_HUB_OFFLINE": "1"}, timeout=200, check=False)
    status = read_json(run.status_json)
    assert status is not None and status["state"] == "failed", status
    found = read_json(attempt_of(run).diagnosis_json)
    assert found is not None
    shown = json.dumps(found, indent=1)
    assert (found["cause"], found["phase"], found["rank"], found["confidence"]) == ("cuda_oom", phase, 0, "certain"), (
        shown
    )
    first = found["evidence"][0]
    assert LINE in (run.path / first["file"]).read_text("utf-8").split("\n")[first["line"] - 1], shown
    assert found["details"]["asked"] > 0 and found["details"]["capacity"] > 0, shown
    assert found["fixes"], shown
