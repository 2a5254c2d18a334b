"""Who has which GPU: a live run those in its status, a queued one, once its turn comes, those it waits for.

A lease is the status of a live run and nothing beside it, so none can be left behind: where its processes are gone the
run is not live. Whoever takes GPUs holds the state folder's lock from the look to the writing of the new status.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.choices import Device
from engine.config.ranks import gpus_per_node, uses_gpu
from engine.events import RunDirectory, read_json, write_json
from qltui.facts import gpus
from qltui.runs import status, store
from qltui.runs.state import LIVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.config import RunConfig

SCHEMA_VERSION = 1
SILENT_SECONDS = 600.0
"""A run whose processes are on a host that can't be seen, and that wrote nothing for so long, holds nothing: its
supervisor writes every second, or every minute while it is queued."""


class LaunchRefused(Exception):
    """Nothing was done; the message says why and what to do."""


class GpusTaken(LaunchRefused):
    """Other runs have, or wait for, the GPUs it wants; they will be free again."""

    def __init__(self, reason: str, advice: str, holders: Sequence[dict[str, Any]]) -> None:
        unseen = "".join(f" {one['unseen']}" for one in holders if one["unseen"])
        super().__init__(f"{reason}: {advice}.{unseen}")
        self.reason = reason
        """Without what to do."""
        self.holders = list(holders)
        """Statuses of these runs."""


class Place(NamedTuple):
    """A place in the queue."""

    number: int
    """Lower ones come first."""
    gpus: tuple[str, ...]
    """UUIDs of which it will take some or all; empty on CPU ranks."""
    after: str | None
    """Id, or folder, of the run whose end it waits for first."""


def read_place(run: RunDirectory) -> Place | None:
    """The place of a queued run; None if it has none."""
    written = read_json(run.path / "queue.json") or {}
    try:
        return Place(int(written["number"]), tuple(map(str, written["gpus"])), written["after"])
    except (KeyError, TypeError, ValueError):
        return None


def write_place(run: RunDirectory, place: Place | None) -> None:
    """Give a run a place in the queue, or take it away. Raises OSError."""
    path = run.path / "queue.json"
    if place is None:
        path.unlink(missing_ok=True)
    else:
        write_json(path, {"schema_version": SCHEMA_VERSION, **place._asdict()})


def live_runs() -> list[dict[str, Any]]:
    """The status of every run that holds what it has."""
    found = [{**status.read(run), "id": run.id} for run in store.directories()]
    return [one for one in found if holds(folder_of(one["id"]), one)]


def holds(run: RunDirectory, current: dict[str, Any]) -> bool:
    """Whether a run with this status is live, and not merely said to be by a host that fell silent."""
    return current["state"] in LIVE and (not current["unseen"] or status.silence(run) < SILENT_SECONDS)


def folder_of(reference: str) -> RunDirectory:
    """The run of an id, or of the path of a folder that is kept elsewhere."""
    return RunDirectory(store.runs_home() / reference)


def candidates(config: RunConfig) -> tuple[list[gpus.Gpu], int]:
    """The GPUs a run may take and how many it takes where all of them are free; none, and 0, on CPU ranks.

    Raises:
        LaunchRefused: there are not enough of them.
    """
    visible = [] if config.hardware.device is Device.CPU else gpus.visible_gpus()
    if not uses_gpu(config, len(visible)):
        return [], 0
    named = [gpu for name in config.hardware.gpus if (gpu := gpus.find(name, visible))]
    if len(named) < len(config.hardware.gpus):
        raise LaunchRefused(f"Of the GPUs {', '.join(config.hardware.gpus)} only {len(named)} are there.")
    possible = named or visible
    wanted = gpus_per_node(config, len(possible))
    if len(possible) < wanted:
        raise LaunchRefused(f"GPUs wanted: {wanted}, there: {len(possible)}.")
    return possible, wanted


def take(
    config: RunConfig, live: Sequence[dict[str, Any]], *, before: float = math.inf, whole: bool = False
) -> list[gpus.Gpu]:
    """The GPUs a run gets now: those it names, else the first that no other run has or is to have before it.

    Args:
        live: the statuses of all live runs; that it is among them itself where it is queued changes nothing.
        before: its place in the queue; behind all of them without one.
        whole: whether it wants as many as if all were free, where it doesn't say how many.

    Raises:
        GpusTaken: other runs have them.
        LaunchRefused: they are not there.
    """
    possible, wanted = candidates(config)
    taken = _taken(live, before)
    if config.hardware.gpus:
        for gpu in possible:
            if holder := taken.get(gpu.uuid):
                advice = "wait for it with --queue, stop it, or choose other GPUs with --set hardware.gpus=[...]"
                raise GpusTaken(f"GPU {gpu.number} is {_how(holder)} {holder['id']}", advice, [holder])
    free = [gpu for gpu in possible if gpu.uuid not in taken]
    if not whole and possible:
        wanted = gpus_per_node(config, len(free))
    if len(free) < wanted:
        holders = list({taken[gpu.uuid]["id"]: taken[gpu.uuid] for gpu in possible if gpu.uuid in taken}.values())
        owners = ", ".join(f"{_how(one)} {one['id']}" for one in holders)
        reason = f"GPUs wanted: {wanted}, free: {len(free)}; the others are {owners}"
        raise GpusTaken(reason, "wait for them with --queue, or stop a run", holders)
    return free[:wanted]


def _taken(live: Sequence[dict[str, Any]], before: float) -> dict[str, dict[str, Any]]:
    """By UUID the run that has a GPU, or waits for it with an earlier place in the queue."""
    ids = {one["id"] for one in live}
    taken = {}
    for one in live:
        if one["state"] == "queued":
            place = read_place(folder_of(one["id"]))
            if place and place.number < before and place.after not in ids:
                taken.update(dict.fromkeys(place.gpus, one))
    for one in live:  # these have them already, and are waited for by those
        taken.update(dict.fromkeys(one["gpus"], one))
    return taken


def _how(holder: dict[str, Any]) -> str:
    return "waited for by the queued run" if holder["state"] == "queued" else "in use by the live run"
