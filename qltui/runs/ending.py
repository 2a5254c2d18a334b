"""How an attempt ended, judged from its exit records and events. Pure."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from engine.events import number
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qltui.runs.state import RunState

LOST = "Its processes are gone and left no record of their end (was the machine restarted?)."


def conclude(
    state: RunState,
    world_size: int,
    exits: Mapping[str, Any],
    request: Mapping[str, Any] | None,
    last_lines: Mapping[int, str],
    launcher_end: str | None = None,
) -> dict[str, Any]:
    """The final status of an attempt none of whose processes runs any more.

    ``exits`` is ``exits.json``, ``request`` is ``request.json``, ``last_lines`` the last log line of each rank,
    ``launcher_end`` how the launcher itself ended if that explains more than the ranks' records.
    """
    records: dict[int, Mapping[str, Any]] = {int(rank): record for rank, record in (exits.get("ranks") or {}).items()}
    ended = {**state.status(), "eta_seconds": None}
    if len(records) == world_size and all(record.get("code") == 0 for record in records.values()):
        outcome = "stopped" if state.outcome == "stopped" else "finished"
        reason = f"Stopped as asked, saved at step {state.step}." if outcome == "stopped" else None
        return {**ended, "state": outcome, "reason": reason, "exit_code": 0}
    if request and request.get("action") == "stop" and request.get("now") and request.get("attempt") == state.attempt:
        reason = f"Ended at once, as asked, at step {state.step}; only what was saved before is kept."
        return {**ended, "state": "stopped", "reason": reason, "exit_code": 0}
    outside = exits.get("launcher_signal")
    if outside:
        launcher_end = f"The launcher got {outside} and ended the ranks at step {state.step}."
    failure = None if outside and not state.failures else _failure(state, records, exits.get("first"), last_lines)
    if failure is None:
        return {**ended, "state": "failed", "reason": launcher_end or LOST, "exit_code": 1}
    return {**ended, "state": "failed", "reason": _sentence(failure, state), "failure": failure, "exit_code": 1}


def _failure(
    state: RunState, records: Mapping[int, Mapping[str, Any]], first: Any, last_lines: Mapping[int, str]
) -> dict[str, Any] | None:
    """What the rank that failed first says, or what is known of it if it could not say anything.

    A rank that a signal ended, or that left without a word, comes before the errors of others: they are about the peer
    they lost. Among ranks that spoke, the earliest is the cause.
    """
    if isinstance(first, int) and first in records and first not in state.failures:
        phase = state.phases.get(first)
        place = f"during {phase}" if phase else f"while {state.state}, at step {state.step}"
        record = records[first]
        if record.get("signal"):
            name = signal_name(record["signal"])
            message = f"rank {first} was ended by {name} {place}"
            return {"rank": first, "phase": phase, "error": name, "message": message}
        line = clean(last_lines.get(first, ""))
        message = f"rank {first} ended with exit code {record.get('code')} {place}" + (f": {line}" if line else "")
        return {"rank": first, "phase": phase, "error": None, "message": message}
    if not state.failures:
        return None
    rank, event = min(state.failures.items(), key=lambda item: number(item[1].get("wall")) or 0.0)
    return {
        "rank": rank,
        "phase": event.get("phase"),
        "error": event.get("error"),
        "message": clean(str(event.get("message"))),
    }


def _sentence(failure: Mapping[str, Any], state: RunState) -> str:
    event = state.failures.get(failure["rank"])
    message = str(failure["message"])
    if event is None:
        return message[:1].upper() + message[1:] + "."
    if event.get("bad_input"):  # the message names file and field; where it happened adds nothing
        return message
    return f"Rank {failure['rank']} failed during {failure['phase']}: {failure['error']}: {message}"


def signal_name(number: int) -> str:
    """SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
