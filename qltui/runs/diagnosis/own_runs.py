"""Why a run of ours died: its ranks' last events and logs, how their processes ended, what the kernel counted.

Each rank is judged by itself, and of all of them the one that tells most counts: a rank that lost its peer says so, and
the peer says why.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.events import number, read_json
from qltui.runs import status
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
from qltui.runs.diagnosis.own_ends import (
    MEANS,
    NO_MEMORY,
    NO_MEMORY_MEANWHILE,
    OTHERS_MEMORY,
    Exits,
    crash_calls,
    kernel_killed,
    last_event,
    line_of,
    numbered_end,
    of_signal,
)
from qltui.runs.diagnosis.phases import phase_of_calls
from qltui.runs.diagnosis.prefixes import strip_prefixes
from qltui.runs.diagnosis.tracebacks import read_tracebacks
from qltui.runs.ending import lost_node
from qltui.runs.state import FINAL
from qltui.words import size

if TYPE_CHECKING:
    from pathlib import Path

    from engine.events import Attempt, RunDirectory
    from qltui.runs.diagnosis.causes.cause import Cause
    from qltui.runs.diagnosis.judge import Verdict
    from qltui.runs.diagnosis.own_ends import Ended


class NotEnded(Exception):
    """The run goes on, so that there is nothing to diagnose."""


class _Account(NamedTuple):
    """What one rank shows of the end."""

    role: float
    """Of what it shows: the lowest of all ranks tells the cause."""
    wall: float
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
    reason = str(ended.get("reason") or "It ended, and nothing tells why.")
    told = [_in_status(run, reason)]
    if ended["state"] == "finished":
        return _finished(run, attempt, ended)
    if ended["state"] == "stopped":
        return of_cause(BY_ID["user_interrupt"], CERTAIN, told, says=reason)
    if attempt is not None and (found := _of_attempt(_End(run, attempt, ended, out_of_memory), reason)):
        return found
    by_launcher = _verdict(run.supervisor_log, None)
    if by_launcher is not None and by_launcher.symptom is not None:
        return diagnose_symptom(by_launcher.symptom, by_launcher, run.supervisor_log.name)
    return of_cause(UNKNOWN, GUESS, told, says=reason)


def _finished(run: RunDirectory, attempt: Attempt | None, ended: dict[str, Any]) -> Diagnosis:
    loss = number(ended["loss"])
    if loss is None or (loss != 0 and math.isfinite(loss)):
        return of_cause(NONE, CERTAIN, [], says=f"It finished as it should, after {ended['step']} steps.")
    return _bad_loss(run, attempt) or of_cause(
        BY_ID["loss_nan_or_zero"], CERTAIN, [_in_status(run, f"loss {loss} at step {ended['step']}", '"loss"')], rank=0
    )


def _bad_loss(run: RunDirectory, attempt: Attempt | None) -> Diagnosis | None:
    """The diagnosis of losses that end as no number, or zero; None if the last one is a number."""
    steps = [] if attempt is None else [one for one in numbered_end(attempt.events(0)) if one[1].get("kind") == "step"]
    bad = list(itertools.takewhile(lambda one: _is_bad(one[1].get("loss")), reversed(steps)))
    if attempt is None or not bad:
        return None
    line, event = bad[-1]
    loss, step = event.get("loss"), event.get("step")
    since = "from the first step on" if len(bad) == len(steps) else f"from step {step} on"
    says = f"The loss was {loss} {since}. Numbers overflowed, rows have nothing to learn, or weights are damaged."
    text = f'"loss": {json.dumps(loss)}, "learning_rate": {event.get("learning_rate")} at step {step}'
    evidence = [Evidence(os.path.relpath(attempt.events(0), run.path), line, text)]
    return of_cause(BY_ID["loss_nan_or_zero"], CERTAIN, evidence, says=says, rank=0, phase="forward")


def _is_bad(loss: Any) -> bool:
    value = number(loss)
    return value is not None and (value == 0 or not math.isfinite(value))


class _End(NamedTuple):
    """An attempt that failed or was lost."""

    run: RunDirectory
    attempt: Attempt
    ended: dict[str, Any]
    """The final status."""
    out_of_memory: bool

    def name(self, path: Path) -> str:
        return os.path.relpath(path, self.run.path)

    def phase(self, rank: int) -> str | None:
        """The phase a rank was in when a signal ended it, where its last event says so."""
        failure = self.ended.get("failure") or {}
        if failure.get("rank") == rank:
            return failure.get("phase")
        last = last_event(self.attempt.events(rank))[1]
        return last.get("phase") if last.get("kind") == "phase" else None


def _of_attempt(end: _End, reason: str) -> Diagnosis | None:
    """By what tells most: a rank that says why it failed or was ended, the launcher's end, a rank that is missing."""
    exits = Exits(end.run, end.attempt)
    if exits.lost_nodes:
        means = "It lost power, network or the shared folder, or its launcher was killed; its ranks' peers lost them."
        says = f"{lost_node(exits.lost_nodes)} {means}"
        return of_cause(BY_ID["nccl_timeout"], CERTAIN, exits.silent(), says=says)
    ranks = sorted({*status.ranks_of(end.attempt.logs_dir), *exits.ranks})
    first = (end.ended.get("failure") or {}).get("rank", exits.first)
    accounts = [account for rank in ranks if (account := _of_rank(end, exits, rank)) is not None]
    best = min(accounts, key=lambda one: (one.role, one.diagnosis.rank != first, one.wall), default=None)
    if best is not None and best.role < Role.PEER:
        return best.diagnosis
    if exits.launcher_signal:
        return of_cause(BY_ID["user_interrupt"], CERTAIN, [exits.signalled()], says=reason)
    signal = re.search(r"[Ll]auncher was ended by (SIG\w+)", reason)
    if signal is not None and of_signal(signal[1]) is not UNKNOWN:
        says = f"{reason} {MEANS[signal[1]]}"
        return of_cause(of_signal(signal[1]), LIKELY, [_in_status(end.run, reason)], says=says)
    if best is None:
        return None
    return _missing_peer(end, exits, best) or best.diagnosis


