"""Why a run of ours died: its ranks' last events and logs, how their processes ended, what the kernel counted.

Each rank is judged by itself, and of all of them the one that tells most counts: a rank that lost its peer says so, and
the peer says why.
"""

from __future__ import annotations

import io
import math
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.events import number, read_json
from engine.events.event_log import parse
from qltui.runs import sense, status
from qltui.runs.diagnosis.causes import BY_ID, NONE, UNKNOWN
from qltui.runs.diagnosis.causes.cause import Role
from qltui.runs.diagnosis.diagnosis import (
    CERTAIN,
    GUESS,
    LIKELY,
    Diagnosis,
    Evidence,
    diagnose_symptom,
    from_json,
    of_cause,
    shown,
)
from qltui.runs.diagnosis.excerpt import read_lines
from qltui.runs.diagnosis.judge import judge, order
from qltui.runs.diagnosis.prefixes import strip_prefixes
from qltui.runs.diagnosis.tracebacks import read_tracebacks
from qltui.runs.ending import signal_name
from qltui.runs.state import FINAL
from qltui.words import size

if TYPE_CHECKING:
    from pathlib import Path

    from engine.events import Attempt, RunDirectory
    from qltui.runs.diagnosis.judge import Verdict

BY_SIGNAL = {
    "SIGKILL": "host_oom_sigkill", "SIGSEGV": "sigsegv", "SIGBUS": "shm_bus_error", "SIGTERM": "user_interrupt",
    "SIGINT": "user_interrupt", "SIGHUP": "user_interrupt", "SIGXFSZ": "disk_full",
}  # fmt: skip
"""Causes of ranks that a signal ended before they could say anything."""
LAST = 1024 * 1024
"""Bytes of an events file's end in which its last event is looked for."""
COUNTED = 256 * 1024 * 1024
"""Bytes of an events file up to which its lines are counted."""


class NotEnded(Exception):
    """The run goes on, so that there is nothing to diagnose."""


class _Account(NamedTuple):
    """What one rank shows of the end."""

    order: tuple[float, ...]
    """Lower tells more."""
    diagnosis: Diagnosis


def diagnose_run(run: RunDirectory) -> Diagnosis:
    """The diagnosis of the run's last attempt: the one its supervisor wrote at its end, if there is one.

    Raises:
        NotEnded: it is live.
    """
    current = status.read(run)
    if current["state"] not in FINAL:
        raise NotEnded(
            f"{run.id} goes on ({current['state']}, step {current['step']}): qltui watch shows how it fares."
        )
    attempt = run.last_attempt()
    written = from_json(read_json(attempt.diagnosis_json) or {}) if attempt else None
    return written or diagnose_end(run, current)


def diagnose_end(run: RunDirectory, ended: dict[str, Any], out_of_memory: bool = False) -> Diagnosis:
    """The diagnosis of an attempt whose final status is ``ended``, with fixes for this very run.

    ``out_of_memory``: whether the kernel ended a process for want of memory meanwhile.
    """
    from qltui.runs.diagnosis.fixes import with_fixes  # only here: who reads a written one does without

    return with_fixes(run, ended, _cause_of_end(run, ended, out_of_memory))


def _cause_of_end(run: RunDirectory, ended: dict[str, Any], out_of_memory: bool) -> Diagnosis:
    attempt = run.last_attempt()
    where = os.path.relpath(run.status_json, run.path)
    if ended["state"] == "finished":
        loss = number(ended["loss"])
        if loss is not None and (loss == 0 or not math.isfinite(loss)):
            evidence = [Evidence(where, 1, f"loss {loss} at step {ended['step']}")]
            return of_cause(BY_ID["loss_nan_or_zero"], CERTAIN, evidence, rank=0)
        return of_cause(NONE, CERTAIN, [], says=f"It finished as it should, after {ended['step']} steps.")
    reason = str(ended.get("reason") or "It ended, and nothing tells why.")
    told = [Evidence(where, 1, shown(reason))]
    if ended["state"] == "stopped":
        return of_cause(BY_ID["user_interrupt"], CERTAIN, told, says=reason)
    accounts = _accounts(run, attempt, ended, out_of_memory) if attempt else []
    if accounts:
        return min(accounts, key=lambda account: account.order).diagnosis
    told_by_launcher = _verdict(run.supervisor_log, None)
    if told_by_launcher is not None and told_by_launcher.symptom is not None:
        return diagnose_symptom(told_by_launcher.symptom, told_by_launcher, run.supervisor_log.name)
    return of_cause(UNKNOWN, GUESS, told, says=reason)


def _accounts(run: RunDirectory, attempt: Attempt, ended: dict[str, Any], out_of_memory: bool) -> list[_Account]:
    exits = sense.fitting(read_json(attempt.exits_json) or {}, sense.EXITS)
    records: dict[str, Any] = exits.get("ranks") or {}
    first = exits.get("first")
    ranks = sorted({*status.ranks_of(attempt.logs_dir), *map(int, records)})
    found = []
    for rank in ranks:
        is_first = rank == (ended.get("failure") or {}).get("rank", first)
        account = _of_rank(run, attempt, rank, records.get(str(rank)) or {}, out_of_memory)
        if account is not None:
            found.append(account._replace(order=(account.order[0], not is_first, *account.order[1:])))
    return found


