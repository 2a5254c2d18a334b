"""Runs of ``unit/ranks/small_rank.py``: real processes that start in no time, for tests of launcher and supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config.reading import read
from engine.events import RunDirectory, read_json, start_time
from qltui.runs import launching

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.config import RunConfig

RANKS = Path(__file__).parents[1] / "unit" / "ranks"
OPTIONS = ["--rank-module", "small_rank", "--grace", "0.5"]


def config(name: str = "tiny", ranks: int = 2, **values: object) -> RunConfig:
    """A configuration for CPU ranks; nothing it names is opened."""
    tree = {"model": "/no/model", "data": "/no/data.jsonl", "strategy": "ddp", "device": "cpu", "name": name}
    return read({**tree, "hardware.ranks_per_node": ranks, **values}, where="test", base=Path("/"))


def make_run(plan: list[str], **values: object) -> RunDirectory:
    """A run directory whose ranks do what ``plan`` says, a line each."""
    run = launching.create(config(ranks=len(plan), **values))
    (run.path / "plan.txt").write_text("\n".join(plan))
    return run


def environment(**more: str) -> dict[str, str]:
    paths = [str(RANKS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", **more}


def begin(module: str, run: RunDirectory, *options: str, **more: str) -> subprocess.Popen[str]:
    """Start the launcher or the supervisor on a run."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, str(run.path), *OPTIONS, *options], env=environment(**more),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=heed_signals,
    )  # fmt: skip


def heed_signals() -> None:
    """Signals as a terminal's program has them, also where the tests run in the background and some are ignored."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Wait for a condition; the limit is there for a broken program, not to measure a right one."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


def rank_pids(run: RunDirectory) -> list[int]:
    attempt = run.last_attempt()
    launch = (read_json(attempt.launch_json) if attempt else None) or {}
    return [rank["pid"] for rank in launch.get("ranks", [])]


def wait_for_steps(run: RunDirectory, ranks: int = 2) -> None:
    """Wait until each rank has written a step."""

    def all_stepped() -> bool:
        attempt = run.last_attempt()
        return attempt is not None and all(
            attempt.events(rank).exists() and '"step",' in attempt.events(rank).read_text() for rank in range(ranks)
        )

    wait_until(all_stepped, "a step of each rank")


def running(pids: list[int]) -> list[int]:
    """Those that still run; zombies do not."""
    return [pid for pid in pids if start_time(pid) is not None]


def grandchildren(run: RunDirectory) -> list[int]:
    return [int(pid) for file in run.path.glob("grandchildren*.txt") for pid in file.read_text().split()]
