"""Run directories written by hand, event by event, to be looked at while they grow."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from engine.events import EventReader, EventWriter, RunDirectory, identity, write_json
from qltui.runs.state import RunState


class WrittenRun:
    """A run whose supervisor is this process, so that it counts as live until it is given up."""

    def __init__(self, home: Path, name: str = "demo", ranks: int = 2, total_steps: int = 100) -> None:
        self.run = RunDirectory(home / "runs" / f"{name}-20260102-030405")
        self.run.path.mkdir(parents=True)
        self.run.run_yaml.write_text(f"name: {name}\n")
        self.name, self.ranks, self.total_steps = name, ranks, total_steps
        self.begin_attempt()

    def begin_attempt(self) -> None:
        """Start the first attempt, or the next one."""
        self.attempt = self.run.new_attempt()
        launch = {"world_size": self.ranks, "launcher": identity(), "ranks": []}
        write_json(self.attempt.launch_json, {"schema_version": 1, "attempt": self.attempt.number, **launch})
        self.writers = [
            EventWriter(self.attempt.events(rank), attempt=self.attempt.number, node=0, rank=rank, local_rank=rank)
            for rank in range(self.ranks)
        ]
        for writer in self.writers:
            writer.emit("started", world_size=self.ranks, device="cpu", pid=os.getpid(), total_steps=self.total_steps)
        self.writers[0].emit("state", state="training")
        self.write_status()

    def step(self, number: int, loss: float) -> None:
        """Every rank does an optimizer step."""
        for rank, writer in enumerate(self.writers):
            writer.step = number
            writer.emit(
                "step", loss=loss, learning_rate=1e-4, grad_norm=0.5, epoch=number / 50, tokens=1000, step_time=0.25,
                memory_allocated=2**28, memory_reserved=2**28, memory_peak=2**28 + rank * 2**20,
            )  # fmt: skip
        self.write_status()

    def emit(self, kind: str, rank: int = 0, **fields: Any) -> None:
        """Write any other event."""
        self.writers[rank].emit(kind, **fields)
        self.write_status()

    def log(self, text: str, rank: int = 0) -> None:
        """Append to a rank's log as it is."""
        with open(self.attempt.log(rank), "a", encoding="utf-8") as file:
            file.write(text)

    def sample(self, *gpus: dict[str, Any]) -> None:
        """Write a sample of telemetry, as the supervisor does each second."""
        self.run.telemetry.mkdir(exist_ok=True)
        host = identity()["host"]
        line = {"wall": time.time(), "host": host, "ranks": [], "gpus": list(gpus)}
        with open(self.run.telemetry / f"{host}.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def write_status(self, **changed: Any) -> None:
        """Write ``status.json`` as the supervisor would."""
        state = RunState({
            "id": self.run.id, "name": self.name, "run_dir": str(self.run.path), "method": "qlora", "strategy": "ddp",
            "model": "some/model", "data": "rows.jsonl", "created": time.time(), "supervisor": identity(),
        })  # fmt: skip
        for attempt in self.run.attempts():
            for rank in range(self.ranks):
                for event in EventReader(attempt.events(rank)).read():
                    state.apply(event)
        write_json(self.run.status_json, {**state.status(), **changed})

    def give_up(self) -> None:
        """Leave the run as a machine that lost its power does: it says training, and nobody is there."""
        gone = {**identity(), "start_time": 1}
        write_json(self.attempt.launch_json, {"attempt": 1, "world_size": self.ranks, "launcher": gone, "ranks": []})
        self.write_status(supervisor=gone)


def a40(index: int, **other: Any) -> dict[str, Any]:
    """A GPU of a sample, at work; ``other`` fields are set on top."""
    return {
        "index": index, "uuid": f"GPU-{index}", "name": "NVIDIA A40", "lost": False, "memory_used": 8 * 2**30,
        "memory_total": 45 * 2**30, "utilization": 98, "power_watts": 287.4, "power_limit_watts": 300.0,
        "temperature": 71, "throttle": [], "processes": None, "other_memory": 0, **other,
    }  # fmt: skip


def on_eight_gpus(home: Path) -> WrittenRun:
    """A run with a plan on 8 GPUs: the fourth hot, the sixth shared, the seventh silent, the eighth lost."""
    size = 2**30
    run = WrittenRun(home, ranks=8)
    plan = {"total_bytes": 9 * size, "phases": {"backward": {"weights": 4 * size, "activations": 3 * size}}}
    write_json(run.run.plan_json, {"schema_version": 1, "memory": plan})
    for number in range(1, 25):
        run.step(number, 2.0 - number / 30)
    run.emit("memory", phase="backward", memory_allocated=size, memory_reserved=size, memory_peak=8 * size)
    gpus = [a40(index) for index in range(8)]
    gpus[3] |= {"temperature": 91, "throttle": ["thermal"], "utilization": 71}
    gpus[5] |= {"other_memory": 20 * size, "memory_used": 28 * size}
    gpus[6] |= dict.fromkeys(("utilization", "power_watts", "power_limit_watts", "temperature", "throttle"))
    gpus[7] = {"index": 7, "uuid": "GPU-7", "lost": True}
    run.sample(*gpus)
    return run
