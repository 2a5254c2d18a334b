"""How an attempt ended, judged from its exit records and events. Pure."""

from __future__ import annotations

from engine.events import number
from qltui.runs.sanitise import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from qltui.runs.state import RunState

LOST = "Its processes are gone and left no record of their end (was the machine restarted?)."


def conclude(
    state: RunState,
    world_size: int,
    exits: Mapping[str, Any],
    request: Mapping[str, Any] | None,
    last_lines: Mapping[int, str],
    launcher_end: str | None = None,
    out_of_memory: bool = False,
) -> dict[str, Any]:
    """The final status of an attempt none of whose processes runs any more.

    ``exits`` is ``exits.json``, ``request`` is ``request.json``, ``last_lines`` the last log line of each rank,
    ``launcher_end`` how the launcher itself ended if it left no records, ``out_of_memory`` whether the kernel ended
    a process for want of memory meanwhile.
    """
    records: dict[int, Mapping[str, Any]] = {int(rank): record for rank, record in (exits.get("ranks") or {}).items()}
    ended = {**state.status(), "eta_seconds": None}
    if len(records) == world_size and all(record.get("code") == 0 for record in records.values()):
        if state.outcome is None:
            early = f"Its ranks ended with exit code 0 at step {state.step}, before the run was over."
            return {**ended, "state": "failed", "reason": early, "exit_code": 1}
        outcome = "stopped" if state.outcome == "stopped" else "finished"
        reason = f"Stopped as asked, saved at step {state.step}." if outcome == "stopped" else None
        return {**ended, "state": outcome, "reason": reason, "exit_code": 0}
    if exits.get("lost_nodes"):
        reason = f"{lost_node(exits['lost_nodes'])} The run was at step {state.step}."
        return {**ended, "state": "failed", "reason": reason, "exit_code": 1}
    launcher_signal = exits.get("launcher_signal")
    at_once = bool(request and request.get("now"))
    if is_stop(request, state.attempt) and (launcher_signal or (at_once and not records)):
        how = "at once, as asked," if at_once else "because they did not save in time,"
        reason = f"The ranks were ended {how} at step {state.step}; what was saved before is kept."
        return {**ended, "state": "stopped", "reason": reason, "exit_code": 0}
    if launcher_signal:
        where = f" of node {exits['launcher_node']}" if exits.get("launcher_node") else ""
        launcher_end = f"The launcher{where} got {launcher_signal} and ended the ranks at step {state.step}."
    failure = None if launcher_signal and not state.failures else _failure(state, records, exits, last_lines)
    if failure is None:
        return {**ended, "state": "failed", "reason": launcher_end or LOST, "exit_code": 1}
    if out_of_memory and failure["error"] == "SIGKILL":
        failure["message"] += "; the kernel ended a process for want of memory meanwhile"
    return {**ended, "state": "failed", "reason": _sentence(failure, state), "failure": failure, "exit_code": 1}


def lost_node(lost: Sequence[Mapping[str, Any]]) -> str:
    """The sentence on nodes without a heartbeat, as ``exits.json`` has them."""
    names = ", ".join(f"{one['node']} ({clean(str(one.get('host')))})" for one in lost)
    longest = max(float(one.get("silent_seconds") or 0) for one in lost)
    return f"Node {names} fell silent: no heartbeat for {longest:.0f} s."


def is_stop(request: Mapping[str, Any] | None, attempt: int) -> bool:
    """Whether a request asks this attempt to stop."""
    return request is not None and request.get("action") == "stop" and request.get("attempt", attempt) == attempt


def _failure(
    state: RunState,
    records: Mapping[int, Mapping[str, Any]],
    exits: Mapping[str, Any],
    last_lines: Mapping[int, str],
) -> dict[str, Any] | None:
    """What the rank that failed first says, or what is known of it if it could not say anything.

    A rank that a signal ended, or that left without a word, comes before the errors of others: they are about the peer
    they lost. Among ranks that spoke, the earliest is the cause.
    """
    first = exits.get("first")
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
    import signal  # only here: it takes time to import, and most runs end well

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
