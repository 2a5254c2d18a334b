"""The files of a checkpoint: what was trained, whole and by name, for any strategy on any ranks to go on from."""

from __future__ import annotations

import re
import shutil
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from engine.collective import from_rank_0, world
from engine.errors import BadInput
from engine.events import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from torch import Tensor

    from engine.reporter import Reporter

STEP_FOLDER = re.compile(r"step-(\d+)$")
RANK_FILE = re.compile(r"rank\d+\.pt$")
FILE_BYTES = 1 << 30
"""Weights and moments are collected on the host up to this size before they are written."""
SEAL = "files.json"
CHUNK = 1 << 24


class Chosen(NamedTuple):
    """A checkpoint to go on from."""

    folder: Path
    state: dict[str, Any]
    """Of ``state.pt``: step, schedule, scaler, and how it was saved."""


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints in ``folder``, newest first."""
    found = [path for path in folder.glob("step-*") if STEP_FOLDER.match(path.name)] if folder.is_dir() else []
    return sorted(found, key=_step_of, reverse=True)


def _step_of(path: Path) -> int:
    match = STEP_FOLDER.match(path.name)
    return int(match.group(1)) if match else -1


def write_trained_state(
    trained: Iterable[tuple[str, dict[str, Any]]], folder: Path, keep_weights: bool
) -> dict[str, Tensor]:
    """Write what a strategy gathers, in files of bounded size; every rank takes part, rank 0 writes.

    Returns the weights on the host if ``keep_weights``, for the adapter's file; empty on other ranks.
    """
    weights: dict[str, Tensor] = {}
    part: dict[str, dict[str, Any]] = {}
    number = size = 0
    for name, values in trained:
        if world()[0] != 0:
            continue
        part[name] = {
            key: value.detach().to("cpu", copy=True) if torch.is_tensor(value) else value
            for key, value in values.items()
        }
        size += sum(value.nbytes for value in part[name].values() if torch.is_tensor(value))
        if keep_weights:
            weights[name] = part[name]["weight"]
        if size >= FILE_BYTES:
            torch.save(part, folder / f"trained-{number:05d}.pt")
            part, size, number = {}, 0, number + 1
    if part:
        torch.save(part, folder / f"trained-{number:05d}.pt")
    return weights


def read_trained_state(folder: Path) -> dict[str, dict[str, Any]]:
    """All that :func:`write_trained_state` wrote, mapped from the files rather than read at once."""
    trained: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("trained-*.pt")):
        trained |= torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    return trained


def seal(folder: Path) -> None:
    """Write down a checksum of every file, by which damage is found before a run goes on from it."""
    sums = {path.name: _crc(path) for path in sorted(folder.glob("*.pt"))}
    write_json(folder / SEAL, {"schema_version": 1, "crc32": sums})


def _crc(path: Path) -> int:
    total = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            total = zlib.crc32(chunk, total)
    return total


def choose(folder: Path, parent: Path | None, strategy: str, reporter: Reporter) -> Chosen | None:
    """The newest whole checkpoint in ``folder``, else in the ``parent`` run's; the same on all ranks, rank 0's choice.

    One that is damaged is said, moved aside and skipped. To be called before anything is loaded.

    Raises:
        BadInput: it can only be resumed by as many ranks under the strategy it was saved with.
    """
    found = _found(folder, parent, reporter) if world()[0] == 0 else None
    chosen: Chosen | None = from_rank_0(found)
    if chosen is not None:
        _check_ranks(chosen, strategy, reporter)
    return chosen


def _found(folder: Path, parent: Path | None, reporter: Reporter) -> Chosen | None:
    there = bool(checkpoints(folder))
    found = next(_readable(folder, reporter, own=True), None)
    if found is None and parent is not None:
        found = next(_readable(parent, reporter, own=False), None)
        if found is None:
            raise BadInput(
                f"parent: {parent} holds no checkpoint that can be read; choose another run, or none.",
                "resume_mismatch",
            )
    if found is None and there:
        reporter.warn("none of this run's checkpoints can be read: it begins anew")
    return found


def _readable(folder: Path, reporter: Reporter, *, own: bool) -> Iterator[Chosen]:
    if own:
        for begun in folder.glob(".*.partial"):  # of an attempt that was killed while saving
            shutil.rmtree(begun, ignore_errors=True)
    for checkpoint in checkpoints(folder):
        try:
            state = _read_state(checkpoint)
        except Exception as error:  # whatever is wrong with the file, an older checkpoint may be good
            why = f"{checkpoint.name} cannot be read ({type(error).__name__}: {error})"
            if own:  # its place is needed when this step comes again
                aside = checkpoint.with_name(f"unreadable-{checkpoint.name}")
                shutil.rmtree(aside, ignore_errors=True)
                checkpoint.rename(aside)
                why += f"; it is now {aside.name}"
            reporter.warn(f"{why}, and an older checkpoint is tried")
            continue
        yield Chosen(checkpoint, state)


def _read_state(folder: Path) -> dict[str, Any]:
    """The run's part of a checkpoint all of whose files are whole; each rank's own are of use to as many ranks alone.

    Raises:
        ValueError, OSError: a file is damaged or missing.
    """
    sums = (read_json(folder / SEAL) or {}).get("crc32")
    if not isinstance(sums, dict) or "state.pt" not in sums:
        raise ValueError(f"{SEAL} is missing or damaged")
    _check(folder, "state.pt", sums)
    state: dict[str, Any] = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    for name in sums:
        if state["world_size"] == world()[1] or not RANK_FILE.match(name):
            _check(folder, name, sums)
    return state


def _check(folder: Path, name: str, sums: dict[str, int]) -> None:
    if not (folder / name).exists():
        raise FileNotFoundError(f"{name} is missing")
    if _crc(folder / name) != sums[name]:
        raise ValueError(f"{name} is damaged")


def _check_ranks(chosen: Chosen, strategy: str, reporter: Reporter) -> None:
    state, ranks = chosen.state, world()[1]
    if (state["strategy"], state["world_size"]) == (strategy, ranks):
        return
    saved = f"{state['strategy']} on {state['world_size']} rank{'s' * (state['world_size'] != 1)}"
    if state["needs_same_ranks"]:
        raise BadInput(
            f"{chosen.folder} was saved under {saved}, and the 8-bit optimizer's states under ZeRO fit no other;"
            f" resume with those, not {strategy} on {ranks}.",
            "resume_mismatch",
        )
    if world()[0] == 0:
        reporter.warn(
            f"{chosen.folder.name} was saved under {saved}; this is {strategy} on {ranks}."
            " Weights, optimizer and schedule go on as they were; dropout draws anew."
        )
