"""Which combinations were proven by running them, on which devices, with which versions, and when.

``verified.json`` beside this file is what ``python -m cells.run`` wrote (tests/cells), merged over machines.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("verified.json")


class Proof(NamedTuple):
    """What one cell came to on one kind of machine."""

    strategy: str
    method: str
    task: str
    option: str
    """Name of what differs from the defaults; empty where nothing does."""
    result: str
    """passed, failed or refused."""
    reason: str
    """Why it is refused, or what failed; empty where it passed."""


class Session(NamedTuple):
    """Cells run on one kind of machine with one set of versions."""

    device: str
    """cuda or cpu."""
    devices: list[str]
    """Name of each rank's device."""
    model: str
    """tiny or 1b: how large the model was."""
    versions: dict[str, str]
    date: str
    """Of the newest result, YYYY-MM-DD."""
    proofs: list[Proof]

    @property
    def hardware(self) -> str:
        """As ``2 x NVIDIA H200``, or ``2 CPU ranks``."""
        count = len(self.devices)
        return f"{count} x {self.devices[0]}" if self.device == "cuda" else f"{count} CPU rank{'s' * (count > 1)}"

    def used_by(self, strategy: str) -> str:
        """The part of the hardware that a strategy takes: ``single`` needs one device."""
        return self._replace(devices=self.devices[:1]).hardware if strategy == "single" else self.hardware


@cache
def sessions(file: Path = FILE) -> list[Session]:
    """All sessions: those with most GPUs first, CPU ranks last, newer before older."""
    found = [_session(run) for run in json.loads(file.read_bytes())["runs"]]
    found.sort(key=lambda one: one.date, reverse=True)
    return sorted(found, key=lambda one: (one.device == "cuda", len(one.devices)), reverse=True)


def _session(run: dict[str, Any]) -> Session:
    proofs = [Proof(*(str(cell[name]) for name in Proof._fields)) for cell in run["cells"]]
    return Session(run["device"], run["devices"], run["model"], run["versions"], run["date"], proofs)


def summary() -> str:
    """One line: hardware, version of torch, and date."""
    proven = [session for session in sessions() if any(proof.result == "passed" for proof in session.proofs)]
    return ", ".join(
        f"{session.hardware} (torch {session.versions['torch'].partition('+')[0]}, {session.date})"
        for session in proven
    )