def _of_rank(
    run: RunDirectory, attempt: Attempt, rank: int, record: dict[str, Any], out_of_memory: bool
) -> _Account | None:
    if record.get("code") == 0:
        return None
    event, line = _last_failure(attempt.events(rank))
    name = os.path.relpath(attempt.log(rank), run.path)
    verdict = _of_event(event, rank, line) if event else _verdict(attempt.log(rank), rank)
    if event and (verdict is None or verdict.symptom is None):
        return _Account((Role.UNKNOWN, 0.0), _bad_input(run, attempt, event, rank, line))
    by_signal = _by_signal(record, rank, name, out_of_memory)
    if verdict is None or verdict.symptom is None:
        return by_signal
    if by_signal is not None and by_signal.order < (order(verdict.symptom, None)[0], 0.0):
        return by_signal
    source = os.path.relpath(attempt.events(rank), run.path) if event else name
    found = diagnose_symptom(verdict.symptom, verdict, source)
    if event:
        found = found._replace(phase=event.get("phase") or found.phase, evidence=_evidence(found, event, source, line))
    wall = number(event.get("wall")) if event else number(record.get("time"))
    return _Account((order(verdict.symptom, None)[0], wall or 0.0), found._replace(rank=rank))


def _verdict(log: Path, rank: int | None) -> Verdict | None:
    """What a log comes to; None if there is none."""
    try:
        with open(log, "rb") as file:
            lines = [line._replace(rank=rank) for line in strip_prefixes(read_lines(file))]
    except OSError:
        return None
    return judge(read_tracebacks(lines))


def _last_failure(path: Path) -> tuple[dict[str, Any] | None, int]:
    """(the event of a rank's failure, its line); (None, 0) if it could not tell one."""
    try:
        with open(path, "rb") as file:
            length = os.fstat(file.fileno()).st_size
            file.seek(max(0, length - LAST))
            lines = file.read(LAST).rstrip(b"\n").split(b"\n")
            event = next((one for one in map(parse, reversed(lines)) if one), None)
            if event is None or event.get("kind") != "failed":
                return None, 0
            file.seek(0)
            count = sum(block.count(b"\n") for block in iter(lambda: file.read(LAST), b"")) if length <= COUNTED else 0
    except OSError:
        return None, 0
    return event, count


def _of_event(event: dict[str, Any], rank: int, line: int) -> Verdict:
    text = str(event.get("traceback") or f"{event.get('error')}: {event.get('message')}")
    lines = strip_prefixes(read_lines(io.BytesIO(text.encode())))
    return judge(read_tracebacks(one._replace(rank=rank, number=line) for one in lines))


def _bad_input(run: RunDirectory, attempt: Attempt, event: dict[str, Any], rank: int, line: int) -> Diagnosis:
    """The diagnosis of a refusal in our own words, which say what and where."""
    evidence = [Evidence(os.path.relpath(attempt.events(rank), run.path), line, shown(str(event.get("message"))))]
    says = str(event.get("message") or UNKNOWN.says)
    return of_cause(UNKNOWN, LIKELY, evidence, says=says, rank=rank, phase=event.get("phase"))


def _evidence(found: Diagnosis, event: dict[str, Any], source: str, line: int) -> list[Evidence]:
    """What the event tells beside the exception: phase, step and the allocator's figures."""
    parts = [f"failed phase={event.get('phase')} step={event.get('step')}"]
    for key in ("memory_allocated", "memory_reserved", "memory_peak"):
        value = number(event.get(key))
        if value is not None and math.isfinite(value):
            parts.append(f"{key.removeprefix('memory_')}={size(value)}")
    return [*found.evidence, Evidence(source, line, " ".join(parts))]


def _by_signal(record: dict[str, Any], rank: int, name: str, out_of_memory: bool) -> _Account | None:
    """What the signal says that ended a rank."""
    if not record.get("signal"):
        return None
    signal = signal_name(record["signal"])
    cause = BY_ID.get(BY_SIGNAL.get(signal, ""))
    text = f"rank {rank} was ended by {signal}"
    evidence = [Evidence(name.replace(os.path.join("logs", f"rank{rank}.log"), "exits.json"), 1, text)]
    if signal == "SIGKILL" and out_of_memory:
        evidence.append(Evidence("memory.events", 1, "the kernel ended a process for want of memory meanwhile"))
    confidence = CERTAIN if signal == "SIGSEGV" or (signal == "SIGKILL" and out_of_memory) else LIKELY
    role = Role.INTERRUPT if signal in ("SIGTERM", "SIGINT", "SIGHUP") else Role.DEATH
    if cause is None:
        return _Account(
            (Role.PEER, 0.0), of_cause(UNKNOWN, GUESS, evidence, says=f"Rank {rank} was ended by {signal}.", rank=rank)
        )
    return _Account((role, number(record.get("time")) or 0.0), of_cause(cause, confidence, evidence, rank=rank))
