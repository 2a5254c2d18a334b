"""All events of a run made into its state, going on from where it was written down last.

A run of weeks has gigabytes of events. Whoever keeps its levels (the supervisor) writes down now and then, in
``levels/steps.json``, what the events came to, how far each file was read, and the curves in levels. Everybody who
reads begins there; what came after, also where the supervisor was killed, is read from the events themselves.
"""

from __future__ import annotations

import math
import os
import time

from engine.events import Attempt, EventReader, RunDirectory, read_json, write_json
from qltui.runs.levels import Ladder, read_points
from qltui.runs.sense import STATUS, fitting
from qltui.runs.state import RunState

TYPE_CHECKING = False  # `qltui status` loads this
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

SCHEMA_VERSION = 1
NAME = "steps"
ROWS = (512, 2048)
"""Rows of the first levels a reader takes: 16 steps each for the newest 8,192, 256 for half a million before them."""
SMALL = 3 * 1024 * 1024
"""Bytes of events up to which curves are made of them and not of levels, so that no point of a short run is missing."""
CHUNK = 256 * 1024
"""Bytes of a rank's events read at once."""
TRIES = 3
"""The supervisor may replace files between two looks of a reader."""
NONSENSE = (AttributeError, KeyError, IndexError, TypeError, ValueError, OSError)
"""What reading may raise where files are missing, half a disk was full, or a newer version wrote them."""


def levels_of(run: RunDirectory) -> Path:
    """The folder of everything that is kept in levels."""
    return run.path / "levels"


class Reduction:
    """The state of a run, read on from where it was left.

    Of attempts that are over rank 0 alone is read: the curves are its. Never raises on missing or torn files.
    """

    def __init__(
        self, run: RunDirectory, base: Mapping[str, Any], *, curves: bool = False, keeps: bool = False
    ) -> None:
        """Begin with what was written down; ``base`` is a status that tells the run's identity.

        ``curves``: take the levels' curves into the state. ``keeps``: be the one who keeps the levels.
        """
        self.run = run
        self.attempt: Attempt | None = None
        """The attempt whose events are being read."""
        self.resumed = False
        """Whether something written down was found."""
        self._keeps = keeps
        self._readers: dict[int, EventReader] = {}
        self.state = RunState({**base, "attempt": 1})
        for _ in range(0 if curves and self._is_small() else TRIES):
            document = read_json(levels_of(run) / f"{NAME}.json")
            if document is None or document.get("schema_version") != SCHEMA_VERSION:
                break
            try:
                self._restore(document, curves)
                self.resumed = True
                break
            except NONSENSE:
                self.attempt, self._readers, self.state = None, {}, RunState({**base, "attempt": 1})
        if keeps and self.state.ladder is None:
            self.state.ladder = Ladder(levels_of(run), NAME)

    def _is_small(self) -> bool:
        """Whether all events that count are read in no time."""
        attempts = self.run.attempts()
        paths = [attempt.events(0) for attempt in attempts[:-1]]
        paths += [attempts[-1].events(rank) for rank in ranks_of(attempts[-1].events_dir)] if attempts else []
        try:
            return sum(os.stat(path).st_size for path in paths) <= SMALL
        except OSError:  # a rank that has said nothing yet, or that may not be read
            return False

    def _restore(self, document: Mapping[str, Any], curves: bool) -> None:
        attempts = {one.number: one for one in self.run.attempts()}
        attempt = attempts[document["attempt"]] if document["attempt"] else None
        readers = {int(rank): _reader_at(attempt, int(rank), offset) for rank, offset in document["offsets"].items()}
        self.state.restore(document["state"])
        told = self.state.status()
        if len(fitting(told, STATUS)) < len(told):
            raise ValueError("what was written down is no status")
        if curves:
            found = read_points(levels_of(self.run), NAME, document["ladder"], ROWS)
            self.state.series.update({key: found[key] for key in self.state.series.keys() & found.keys()})
        if self._keeps:
            self.state.ladder = Ladder(levels_of(self.run), NAME, document["ladder"])
        self.attempt, self._readers = attempt, readers

    def read(self, seconds: float = math.inf) -> bool:
        """Apply what was written since, for about so long; True if nothing is left."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            following = self._following()
            found = False
            for rank in ranks_of(self.attempt.events_dir) if self.attempt else []:
                if rank > 0 and following:
                    continue
                found |= self._read_chunk(rank)
            if not found:
                if following is None:
                    return True
                self.attempt, self._readers = following, {}
        return False

    def _read_chunk(self, rank: int) -> bool:
        """Apply the next events of a rank; whether there was anything, be it garbage, of which there may be much."""
        reader = self._reader(rank)
        before = reader.offset
        for event in reader.read_chunk():
            if self.attempt and event.get("attempt", 1) == self.attempt.number:  # else it is not what it says
                self.state.apply(event)
        return reader.offset != before

    def _reader(self, rank: int) -> EventReader:
        if rank not in self._readers and self.attempt:
            self._readers[rank] = EventReader(self.attempt.events(rank), CHUNK)
        return self._readers[rank]

    def _following(self) -> Attempt | None:
        """The attempt after the one being read."""
        number = self.attempt.number if self.attempt else 0
        return next((attempt for attempt in self.run.attempts() if attempt.number > number), None)

    def keep(self) -> None:
        """Write down how far this is. Raises OSError on a full disk; what was written before still counts."""
        ladder = self.state.ladder
        if ladder is None:
            return
        folder = levels_of(self.run)
        folder.mkdir(mode=0o700, exist_ok=True)
        ladder.flush()
        document = {
            "schema_version": SCHEMA_VERSION,
            "written": time.time(),
            "attempt": self.attempt.number if self.attempt else 0,
            "offsets": {rank: reader.offset for rank, reader in self._readers.items()},
            "state": self.state.dump(),
            "ladder": ladder.describe(),
        }
        write_json(folder / f"{NAME}.json", document)
        ladder.tidy()


def _reader_at(attempt: Attempt | None, rank: int, offset: int) -> EventReader:
    """A reader of what comes after ``offset``; raises ValueError or OSError if no event ends there."""
    if attempt is None:
        raise ValueError("events of no attempt")
    reader = EventReader(attempt.events(rank), CHUNK)
    if offset:
        with open(reader.path, "rb") as file:
            file.seek(offset - 1)
            if file.read(1) != b"\n":
                raise ValueError(f"{reader.path} is not what it was")
    reader.offset = offset
    return reader


def ranks_of(folder: Path) -> list[int]:
    """The ranks that have a file (``rank<r>.<ending>``) in a folder, rank 0 first."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [name.removeprefix("rank").partition(".")[0] for name in names if name.startswith("rank")]
    return sorted(int(rank) for rank in found if rank.isdigit())
