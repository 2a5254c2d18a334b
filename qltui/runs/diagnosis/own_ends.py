"""How the processes of a run of ours ended: their exit records and the kernel's counters, as evidence."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.events import number, read_json
from engine.events.event_log import parse
from qltui.runs import sense
from qltui.runs.diagnosis.causes import BY_ID, UNKNOWN
from qltui.runs.diagnosis.diagnosis import Evidence, shown
from qltui.runs.ending import signal_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from engine.events import Attempt, RunDirectory
    from qltui.runs.diagnosis.causes.cause import Cause

BY_SIGNAL = {
    "SIGKILL": "host_oom_sigkill", "SIGSEGV": "sigsegv", "SIGBUS": "shm_bus_error", "SIGTERM": "user_interrupt",
    "SIGINT": "user_interrupt", "SIGHUP": "user_interrupt", "SIGXFSZ": "disk_full",
}  # fmt: skip
"""Causes of processes that a signal ended before they could say anything."""
MEANS = {
    "SIGKILL": "The kernel does that where the host has no memory left; a batch system or a person may, too.",
    "SIGSEGV": "It crashed in native code, most often as a library does not fit another.",
    "SIGBUS": "It touched memory that was not to be had, as where shared memory (/dev/shm) is full.",
    "SIGXFSZ": "A file grew over the size that files may have here.",
    **dict.fromkeys(("SIGTERM", "SIGINT", "SIGHUP"), "A person or a batch system ended it from outside."),
}
"""What such a signal tells, in a sentence."""
NO_MEMORY = "The kernel ended a process for want of memory at that time."
NO_MEMORY_MEANWHILE = "The kernel ended a process for want of memory while the run went on, maybe this one."
OTHERS_MEMORY = (
    "The kernel ended a process for want of memory at that time, but none of the control groups that the ranks are in."
)
_MACHINE, _OWN = "out_of_memory_kills", "own_out_of_memory_kills"
LAST = 1024 * 1024
"""Bytes of a file's end in which its last lines are looked for."""
_CRASH_CALL = re.compile(r'  File "(.+)", line (\d+) in (.+)$')
AROUND = 1.5
"""Seconds by which a sample may be away from a death that it tells of."""


class Ended(NamedTuple):
    """How one rank's process ended."""

    code: int | None
    signal: str
    """Name of the signal that ended it; empty for none."""
    time: float
    asked: bool
    """The launcher ended it, as another rank had failed or the launcher was to end."""

    @property
    def by_launcher(self) -> bool:
        """Its end tells nothing: it was healthy, or hung."""
        return self.asked and self.signal in ("SIGTERM", "SIGKILL")


class Exits:
    """``exits.json`` of an attempt; empty if its launcher was killed."""

    def __init__(self, run: RunDirectory, attempt: Attempt) -> None:
        self.path = attempt.exits_json
        self.name = os.path.relpath(self.path, run.path)
        told = sense.fitting(read_json(self.path) or {}, sense.EXITS)
        self.ranks = {int(rank): _ended(record) for rank, record in (told.get("ranks") or {}).items()}
        self.first: int | None = told.get("first")
        self.launcher_signal: str | None = told.get("launcher_signal")
        self.lost_nodes: list[dict[str, Any]] = told.get("lost_nodes") or []

    def evidence(self, rank: int) -> Evidence:
        """The line that says how a rank ended."""
        ended = self.ranks[rank]
        field = "signal" if ended.signal else "code"
        line, text = line_of(self.path, f'"{rank}": {{', f'"{field}"')
        means = f"was ended by {ended.signal}" if ended.signal else f"ended with exit code {ended.code}"
        return Evidence(self.name, line, f"rank {rank} {means}: {text}")

    def silent(self) -> list[Evidence]:
        """The lines that say which nodes had no heartbeat any more."""
        found = []
        for one in self.lost_nodes:
            line, text = line_of(self.path, '"lost_nodes"', f'"node": {one["node"]}')
            found.append(Evidence(self.name, line, shown(f"node {one['node']} ({one.get('host')}) is lost: {text}")))
        return found

    def signalled(self) -> Evidence:
        """The line that says by which signal the launcher was told to end."""
        line, text = line_of(self.path, '"launcher_signal"')
        return Evidence(self.name, line, text)


