"""The queue: runs that wait, each under its own supervisor, until the run before them has ended or GPUs are free.

Nobody else keeps the queue. The supervisor of a queued run watches the few runs it waits for; when one of them has
ended it takes the state folder's lock, looks whether its turn has come, and takes what it needs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config import ConfigError
from engine.config.ranks import ranks_per_node
from engine.config.reading import read_file
from engine.events import RunDirectory, identity, read_json, write_json
from qltui.configs.files import file_texts
from qltui.runs import leases, state_folder, status, store
from qltui.runs.ending import is_stop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.config import RunConfig
    from qltui.facts.gpus import Gpu
    from qltui.runs.leases import Place

LOOK_SECONDS = 1.0
BUSY_SHARE = 0.02
"""Of a core that looking may take; a look that takes long is taken seldom."""
SELDOM_SECONDS = 10.0
SIGN_SECONDS = 60.0
"""How often the status is touched, by which other hosts know that somebody still waits."""


class Wait(NamedTuple):
    """It is not a run's turn yet."""

    holders: dict[str, str]
    """The runs that are in its way, as ``leases.folder_of`` finds them, with their states."""
    waiting_for: dict[str, str]
    """``id`` and ``name`` of the first of them and ``reason``, a sentence, as ``status.json`` tells it."""


class Over(Exception):
    """A run leaves the queue without its turn; the final status says why."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.end = {"state": state, "reason": reason, "exit_code": 0 if state == "stopped" else 1}


def last_place(config: RunConfig, live: Sequence[dict[str, Any]], after: RunDirectory | None) -> Place:
    """The place behind all that are queued.

    Raises:
        LaunchRefused: the GPUs it wants are not there.
    """
    queued = [leases.read_place(leases.folder_of(one["id"])) for one in live if one["state"] == "queued"]
    number = 1 + max((place.number for place in queued if place), default=0)
    possible, _ = leases.candidates(config)
    return leases.Place(number, tuple(gpu.uuid for gpu in possible), store.reference(after) if after else None)


def turn(config: RunConfig, place: Place, live: Sequence[dict[str, Any]]) -> list[Gpu] | Wait:
    """The GPUs a queued run is to start on now (none on CPU ranks), or what it waits for.

    ``live`` are the statuses of all live runs; the caller holds the state folder's lock.

    Raises:
        LaunchRefused: the GPUs it wants are not there any more.
    """
    if place.after is not None:
        run = leases.folder_of(place.after)
        first = status.read(run)
        if leases.holds(run, first):
            return _wait({place.after: first}, f"It starts when {run.id} has ended")
    try:
        return leases.take(config, live, before=place.number, whole=True)
    except leases.GpusTaken as taken:
        return _wait({one["id"]: one for one in taken.holders}, taken.reason)


def _wait(holders: Mapping[str, dict[str, Any]], reason: str) -> Wait:
    first, current = next(iter(holders.items()))
    waiting_for = {"id": leases.folder_of(first).id, "name": current["name"], "reason": f"{reason}."}
    return Wait({reference: current["state"] for reference, current in holders.items()}, waiting_for)


class Waiting:
    """A queued run's supervisor, before there is anything to supervise."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._status = {**status.read_written(run), "supervisor": identity()}
        self._signal = ""

    def wait(self) -> list[str] | None:
        """Wait for the run's turn, or until it is taken out.

        Returns the launcher's options, for the GPUs it has then; None if it is over, and its status says how.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        try:
            options = self._until_its_turn()
            self._heed_requests()  # what came while it looked
        except Over as over:
            self._write({**over.end, "waiting_for": None})
            options = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        leases.write_place(self.run, None)
        return options

    def _until_its_turn(self) -> list[str]:
        self._write({})
        try:
            config = read_file(self.run.run_yaml)
        except ConfigError as error:
            raise Over("failed", str(error)) from None
        told = ""
        while True:
            try:
                found = self._look(config)
                if not isinstance(found, Wait):
                    return ["--gpus", ",".join(gpu.uuid for gpu in found)] if found else []
                self._write({"waiting_for": found.waiting_for})
                self._until_it_may_be(found)
            except OSError as error:  # a full disk costs it no place
                if str(error) != told:
                    told = str(error)
                    print(f"queued: {told}; it is tried again", file=sys.stderr, flush=True)
                self._heed_requests()
                time.sleep(LOOK_SECONDS)

    def _look(self, config: RunConfig) -> list[Gpu] | Wait:
        """Whether its turn has come; then it has the GPUs."""
        with state_folder.locked():
            place = leases.read_place(self.run) or leases.Place(0, (), None)  # damaged: it may go first
            try:
                found = turn(config, place, leases.live_runs())
            except leases.LaunchRefused as error:
                raise Over("failed", str(error)) from None
            if not isinstance(found, Wait):
                rewrite_files(self.run, config, found)
                gpus = [gpu.uuid for gpu in found]
                self._write({"state": "starting", "gpus": gpus, "waiting_for": None})
        return found

    def _until_it_may_be(self, wait: Wait) -> None:
        """Return once one of those it waits for has ended, or has itself left the queue; raises Over."""
        signed = time.monotonic()
        while True:
            began = time.monotonic()
            self._heed_requests()
            for reference, state in wait.holders.items():
                run = leases.folder_of(reference)
                current = status.read(run)
                if not leases.holds(run, current) or (state == "queued") != (current["state"] == "queued"):
                    return
            if began - signed > SIGN_SECONDS:
                signed = began
                with contextlib.suppress(OSError):
                    os.utime(self.run.status_json)
            took = time.monotonic() - began
            time.sleep(min(max(LOOK_SECONDS, took / BUSY_SHARE), SELDOM_SECONDS))

    def _heed_requests(self) -> None:
        if self._signal:
            raise Over("stopped", f"Its supervisor got {self._signal} while it was queued; nothing was run.")
        request = read_json(self.run.request_json)
        if is_stop(request, self._status["attempt"]):
            raise Over("stopped", "Taken out of the queue as asked; nothing was run.")

    def _note(self, number: int, _: object) -> None:
        self._signal = signal.Signals(number).name

    def _write(self, change: dict[str, Any]) -> None:
        self._status.update({**change, "updated": time.time()})
        write_json(self.run.status_json, self._status)


def rewrite_files(run: RunDirectory, config: RunConfig, gpus: Sequence[Gpu]) -> None:
    """Write those files anew that name the GPUs, where these are others than when the run was queued."""
    for name, text in file_texts(config, ranks_per_node(config, len(gpus)), gpus).items():
        path = run.path / name
        if name != run.run_yaml.name and (not path.exists() or path.read_text("utf-8") != text):
            path.write_text(text, "utf-8")
