"""Real runs for tests: the demo's base and data, few steps, through the real commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.events import EventReader, RunDirectory

DEMO = Path(__file__).parents[2] / "presets" / "demo"
HELD_OUT = DEMO / "data" / "heldout.jsonl"
LIVE = {"queued", "starting", "loading", "training", "evaluating", "saving"}


class Cli:
    """The `qltui` command in a state folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {**os.environ, "QLTUI_HOME": str(home), "HF_HUB_OFFLINE": "1"}

    def __call__(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "qltui", *arguments],
            env=self.environment, capture_output=True, text=True, timeout=240, check=False, **options,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"qltui {' '.join(arguments)}: {done.stdout}\n{done.stderr}"
        return done

    def status(self, run: str = "last") -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self("status", run, "--json").stdout)
        return status

    def directory(self, run: str = "last") -> RunDirectory:
        return RunDirectory(self.status(run)["run_dir"])

    def wait(self, run: str, seconds: float = 180) -> dict[str, Any]:
        """The status once the run has ended."""
        return wait_for(lambda: (status := self.status(run))["state"] not in LIVE and status, seconds, "the run's end")


def wait_for(condition: Callable[[], Any], seconds: float = 60, what: str = "the condition") -> Any:
    """The condition's value once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def events(run: RunDirectory, kind: str, *, rank: int = 0, attempt: int = 0) -> list[dict[str, Any]]:
    """Events of one kind, of the last attempt unless another is named."""
    chosen = run.attempts()[attempt - 1]
    return [event for event in EventReader(chosen.events(rank)).read() if event["kind"] == kind]


def write_run(folder: Path, **overrides: Any) -> Path:
    """A run.yaml of a few steps on two CPU ranks; ``overrides`` by dotted path."""
    values: dict[str, Any] = {
        "name": "small", "model": {"path": str(DEMO / "model")},
        "data": {"path": str(DEMO / "data" / "train.jsonl"), "eval_path": str(HELD_OUT), "max_length": 128},
        "method": {"name": "qlora", "lora": {"rank": 8, "alpha": 16, "dropout": 0.1}}, "strategy": {"name": "ddp"},
        "precision": {"compute": "fp32"}, "hardware": {"device": "cpu", "ranks_per_node": 2, "threads_per_rank": 1},
        "training": {"max_steps": 6, "micro_batch_size": 2, "gradient_accumulation_steps": 2, "learning_rate": 0.002},
    }  # fmt: skip
    for path, value in overrides.items():
        *parents, last = path.split(".")
        branch = values
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value
    file = folder / "run.yaml"
    file.write_text(json.dumps(values))  # JSON is YAML
    return file