def _of_rank(end: _End, exits: Exits, rank: int) -> _Account | None:
    """What a rank's last event says, else its log, else the signal that ended it."""
    ended = exits.ranks.get(rank)
    if ended is not None and ended.code == 0:
        return None
    event, line = _last_failure(end.attempt.events(rank))
    if event is not None:
        return _of_event(end, rank, event, line)
    by_signal = None
    if ended is not None and ended.signal and not ended.by_launcher:
        by_signal = _of_signal(end, exits, rank, ended)
    log = end.attempt.log(rank)
    verdict = _verdict(log, rank)
    if verdict is None or verdict.symptom is None:
        return by_signal
    found = diagnose_symptom(verdict.symptom, verdict, end.name(log))._replace(rank=rank)
    if by_signal is not None and found.cause == by_signal.diagnosis.cause:
        evidence, calls = [*by_signal.diagnosis.evidence, *found.evidence], crash_calls(log)
        if calls:
            at = f"crashed in {calls[0].function}, {calls[0].file} line {calls[0].at}"
            evidence.append(Evidence(end.name(log), calls[0].line, shown(at)))
        outermost_first = "\n".join(f"{call.file} {call.function}" for call in reversed(calls))
        phase = by_signal.diagnosis.phase or phase_of_calls(outermost_first)
        return by_signal._replace(diagnosis=by_signal.diagnosis._replace(evidence=evidence, phase=phase))
    role = order(verdict.symptom, None)[0]
    if by_signal is not None and by_signal.role < role:
        return by_signal
    return _Account(role, ended.time if ended else 0.0, found._replace(phase=found.phase or end.phase(rank)))


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
    line, event = last_event(path)
    return (event, line) if event.get("kind") == "failed" else (None, 0)


def _of_event(end: _End, rank: int, event: dict[str, Any], line: int) -> _Account:
    """By the exception it tells, or the cause that a refusal of bad input names."""
    wall, source = number(event.get("wall")) or 0.0, end.name(end.attempt.events(rank))
    text = str(event.get("traceback") or f"{event.get('error')}: {event.get('message')}")
    lines = strip_prefixes(read_lines(io.BytesIO(text.encode())))
    verdict = judge(read_tracebacks(one._replace(rank=rank, number=line) for one in lines))
    symptom = verdict.symptom
    if event.get("bad_input"):
        by_words = symptom.cause if symptom is not None and symptom.role is Role.ROOT else None
        named = BY_ID.get(str(event.get("cause")))
        return _Account(Role.ROOT, wall, _bad_input(source, rank, event, line, named, by_words))
    if symptom is None:
        found = of_cause(UNKNOWN, GUESS, [Evidence(source, line, shown(text))], says=str(event.get("message")))
        return _Account(Role.UNKNOWN, wall, found._replace(rank=rank, phase=event.get("phase")))
    found = diagnose_symptom(symptom, verdict, source)
    evidence = [*found.evidence, Evidence(source, line, _figures(event))]
    # A forward pass of an evaluation says forward; that it was one its calls tell.
    phase = "eval" if "/engine/evaluate.py" in text else event.get("phase") or found.phase
    found = found._replace(rank=rank, phase=phase, evidence=evidence)
    if found.cause == UNKNOWN.id and event.get("error") == "AuditFailure":
        found = _bad_loss(end.run, end.attempt) or found._replace(explanation=str(event.get("message")))
    return _Account(order(symptom, None)[0], wall, found)


