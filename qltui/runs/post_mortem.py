"""All that is shown of a run's end: the diagnosis, and the memory of the rank that failed beside plan and capacity."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.events import number, read_json
from qltui.runs import sense, status
from qltui.runs.diagnosis.diagnosis import CERTAIN, GUESS, LIKELY, Diagnosis, diagnose_log
from qltui.runs.diagnosis.own_runs import NotEnded, diagnose_run
from qltui.runs.sanitise import clean
from qltui.runs.state import RunState
from qltui.runs.telemetry import newest_sample
from qltui.words import duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from engine.events import RunDirectory
    from qltui.runs.diagnosis.causes.cause import Fix

BLOCK = 1024 * 1024
LONGEST = 16 * 1024
"""Bytes of a line that are shown."""


class PostMortem(NamedTuple):
    """A run's end."""

    status: Mapping[str, Any]
    folder: Path
    """Where files of the evidence lie."""
    diagnosis: Diagnosis | None
    """None while the run goes on."""
    elapsed: float | None = None
    """Seconds that the last attempt took."""
    row: Mapping[str, Any] | None = None
    """What the rank that failed told of its memory, as in a status; None where nothing is known."""
    plan: Mapping[str, Any] | None = None
    allocated: int | None = None
    """Bytes in use by that rank when it failed."""
    asked: int | None = None
    """Bytes it asked for then, and did not get."""
    held: int | None = None
    """Bytes of its GPU that were in use then beside those: by its allocator, by others."""
    capacity: int | None = None
    """Bytes of its GPU; of the host where it computes on the CPU."""
    log: Path | None = None
    """Where the end is told."""
    is_ours: bool = True

    @property
    def headline(self) -> str:
        """Cause, rank and phase."""
        found = self.diagnosis
        return headline(found) if found else f"{self.status['name']} goes on"


def headline(found: Diagnosis) -> str:
    """The cause with rank and phase, as a sentence begins."""
    where = f" on rank {found.rank}" if found.rank is not None else ""
    when = f", in {found.phase}" if found.phase else ""
    return f"{found.title[:1].upper()}{found.title[1:]}{where}{when}"


def is_appliable(fix: Fix) -> bool:
    """Whether a fix of a run of ours is one that we can do: a patch, or going on as it is."""
    return bool(fix.patch) or fix.command.startswith("qltui resume")


def of_run(run: RunDirectory) -> PostMortem:
    """The end of a run of ours, whatever of its folder is left. It may take seconds where logs are large."""
    current = status.read(run)
    try:
        found = diagnose_run(run)
    except NotEnded:
        return PostMortem(current, run.path, None)
    attempt = run.last_attempt()
    row = next((row for row in current["ranks"] if row["rank"] == found.rank), None)
    plan = sense.fitting(read_json(run.plan_json) or {}, sense.PLAN)
    asked, capacity, free = (_whole(found.details.get(name)) for name in ("asked", "capacity", "free"))
    allocated = _whole(found.details.get("allocated")) or (row or {}).get("memory_allocated")
    held = capacity - free - allocated if capacity and free and allocated else None
    log = attempt.log(found.rank or 0) if attempt else run.supervisor_log
    return PostMortem(
        current, run.path, found, _elapsed(run, current), row, plan, allocated, asked, held,
        capacity or _capacity(run, current, found.rank, plan), log,
    )  # fmt: skip


def of_logs(path: Path, logs: Sequence[Path]) -> PostMortem:
    """The end of a run of another program, by the log that tells most surely; ``path`` is what was watched."""
    found = [(diagnosed(log), log) for log in logs]
    best, log = min(found, key=lambda one: _doubt(one[0]), default=(None, None))
    told = {**RunState().status(), "id": path.name, "name": path.name, "run_dir": str(path), "state": "ended"}
    return PostMortem(told, path.parent, best, log=log, is_ours=False)


def diagnosed(log: Path) -> Diagnosis | None:
    """The diagnosis of a log; None if it can't be read."""
    try:
        with open(log, "rb") as file:
            return diagnose_log(file, str(log))
    except OSError:
        return None


def _doubt(found: Diagnosis | None) -> tuple[bool, int]:
    order = (CERTAIN, LIKELY, GUESS)
    return found is None or found.cause == "none", order.index(found.confidence) if found else len(order)


def _elapsed(run: RunDirectory, current: Mapping[str, Any]) -> float | None:
    attempt = run.last_attempt()
    if attempt is None or not current["updated"]:
        return None
    try:
        return max(0.0, float(current["updated"]) - attempt.launch_json.stat().st_mtime)
    except OSError:
        return None


def _capacity(
    run: RunDirectory, current: Mapping[str, Any], rank: int | None, plan: Mapping[str, Any] | None
) -> int | None:
    """What there is of memory where a rank computes: as sampled, else as planned for."""
    sample = newest_sample(run)
    gpus = sample.get("gpus") or []
    if gpus or current["gpus"]:
        sizes = [size for gpu in gpus if (size := _whole(gpu.get("memory_total"))) and rank in (gpu.get("ranks") or [])]
        planned = ((plan or {}).get("memory") or {}).get("capacity_bytes")
        return max(sizes, default=_whole(planned))
    return _whole(sample.get("memory_limit")) or _whole(sample.get("memory_total"))


def _whole(value: object) -> int | None:
    size = number(value)
    return int(size) if size is not None and 0 < size < 2**62 else None


def report(end: PostMortem) -> str:
    """The whole of it as text."""
    found, told = end.diagnosis, end.status
    took = f", after {duration(end.elapsed)}" if end.elapsed is not None else ""
    step = f" at step {told['step']}" if end.is_ours else ""
    lines = [f"{clean(str(told['name']))}: {told['state']}{step}{took}", ""]
    if found is None:
        return "\n".join([*lines, end.headline, ""])
    lines += [f"{end.headline}  ({found.cause}, {found.confidence})", clean(found.explanation)]
    if found.evidence:
        lines += ["", "Evidence", *(f"  {one.file}:{one.line}  {clean(one.text)}" for one in found.evidence)]
    if found.fixes:
        lines += ["", "What to do"]
    for place, fix in enumerate(found.fixes, 1):
        parts = [f"{field}={value}" for field, value in fix.patch] or [fix.command]
        rest = "  ".join(part for part in (*parts, fix.effect) if part)
        lines.append(f"  {place}. {fix.title}{f': {rest}' if rest else ''}")
    return "\n".join([*lines, ""])


def lines_around(path: Path, line: int | None, count: int) -> list[tuple[int, str]]:
    """(number, text) of lines around one, or of the last, at most ``count``; [] of what can't be read."""
    kept: deque[tuple[int, bytes]] = deque(maxlen=count)
    try:
        with open(path, "rb") as file:
            for place, text in enumerate(_lines(file), 1):
                kept.append((place, text))
                if line is not None and place >= line + count // 2:
                    break
    except OSError:
        return []
    return [(place, clean(text[:LONGEST].decode("utf-8", "replace"))) for place, text in kept]


def _lines(file: Any) -> Any:
    """Lines without their ends; of one without an end no more than can be shown is kept."""
    while line := file.readline(BLOCK):
        whole = line
        while not line.endswith(b"\n") and (line := file.readline(BLOCK)):
            pass
        yield whole.rstrip(b"\r\n")
