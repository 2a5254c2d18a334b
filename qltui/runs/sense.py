"""Whether small JSON files of a run say what they should: the door at which torn, foreign and spoilt ones are stopped.

Whoever reads them behind it need not ask what type a value has. What does not fit is left out, as if not written.
"""

from __future__ import annotations

import math

from engine.events import number

TYPE_CHECKING = False  # `qltui status` loads this
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Fits = Callable[[Any], bool]

MOST = 2**63 - 1
"""No step, byte or process is counted further."""


def whole(value: Any) -> int | None:
    """A whole number, or text that is one; None where there is none, or one that nothing can count to."""
    try:
        found = None if value is None or isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found is not None and abs(found) <= MOST else None


def finite(value: Any) -> float | None:
    """A number that is neither NaN nor infinite; None where there is none."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def text(value: Any) -> str | None:
    """Text; None where there is none."""
    return value if isinstance(value, str) else None


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and number(value) is not None)


def _is_finite(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and finite(value) is not None)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and whole(value) is not None


def _is_count_or_none(value: Any) -> bool:
    return value is None or _is_count(value)


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_dict_or_none(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _all(fits: Fits) -> Fits:
    """Each value of an object."""
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _each(fits: Fits) -> Fits:
    """Each value of a list."""
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _object(fields: Mapping[str, Fits], required: tuple[str, ...] = ()) -> Fits:
    """An object in which these fields, where they are there, are right."""
    return lambda value: (
        isinstance(value, dict)
        and all(name in value for name in required)
        and all(fits(value[name]) for name, fits in fields.items() if name in value)
    )


_MEMORY = _object(dict.fromkeys(("memory_allocated", "memory_reserved", "memory_peak", "host_rss"), _is_count_or_none))
_RANK = {
    "rank": _is_count, "node": _is_count, "host": _is_text, "step": _is_count, "step_time": _is_finite,
    "data_time": _is_finite, "memory_allocated": _is_count_or_none, "memory_reserved": _is_count_or_none,
    "memory_peak": _is_count_or_none, "memory_by_phase": _all(_MEMORY), "gpus": _each(_MEMORY),
}  # fmt: skip
_WAITING_FOR = dict.fromkeys(("id", "name", "reason"), lambda value: isinstance(value, str))
_RECOVERY = {
    "attempt": _is_count, "cause": lambda value: isinstance(value, str), "fix": lambda value: isinstance(value, str),
    "step": _is_count, "by_itself": lambda value: isinstance(value, bool), "run": _is_text, "into": _is_text,
    "gpus": _each(_is_text),
}  # fmt: skip
_ANSWERED = {"step": _is_count, "when": _is_text, "answer": _is_text}
_PROMPTED = {"prompt": _is_text, "answers": _each(_object(_ANSWERED, tuple(_ANSWERED)))}
_FAILURE = {"rank": _is_count_or_none, "phase": _is_text, "error": _is_text, "message": _is_text}
STATUS: dict[str, Fits] = {
    "id": _is_text, "name": _is_text, "run_dir": _is_text, "method": _is_text, "strategy": _is_text, "model": _is_text,
    "data": _is_text, "created": _is_finite, "supervisor": _is_dict_or_none, "gpus": _each(_is_text), "state": _is_text,
    "attempt": _is_count, "step": _is_count, "total_steps": _is_count_or_none, "epoch": _is_finite, "loss": _is_number,
    "eval_loss": _is_number, "tokens_per_second": _is_finite, "eta_seconds": _is_finite, "adapter_dir": _is_text,
    "ranks": _each(_object(_RANK, ("rank", "step"))), "audits": _all(_is_text),
    "audit_details": _all(_object({"step": _is_count_or_none})), "accuracy": _is_finite,
    "exact_match": _all(_is_finite), "sample": _is_dict_or_none, "samples": _each(_object(_PROMPTED, tuple(_PROMPTED))),
    "reason": _is_text,
    "failure": lambda value: value is None or _object(_FAILURE, tuple(_FAILURE))(value),
    "waiting_for": lambda value: value is None or _object(_WAITING_FOR, tuple(_WAITING_FOR))(value),
    "exit_code": _is_count_or_none, "updated": _is_finite,
    "recoveries": _each(_object(_RECOVERY, ("attempt", "cause", "fix", "step", "by_itself"))),
}  # fmt: skip
"""Fields of ``status.json``; those of newer versions are let through."""
LAUNCH: dict[str, Fits] = {
    "world_size": _is_count_or_none, "launcher": _is_dict_or_none, "ranks": _each(_is_dict), "gpus": _each(_is_text),
}  # fmt: skip
"""Fields of ``launch.json`` that are read again."""
EXITS: dict[str, Fits] = {
    "ranks": lambda value: _all(_object({"code": _is_count_or_none, "signal": _is_count_or_none}))(value)
    and all(whole(rank) is not None for rank in value),
    "first": _is_count_or_none, "launcher_signal": _is_text, "launcher_node": _is_count_or_none,
    "lost_nodes": _each(_object({"node": _is_count, "host": _is_text, "silent_seconds": _is_finite}, ("node",))),
}  # fmt: skip
"""Fields of ``exits.json``."""
PLAN: dict[str, Fits] = {
    "memory": lambda value: (
        value is None or _object({"total_bytes": _is_count_or_none, "phases": _all(_all(_is_count))})(value)
    ),
    "machine": _is_dict_or_none,
}
"""Fields of ``plan.json`` that are shown beside what was measured."""
_GPU: dict[str, Fits] = {
    **dict.fromkeys(("uuid", "name", "pci_bus_id", "host", "error"), _is_text),
    **dict.fromkeys(
        ("index", "memory_used", "memory_total", "memory_reserved", "other_memory", "sm_clock_mhz", "sm_clock_max_mhz"),
        _is_count_or_none,
    ),
    **dict.fromkeys(("utilization", "temperature", "power_watts", "power_limit_watts"), _is_finite),
    "throttle": lambda value: value is None or _is_list(value),
    "processes": lambda value: value is None or _each(_is_dict)(value),
    "ranks": lambda value: value is None or _each(_is_count)(value),
}
_HOST: dict[str, Fits] = {"rank": _is_count, "memory": _is_count_or_none}


def fitting(told: Mapping[str, Any], fields: Mapping[str, Fits]) -> dict[str, Any]:
    """What was told, without the fields that are not what they should be."""
    return {name: value for name, value in told.items() if name not in fields or fields[name](value)}


def sample(told: Mapping[str, Any]) -> dict[str, Any]:
    """A sample of telemetry of which every value may be used."""
    rows = {name: told[name] if isinstance(told.get(name), list) else [] for name in ("gpus", "ranks")}
    numbers = {name: finite(value) for name, value in told.items() if name not in (*rows, "host")}
    return {
        **numbers,
        "host": text(told.get("host")),
        "gpus": [fitting(gpu, _GPU) for gpu in rows["gpus"] if isinstance(gpu, dict)],
        "ranks": [row for row in rows["ranks"] if _object(_HOST, ("rank",))(row)],
    }
