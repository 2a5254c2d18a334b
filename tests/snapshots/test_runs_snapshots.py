"""The list of runs and what opens from it, as they were when somebody last looked at them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from support.album import NOW, album
from support.runs import write_run
from support.screen import until_on, until_seen
from support.written_runs import WrittenRun

from engine.events import write_json
from qltui.runs import notes
from qltui.ui.screens.annotating import Annotating
from qltui.ui.screens.comparing import Comparing
from qltui.ui.screens.overlaying import Overlay
from qltui.ui.screens.runs import Runs

LOST = "Its processes are gone and nothing tells how they ended."
RUNS: dict[str, tuple[str, str | None]] = {
    "llama3-8b-qlora": ("finished", None),
    "llama3-8b-qlora-higher-rate": ("failed", "rank 1 failed in backward: OutOfMemoryError: CUDA out of memory."),
    "demo-cpu": ("lost", LOST),
    "qwen3-8b-lora-on-everything-we-have-with-a-long-name": ("training", None),
    "next-in-line": ("queued", None),
}


def write_all(home: Path) -> None:
    """Runs of every kind, begun an hour apart; that in training is the newest but one."""
    for number, (name, (state, reason)) in enumerate(RUNS.items()):
        run = WrittenRun(home / "state", name, total_steps=60)
        for step in range(1, 0 if state == "queued" else 61 - 10 * number):
            run.step(step, 2.5 - step / (30 + 10 * number) + (step % 5) / 20)
            if step % 15 == 0:
                run.emit("evaluation", loss=2.4 - step / 40, when="during")
        changed: dict[str, Any] = {"reason": reason, "created": NOW - 3600 * (5 - number)}
        run.write_status(state=state, **changed, **({} if state == "training" else {"eta_seconds": None}))
        settings = {"name": name, "training.learning_rate": 10.0 ** -(number + 2), "method.lora.rank": 8 * (number + 1)}
        folder = home / "made" / name
        folder.mkdir(parents=True)
        run.run.run_yaml.write_text(write_run(folder, **settings).read_text())
        os.utime(run.run.run_yaml, (NOW + number, NOW + number))
        launch = {"world_size": 2, "device": "cpu", "versions": {"torch": f"2.1{number}.0", "peft": "0.21.2"}}
        write_json(run.attempt.launch_json, {**launch, "ranks": [], "launcher": {"host": "here", "start_time": 1}})
        if number == 1:
            memory = {"phases": {"backward": {"weights": 2**27, "activations": 2**26}}}
            write_json(run.run.plan_json, {"memory": memory})
            notes.annotate(
                run.run, "Ten times the rate: the loss jumps at step 12.\nTry warm-up.", ["baseline", "paper"]
            )


async def test_runs(home: Path, size: tuple[int, int]) -> None:
    write_all(home)
    async with album(size, Runs) as (taken, _):
        await until_seen(taken.pilot, "5 runs")
        await taken.pilot.press("space", "down", "down", "space", "space", "up", "up")
        await until_seen(taken.pilot, "3 marked")
        await taken.take("runs-marked")
        await taken.pilot.press("l")
        await until_on(taken.pilot, Overlay)
        await until_seen(taken.pilot, "at step 50")
        await taken.take("runs-overlay")
        await taken.pilot.press("q", "u", "space", "down", "d")
        await until_on(taken.pilot, Comparing)
        await until_seen(taken.pilot, "Results")
        await taken.take("runs-compared")
        await taken.pilot.press("q", "u", "slash", *"tag:paper", "enter")
        await until_seen(taken.pilot, "1 of 5 runs")
        if size[0] < 110:
            await taken.pilot.press("i")
        await until_seen(taken.pilot, "Ten times")
        await taken.take("runs-filtered")
        await taken.pilot.press("n")
        await until_on(taken.pilot, Annotating)
        await taken.take("runs-note")


async def test_no_runs(home: Path, size: tuple[int, int]) -> None:
    async with album(size, Runs) as (taken, _):
        await until_seen(taken.pilot, "No runs yet")
        await taken.take("runs-none")