def _ended(record: dict[str, Any]) -> Ended:
    signal = signal_name(record["signal"]) if record.get("signal") else ""
    return Ended(record.get("code"), signal, number(record.get("time")) or 0.0, record.get("asked_to_end") is True)


def of_signal(signal: str) -> Cause:
    """The cause that a process's end by a signal comes to."""
    return BY_ID.get(BY_SIGNAL.get(signal, ""), UNKNOWN)


class KernelKill(NamedTuple):
    """That the kernel ended a process of the machine for want of memory."""

    is_own: bool | None
    """Whether of a control group that ranks are in; None where nobody counts those."""
    evidence: Evidence


def kernel_killed(run: RunDirectory, died: float, host: str | None = None) -> KernelKill | None:
    """What samples tell of it close to the time ``died``; of the host of that name, None: of any."""
    for path in run.telemetry.glob("*.jsonl"):
        if host is not None and path.stem != host:
            continue
        later: tuple[int, float, dict[str, Any]] | None = None
        for line, sample in reversed(list(numbered_end(path))):
            wall = number(sample.get("wall"))
            if wall is None:
                continue
            if later is not None and wall <= died and later[1] >= died - AROUND:
                is_own = _rose(_OWN, sample, later[2])
                if is_own or _rose(_MACHINE, sample, later[2]):
                    field = _OWN if is_own else _MACHINE
                    text = f'"{field}": {later[2][field]}, after {sample[field]} in the line before'
                    return KernelKill(is_own, Evidence(os.path.relpath(path, run.path), later[0], text))
            later = line, wall, sample
            if wall < died - 2 * AROUND:
                break
    return None


def _rose(field: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool | None:
    """Whether a count did; None where it is not there."""
    first, then = before.get(field), after.get(field)
    return then > first if isinstance(first, int) and isinstance(then, int) else None


class CrashCall(NamedTuple):
    """A call of the thread that crashed, as Python's fault handler printed it."""

    line: int
    """Of the log."""
    file: str
    function: str
    at: str
    """Line of the file."""


def crash_calls(log: Path) -> list[CrashCall]:
    """The calls of the newest crash in a log, the innermost first; none where the fault handler printed none."""
    lines = [(number, text.decode("utf-8", "replace")) for number, text in _last_lines(log)]
    crashes = [place for place, (_, text) in enumerate(lines) if text.startswith("Fatal Python error: ")]
    after = iter(lines[crashes[-1] :] if crashes else ())
    calls = []
    for _, text in after:
        if text.startswith("Current thread "):
            break
    for line, text in after:
        found = _CRASH_CALL.match(text)
        if found is None:
            break
        calls.append(CrashCall(line, found[1].replace("\\", "/"), found[3], found[2]))
    return calls


def line_of(path: Path, *words: str) -> tuple[int, str]:
    """(number, text) of the line with the last of these words that follows one with each before; the first if none."""
    left = list(words)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for count, line in enumerate(file, 1):
                if left[0] in line:
                    left.pop(0)
                if not left:
                    return count, shown(line)
    except OSError:
        pass
    return 1, ""


def numbered_end(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """(line, object) of the last lines of a file of JSON lines, oldest first."""
    return [(line, found) for line, text in _last_lines(path) if (found := parse(text)) is not None]


def _last_lines(path: Path) -> list[tuple[int, bytes]]:
    """(number, text) of the last lines of a file; the first of them may be torn."""
    try:
        with open(path, "rb") as file:
            length = os.fstat(file.fileno()).st_size
            before = 0
            for start in range(0, max(0, length - LAST), LAST):
                before += file.read(min(LAST, length - LAST - start)).count(b"\n")
            data = file.read(LAST)
    except OSError:
        return []
    return list(enumerate(data.split(b"\n"), before + 1))


def last_event(path: Path) -> tuple[int, dict[str, Any]]:
    """(line, event) at the end of an events file; (0, {}) if there is none."""
    found = numbered_end(path)
    return found[-1] if found else (0, {})
