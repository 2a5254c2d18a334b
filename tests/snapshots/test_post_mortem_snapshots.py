"""Why runs died, as it was when somebody last looked at it."""

from __future__ import annotations

import os
from pathlib import Path

from support.album import NOW, album
from support.died import out_of_memory
from support.screen import until_seen
from support.written_runs import WrittenRun

from engine.events import write_json
from qltui.runs.diagnosis.own_runs import diagnose_run
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.post_mortem import PostMortem

FIXES = [
    {"title": "half the micro batch, twice the steps it is gathered over", "effect": "22.8 → 17.1 GiB, same results",
     "patch": {"training.micro_batch_size": 2, "training.gradient_accumulation_steps": 8}},
    {"title": "recompute activations", "effect": "22.8 → 14.0 GiB, ~25 % slower",
     "patch": {"training.gradient_checkpointing": "all"}},
    {"title": "see who else uses the GPU", "command": "nvidia-smi", "effect": ""},
]  # fmt: skip


def with_fixes(run: WrittenRun) -> Path:
    """The run with fixes that do not depend on this machine."""
    os.utime(run.attempt.launch_json, (NOW - 2460, NOW - 2460))
    found = {**diagnose_run(run.run).as_json(), "fixes": FIXES}
    write_json(run.attempt.diagnosis_json, found)
    return run.run.path


async def test_a_run_out_of_memory(home: Path, size: tuple[int, int]) -> None:
    path = with_fixes(out_of_memory(home / "state", "qwen3-8b-long"))
    async with album(size, lambda: PostMortem(path)) as (taken, _app):
        await until_seen(taken.pilot, "on rank 1, in backward")
        await taken.take("post-mortem")
        await taken.pilot.press("o")
        await until_seen(taken.pilot, "Traceback")
        await taken.take("post-mortem-log")


async def test_the_monitor_of_a_run_that_died(home: Path, size: tuple[int, int]) -> None:
    path = with_fixes(out_of_memory(home / "state", "qwen3-8b-long"))
    async with album(size, lambda: Monitor(path)) as (taken, _app):
        await until_seen(taken.pilot, "▲ it failed")
        await taken.take("monitor-died")
