"""A set of ranks from its start to its end: what each cell came to, and an end to those that hang."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import RunConfig, StrategyName
from engine.config.ranks import ONE_RANK
from engine.events import read_json
from engine.launch import rank_environment
from engine.rank_processes import RankProcess, start_rank

START_ANEW = 75
"""Exit code: a cell left memory on a GPU, so the next ones would be measured wrongly there."""
POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0
"""Time the other ranks have, once one has failed, to say what they saw of it."""


@dataclass(frozen=True)
class Outcome:
    """What a cell came to."""

    folder: Path
    measured: dict[str, Any]
    error: str | None
    """Why it did not go through its life; None if it did."""


def watch(
    job: Path, config: RunConfig, options: argparse.Namespace, environment: dict[str, str],
    module: str = "cells.ranks",
) -> Iterator[Outcome]:  # fmt: skip
    """Start the ranks of a job, each running ``module``, and yield each cell's outcome as it comes.

    Ends at the first cell that failed, or where the ranks ask for fresh ones; a new job goes on with the rest.
    ``config`` is any of the cells': they share ranks and devices. Nothing of the ranks is left at the end.
    """
    folders = [Path(folder) for folder in (read_json(job / "job.json") or {})["folders"]]
    processes = start(job, config, options, environment, module)
    began = time.monotonic()
    try:
        while folders:
            codes = [one.process.poll() for one in processes]  # before looking for results, which come first
            measured = read_json(folders[0] / "measured.json")
            if measured is not None:
                yield Outcome(folders.pop(0), measured, None)
                began = time.monotonic()
            elif START_ANEW in codes:
                return
            elif failed_ranks(folders[0]) or None not in codes or any(codes):
                yield end_of_failure(folders[0], processes)
                return
            elif time.monotonic() - began > options.seconds:
                yield Outcome(folders[0], {}, hung(processes, options.seconds, job))
                return
            time.sleep(POLL_SECONDS)
    finally:
        end(processes)


def start(
    job: Path, config: RunConfig, options: argparse.Namespace, environment: dict[str, str], module: str
) -> list[RankProcess]:
    """The ranks, with the environment the engine's launcher gives them."""
    strategy = config.strategy.name
    ranks = 1 if strategy in ONE_RANK else options.ranks
    gpus = visible_gpus()[: 1 if strategy is StrategyName.SINGLE else options.ranks] if options.device == "cuda" else []
    shared = {**environment, **rank_environment(config, ranks, gpus)}
    command = [sys.executable, "-u", "-m", module, str(job / "job.json")]
    return [
        start_rank(rank, rank, command, {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, job / f"rank{rank}.log")
        for rank in range(ranks)
    ]


def visible_gpus() -> list[str]:
    """Names of the GPUs this process may use, as CUDA knows them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(index) for index in range(64)] if named is None else named.split(",")


def failed_ranks(folder: Path) -> dict[str, str]:
    """What ranks said that failed in a cell, by rank."""
    said = {file: read_json(file) for file in sorted(folder.glob("error-rank*.json"))}
    return {file.stem.removeprefix("error-"): error["error"] for file, error in said.items() if error}


def end_of_failure(folder: Path, processes: list[RankProcess]) -> Outcome:
    """Wait a little for the other ranks' part of a failure."""
    deadline = time.monotonic() + GRACE_SECONDS
    while any(one.process.poll() is None for one in processes) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    said = failed_ranks(folder)
    for one in processes:
        code = one.process.poll()
        if code not in (None, 1) and f"rank{one.rank}" not in said:
            said[f"rank{one.rank}"] = f"ended with {code}"
    by_error: dict[str, list[str]] = {}
    for rank, error in said.items():
        by_error.setdefault(error, []).append(rank)
    return Outcome(folder, {}, "; ".join(f"{', '.join(ranks)}: {error}" for error, ranks in by_error.items()))


def hung(processes: list[RankProcess], seconds: float, job: Path) -> str:
    """Have the ranks write down where they stand."""
    for one in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.process.pid, signal.SIGUSR1)
    time.sleep(1)
    return f"no end after {seconds:.0f} s; where each rank stood is the end of {job}/rank*.log"


def end(processes: list[RankProcess]) -> None:
    """End what still runs, children included."""
    for one in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()
