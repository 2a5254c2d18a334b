"""One cell's life on one rank: train, save, resume, load again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from cells.reload import reloaded_evaluation_loss
from engine.collective import barrier, world
from engine.events import EventReader, RunDirectory
from engine.train import Rank, read_config
from engine.trained_state import checkpoints

Events = list[dict[str, Any]]


def live(run: RunDirectory, forget: Callable[[], None]) -> dict[str, Any]:
    """The cell whose ``run.yaml`` lies in ``run``; what was measured, on rank 0 (empty on others).

    ``forget`` lets go of what an attempt held, once nothing refers to it any more.
    """
    started = time.monotonic()
    attempt(run, forget)
    set_back(run)
    attempt(run, forget)
    measured: dict[str, Any] = {}
    if world()[0] == 0:
        measured = measure(run)
        measured["seconds"] = round(time.monotonic() - started, 1)
    forget()
    barrier()
    return measured


def attempt(run: RunDirectory, forget: Callable[[], None]) -> None:
    """One attempt of the run, in this process; raises what ends it."""
    Rank(run, None).once()
    forget()


def set_back(run: RunDirectory) -> None:
    """Leave the run as if it had ended after its first checkpoint; the result is kept aside."""
    if world()[0] == 0:
        newest, *older = checkpoints(run.checkpoints)
        if not older:
            raise RuntimeError(f"only {newest.name} was saved, so there is nothing to resume from")
        shutil.rmtree(newest)
        result(run).rename(first_result(run))
    barrier()


def result(run: RunDirectory) -> Path:
    """The folder of the run's result."""
    return run.adapter if run.adapter.exists() else run.model


def first_result(run: RunDirectory) -> Path:
    """Where the result of the first attempt is kept."""
    return run.path / "first-result"


def measure(run: RunDirectory) -> dict[str, Any]:
    """Both attempts' events and results, as numbers."""
    config = read_config(run)
    first, second = ([events_of(run, number, rank) for rank in range(world()[1])] for number in (1, 2))
    labels = of_kind(second[0], "data")[0].get("labels")
    device = torch.device(of_kind(second[0], "started")[0]["device"])
    return {
        "losses": [event["loss"] for event in of_kind(first[0], "step")],
        "resumed_losses": [event["loss"] for event in of_kind(second[0], "step")],
        "resumed_from": [event["path"] for event in of_kind(second[0], "checkpoint") if event["resumed"]],
        "eval_loss": of_kind(second[0], "evaluation")[-1]["loss"],
        "reload_eval_loss": reloaded_evaluation_loss(run, config, labels, device),
        "audits": audits([*first, *second]),
        "tokens_per_second": tokens_per_second(of_kind(first[0], "step")),
        "memory_peak": [peak_of(events) for events in first] if device.type == "cuda" else None,
        "memory_by_phase": peak_by_phase(first) if device.type == "cuda" else None,
        **({"memory_by_gpu": by_gpu} if (by_gpu := peak_by_gpu(first[0])) else {}),
        **compare(first_result(run), result(run)),
    }


def events_of(run: RunDirectory, number: int, rank: int) -> Events:
    return EventReader(run.attempts()[number - 1].events(rank)).read()


def of_kind(events: Events, kind: str) -> Events:
    return [event for event in events if event["kind"] == kind]


def audits(ranks: list[Events]) -> dict[str, dict[str, str]]:
    """By audit the worst last result over all ranks and attempts, and what rank 0 measured."""
    found: dict[str, dict[str, str]] = {}
    severity = ("not_applicable", "passed", "pending", "failed")
    for events in ranks:
        last = {event["audit"]: event for event in of_kind(events, "audit")}
        for audit, event in last.items():
            so_far = found.setdefault(audit, {"result": event["result"], "detail": event["detail"]})
            so_far["result"] = max(so_far["result"], event["result"], key=severity.index)
    return found


def tokens_per_second(steps: Events) -> float:
    """Of the fastest step after the first, which pays for what happens once."""
    return round(max(event["tokens"] / event["step_time"] for event in steps[1:]), 1)


def peak_of(events: Events) -> int:
    return max(event["memory_peak"] for event in of_kind(events, "memory"))


def peak_by_phase(ranks: list[Events]) -> dict[str, int]:
    """Bytes, of the rank that took most."""
    peaks: dict[str, int] = {}
    for event in (event for events in ranks for event in of_kind(events, "memory")):
        peaks[event["phase"]] = max(peaks.get(event["phase"], 0), event["memory_peak"])
    return peaks


def peak_by_gpu(events: Events) -> list[int]:
    """Bytes, of each GPU of a rank that computes on several; else nothing."""
    seen = [[gpu["memory_peak"] for gpu in event["gpus"]] for event in of_kind(events, "memory") if "gpus" in event]
    return [max(peaks) for peaks in zip(*seen, strict=True)]


def compare(one: Path, other: Path) -> dict[str, Any]:
    """Tensors of a result, whether the resumed one has the same bits, and the largest difference by its scale."""
    files = sorted(path.name for path in one.glob("*.safetensors"))
    same = files == sorted(path.name for path in other.glob("*.safetensors"))
    tensors, difference, scale = 0, 0.0, 0.0
    for name in files if same else ():
        with safe_open(one / name, framework="pt") as left, safe_open(other / name, framework="pt") as right:
            tensors += len(left.keys())
            same &= set(left.keys()) == set(right.keys())
            for key in left.keys() if same else ():
                a, b = left.get_tensor(key), right.get_tensor(key)
                same &= torch.equal(a.view(torch.uint8), b.view(torch.uint8))
                difference = max(difference, float((a.double() - b.double()).abs().max()))
                scale = max(scale, float(a.abs().max()))
    return {
        "adapter_tensors" if (one / "adapter_config.json").exists() else "model_tensors": tensors,
        "resumed_equal": same, "resumed_difference": difference / max(scale, 1e-30),
    }  # fmt: skip