def _bad_input(
    source: str, rank: int, event: dict[str, Any], line: int, named: Cause | None, by_words: Cause | None
) -> Diagnosis:
    """The diagnosis of a refusal in our own words, which say what and where."""
    message = str(event.get("message") or UNKNOWN.says)
    says = message if message.endswith((".", "!", "?", ")")) else f"{message}."
    return of_cause(
        named or by_words or UNKNOWN, CERTAIN if named else LIKELY, [Evidence(source, line, shown(message))],
        says=says, rank=rank, phase=event.get("phase"),
    )  # fmt: skip


def _figures(event: dict[str, Any]) -> str:
    """What the event tells beside the exception: phase, step and the allocator's figures."""
    parts = [f"failed phase={event.get('phase')} step={event.get('step')}"]
    for key in ("memory_allocated", "memory_reserved", "memory_peak"):
        value = number(event.get(key))
        if value is not None and math.isfinite(value):
            parts.append(f"{key.removeprefix('memory_')}={size(value)}")
    return " ".join(parts)


def _of_signal(end: _End, exits: Exits, rank: int, ended: Ended) -> _Account:
    """What the signal says that ended a rank."""
    cause, evidence = of_signal(ended.signal), [exits.evidence(rank)]
    phase = end.phase(rank)
    place = f"in {phase}" if phase else f"at step {end.ended['step']}"
    says = f"Rank {rank} was ended by {ended.signal} {place}."
    if cause is UNKNOWN:
        return _Account(Role.PEER, ended.time, of_cause(UNKNOWN, GUESS, evidence, says=says, rank=rank, phase=phase))
    means, confidence = MEANS[ended.signal], CERTAIN if ended.signal == "SIGSEGV" else LIKELY
    if ended.signal == "SIGKILL":
        means, confidence, by_kernel = _of_kernel(end, rank, ended)
        evidence += by_kernel
    role = Role.INTERRUPT if cause.id == "user_interrupt" else Role.DEATH
    found = of_cause(cause, confidence, evidence, says=f"{says} {means}", rank=rank, phase=phase)
    return _Account(role, ended.time, found)


def _of_kernel(end: _End, rank: int, ended: Ended) -> tuple[str, str, list[Evidence]]:
    """(what SIGKILL means for this rank, how sure that is, evidence): by what the kernel counted at that time.

    Its count of the machine may be about anybody: only that of the rank's own control group makes it certain.
    """
    host = last_event(end.attempt.events(rank))[1].get("host")
    kill = kernel_killed(end.run, ended.time, host if isinstance(host, str) else None)
    if kill is not None and kill.is_own is False:
        return f"{OTHERS_MEMORY} {MEANS['SIGKILL']}", LIKELY, [kill.evidence]
    if kill is not None:
        return NO_MEMORY, CERTAIN if kill.is_own else LIKELY, [kill.evidence]
    if end.out_of_memory:
        return NO_MEMORY_MEANWHILE, LIKELY, [_in_status(end.run, str(end.ended.get("reason")))]
    return MEANS["SIGKILL"], LIKELY, []


def _missing_peer(end: _End, exits: Exits, lost: _Account) -> Diagnosis | None:
    """The diagnosis where ranks lost one that left without a word, or that hung and had to be killed."""
    waited = lost.diagnosis
    for rank, ended in exits.ranks.items():
        left = ended.code == 0 and ended.time <= lost.wall + 1 and not _said_end(end.attempt.events(rank))
        hung = ended.by_launcher and ended.signal == "SIGKILL"
        if rank == waited.rank or not (left or hung):
            continue
        phase = end.phase(rank)
        place = f"in {phase}" if phase else f"at step {end.ended['step']}"
        says = f"Rank {rank} ended with exit code 0 {place}, before the run was over, and the others lost it."
        if hung:
            says = f"Rank {rank} hung {place}: it did not come to an exchange that rank {waited.rank} waited in, and "
            says += "did not heed being told to end."
        evidence = [exits.evidence(rank), *waited.evidence]
        return waited._replace(
            rank=rank, phase=phase or waited.phase, explanation=says, evidence=evidence, confidence=CERTAIN
        )
    return None


def _said_end(path: Path) -> bool:
    return bool(last_event(path)[1].get("kind") == "finished")


def _in_status(run: RunDirectory, text: str, field: str = '"reason"') -> Evidence:
    return Evidence(os.path.relpath(run.status_json, run.path), line_of(run.status_json, field)[0], shown(text))
