"""The run directory's own files start the same run under ``accelerate launch``."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.runs import Cli, events, write_run

from engine.config.reading import read_file
from engine.events import read_json
from qltui.runs import launching

if TYPE_CHECKING:
    from pathlib import Path

STAGES = {"zero2": 2}


@pytest.mark.parametrize("strategy", ["fsdp2", pytest.param("zero2", marks=pytest.mark.thorough)])
def test_ranks_started_by_accelerates_file_train_as_run_yaml_says(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path))
    run = launching.create(read_file(write_run(tmp_path, **{"strategy.name": strategy, "training.max_steps": 2})))
    done = subprocess.run(
        [
            sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(run.accelerate_yaml),
            "-m", "engine.train", str(run.path),
        ],
        env={**Cli(tmp_path).environment, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        assert [event["world_size"] for event in events(run, "started", rank=rank)] == [2]
        assert [event["step"] for event in events(run, "step", rank=rank)] == [1, 2]
        audits = {event["audit"]: event for event in events(run, "audit", rank=rank) if event["audit"] == "sharding"}
        assert audits["sharding"]["result"] == "passed", audits  # it fails where another strategy holds more
    written = read_json(run.deepspeed_json)
    assert (written["zero_optimization"]["stage"] if written else None) == STAGES.get(strategy)
    assert f"# The strategy, {strategy}," in run.accelerate_yaml.read_text()
    assert os.listdir(run.attempts_dir) == ["1"]
