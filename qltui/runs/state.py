"""A run's state, reduced from its events. Pure: no file, no clock.

``status.json`` and the monitor are both made of it, so what is shown live and what is read later never differ.
"""

from __future__ import annotations

from collections import deque

from engine.events import PHASES, number
from qltui.runs.levels import Ladder, bound
from qltui.runs.sense import MOST, finite, text, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SCHEMA_VERSION = 1
LIVE = ("queued", "starting", "loading", "training", "evaluating", "saving")
FINAL = ("finished", "stopped", "failed", "lost")
AUDITS = ("sharding", "weights", "adapter")
SERIES = ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second", "step_time", "memory", "wall")
"""Curves over steps, of rank 0; ``step_time`` in seconds, ``memory`` in bytes allocated, ``wall`` the time it ended."""
TIMED = ("data", "forward", "backward", "optimizer")
"""Phases whose seconds a step may tell, as ``<phase>_time``."""

RATE_WINDOW = 20
"""Steps over which speed and the time left are averaged."""
SERIES_LIMIT = 20_000
"""Points a series keeps; beyond it the older half is thinned, its spikes kept."""
WARNINGS_LIMIT = 100
MEMORY = ("memory_allocated", "memory_reserved", "memory_peak")

IDENTITY: dict[str, Any] = {
    "id": None, "name": None, "run_dir": None, "method": None, "strategy": None, "model": None, "data": None,
    "created": None, "supervisor": None, "gpus": [], "recoveries": [],
}  # fmt: skip
"""Fields of a status that no event changes; the launch writes them."""

DUMPED = (
    "attempt", "state", "step", "epoch", "loss", "eval_loss", "adapter", "outcome", "warnings", "audit_details",
    "exact_match", "accuracy", "sample", "samples", "updated", "total_steps",
)  # fmt: skip
BY_RANK = ("ranks", "pids", "phases", "failures")
"""What a state holds, but for what its identity and its curves are."""

PROMPTS_LIMIT = 16
ANSWERS_LIMIT = 8
"""Newest answers to a prompt that are kept, beside the first one."""

Point = tuple[float, float]


def blank_rank(rank: int) -> dict[str, Any]:
    """A rank that has told nothing yet."""
    return {
        "rank": rank, "node": 0, "host": None, "step": 0, "step_time": None, "data_time": None,
        **dict.fromkeys(MEMORY), "memory_by_phase": {},
    }  # fmt: skip


def _seconds(value: Any) -> float | None:
    """A time span from an event; None where there is none."""
    seconds = finite(value)
    return seconds if seconds is not None and 0 <= seconds <= MOST else None


def _by_gpu(told: list[Any], before: list[dict[str, int | None]]) -> list[dict[str, int | None]]:
    """Memory on each GPU of a rank that computes on several; peaks only grow."""
    rows = [{key: whole(gpu.get(key)) if isinstance(gpu, dict) else None for key in MEMORY} for gpu in told]
    for row, old in zip(rows, before, strict=False):
        row["memory_peak"] = max(row["memory_peak"] or 0, old["memory_peak"] or 0)
    return rows


class RunState:
    """Takes events one by one, gives a status at any time."""

    def __init__(self, base: Mapping[str, Any] | None = None) -> None:
        """Begin a run; ``base`` is an earlier status of it, of which what no event says is kept."""
        base = base or {}
        self.identity = {key: base.get(key, default) for key, default in IDENTITY.items()}
        self.series: dict[str, list[Point]] = {key: [] for key in SERIES}
        self.exact_match: dict[str, float | None] = {"before": None, "after": None}
        self.accuracy: float | None = None
        self.sample: dict[str, Any] | None = None
        self.samples: list[dict[str, Any]] = []
        """Prompts of the user's own with what was answered: {prompt, answers: [{step, when, answer}]}."""
        self.ladder: Ladder | None = None
        """Where the curves are folded into levels too, of whoever keeps these."""
        self.updated: float | None = finite(base.get("updated"))
        self.total_steps: int | None = whole(base.get("total_steps"))
        self.begin(whole(base.get("attempt")) or 1)

    def begin(self, attempt: int) -> None:
        """Begin an attempt: what was true of the one before alone is forgotten, curves and answers are kept."""
        self.attempt = attempt
        self.state = "starting"
        self.step = 0
        self.epoch: float | None = None
        self.loss: float | None = None
        self.eval_loss: float | None = None
        self.adapter: str | None = None
        self.outcome: str | None = None
        """finished or stopped, once rank 0 said so."""
        self.ranks: dict[int, dict[str, Any]] = {}
        self.pids: dict[int, dict[str, Any]] = {}
        """Process id and host of each rank, by its own word."""
        self.phases: dict[int, str] = {}
        """The phase each rank said it began and not yet ended."""
        self.failures: dict[int, dict[str, Any]] = {}
        """The ``failed`` event of each rank that wrote one."""
        self.warnings: list[str] = []
        self.audit_details: dict[str, dict[str, Any]] = {}
        """Of each audit what was measured (``detail``) and after which step, of the rank that failed if one did."""
        self._audits: dict[str, dict[int, str]] = {audit: {} for audit in AUDITS}
        self._recent: deque[tuple[float, float]] = deque(maxlen=RATE_WINDOW)
        self._phase_times: deque[dict[str, float]] = deque(maxlen=RATE_WINDOW)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take one event. Kinds, fields and states of newer versions are passed over."""
        attempt, rank = whole(event.get("attempt")) or 1, whole(event.get("rank", 0))
        if attempt < self.attempt or rank is None or rank < 0:
            return
        if attempt > self.attempt:
            self.begin(attempt)
        self.updated = finite(event.get("wall")) or self.updated
        handler = getattr(self, f"_on_{event.get('kind')}", None)
        if handler:
            handler(event, rank)

    def _on_started(self, event: Mapping[str, Any], rank: int) -> None:
        host = text(event.get("host"))
        self._rank(rank).update(node=whole(event.get("node")) or 0, host=host)
        self.pids[rank] = {"pid": whole(event.get("pid")), "host": host}
        self._set_total(event)

    def _on_state(self, event: Mapping[str, Any], rank: int) -> None:
        if rank == 0 and event.get("state") in LIVE:
            self.state = event["state"]

    def _on_phase(self, event: Mapping[str, Any], rank: int) -> None:
        self.phases[rank] = str(event.get("phase"))

    def _on_data(self, event: Mapping[str, Any], rank: int) -> None:
        self._set_total(event)

    def _on_step(self, event: Mapping[str, Any], rank: int) -> None:
        step = whole(event.get("step"))
        if step is None or step < 0:  # would take the curves back to their beginning
            return
        row = self._rank(rank)
        row["step"] = step
        row["step_time"], row["data_time"] = _seconds(event.get("step_time")), _seconds(event.get("data_time"))
        own = _seconds(event.get("own_time"))
        if own:
            row["own"] = {"step": step, "seconds": own, "positions": whole(event.get("own_positions"))}
        self._memory(event, rank)
        if rank != 0:
            return
        self.step = step
        self.loss, self.epoch = number(event.get("loss")), finite(event.get("epoch"))
        tokens, seconds = finite(event.get("tokens")), row["step_time"]
        if tokens is not None and seconds:
            self._recent.append((tokens, seconds))
        values = {key: number(event.get(key)) for key in ("loss", "learning_rate", "grad_norm")}
        values |= {"step_time": seconds, "wall": finite(event.get("wall"))}
        speed = tokens / seconds if tokens is not None and seconds else None
        self._point(step, {**values, "tokens_per_second": speed, "memory": number(event.get("memory_allocated"))})
        self._time_phases(event, seconds)

    def _time_phases(self, event: Mapping[str, Any], seconds: float | None) -> None:
        """Note where the seconds of a step went: to the phases it tells of, the rest is ``other``."""
        told = {phase: _seconds(event.get(f"{phase}_time")) for phase in TIMED}
        times = {phase: value for phase, value in told.items() if value is not None}
        if seconds is not None and times:
            self._phase_times.append({**times, "other": max(0.0, seconds - sum(times.values()))})

    @property
    def phase_seconds(self) -> dict[str, float]:
        """Seconds a step takes by phase, the mean over rank 0's newest steps; phases no step tells of are missing.

        ``other`` is what is left of the step, and so holds the phases that are missing.
        """
        phases = dict.fromkeys(phase for times in self._phase_times for phase in times)
        count = len(self._phase_times)
        return {phase: sum(times.get(phase, 0.0) for times in self._phase_times) / count for phase in phases}

    def _on_memory(self, event: Mapping[str, Any], rank: int) -> None:
        """Memory of a phase, written when it ends; of each phase the time with the highest peak is kept."""
        phase = str(event.get("phase"))
        if phase == self.phases.get(rank):
            self.phases.pop(rank, None)
        self._memory(event, rank)
        if phase in PHASES:
            usage = {key: whole(event.get(key)) for key in (*MEMORY, "host_rss")}
            by_phase = self._rank(rank)["memory_by_phase"]
            known = by_phase.get(phase, usage)
            if (usage["memory_peak"] or 0) >= (known["memory_peak"] or 0):
                by_phase[phase] = usage

    def _on_evaluation(self, event: Mapping[str, Any], rank: int) -> None:
        if rank != 0:
            return
        loss = number(event.get("loss"))
        if loss is not None:
            self.eval_loss = loss
            self._point(max(0, whole(event.get("step")) or 0), {"eval_loss": loss})
        accuracy = finite(event.get("accuracy"))
        self.accuracy = self.accuracy if accuracy is None else accuracy
        when = str(event.get("when"))
        if when in self.exact_match and event.get("exact_match") is not None:
            self.exact_match[when] = finite(event["exact_match"])

    def _on_sample(self, event: Mapping[str, Any], rank: int) -> None:
        """Keep the first row answered, with what the model wrote before and after."""
        if rank != 0 or event.get("when") not in ("before", "after"):
            return
        if self.sample is None:
            self.sample = {
                "prompt": event.get("prompt"), "wanted": event.get("wanted"), "before": None, "after": None,
            }  # fmt: skip
        if event.get("prompt") == self.sample["prompt"]:
            self.sample[event["when"]] = event.get("answer")

    def _on_prompted(self, event: Mapping[str, Any], rank: int) -> None:
        """Keep the first answer to each prompt and the newest ones; a resumed run answers some again."""
        place, step = whole(event.get("number")) or 0, max(0, whole(event.get("step")) or 0)
        prompt, answer = text(event.get("prompt")), text(event.get("answer"))
        if rank != 0 or not 1 <= place <= len(self.samples) + 1 or place > PROMPTS_LIMIT or prompt is None:
            return
        if place > len(self.samples):
            self.samples.append({"prompt": prompt, "answers": []})
        answers = [told for told in self.samples[place - 1]["answers"] if told["step"] < step]
        answers.append({"step": step, "when": text(event.get("when")), "answer": answer or ""})
        self.samples[place - 1] = {"prompt": prompt, "answers": answers[:1] + answers[1:][-ANSWERS_LIMIT:]}

    def _on_audit(self, event: Mapping[str, Any], rank: int) -> None:
        audit = str(event.get("audit"))
        if audit in self._audits:
            before, result = self._audit(audit), str(event.get("result"))
            self._audits[audit][rank] = result
            if result == "failed" or (rank == 0 and before != "failed"):
                self.audit_details[audit] = {"detail": event.get("detail"), "step": whole(event.get("step"))}

    def _on_checkpoint(self, event: Mapping[str, Any], rank: int) -> None:
        if rank == 0 and self.ladder is not None:
            self.ladder.cut()  # where a resumed run may go on

    def _on_warning(self, event: Mapping[str, Any], rank: int) -> None:
        message = str(event.get("message"))
        if message not in self.warnings and len(self.warnings) < WARNINGS_LIMIT:  # every rank may say the same
            self.warnings.append(message)

    def _on_failed(self, event: Mapping[str, Any], rank: int) -> None:
        self.failures.setdefault(rank, dict(event))
        self._memory(event, rank)

    def _on_finished(self, event: Mapping[str, Any], rank: int) -> None:
        if rank == 0:
            self.outcome, self.adapter = text(event.get("outcome")), text(event.get("adapter")) or self.adapter

    def _rank(self, rank: int) -> dict[str, Any]:
        return self.ranks.setdefault(rank, blank_rank(rank))

    def _memory(self, event: Mapping[str, Any], rank: int) -> None:
        """What the rank uses now; its peak only grows, for that of a phase may be lower than the rank's."""
        row = self._rank(rank)
        for key in MEMORY:
            value = whole(event.get(key))
            if value is not None:
                row[key] = max(value, row[key] or 0) if key == "memory_peak" else value
        gpus = event.get("gpus")
        if isinstance(gpus, list) and gpus:
            row["gpus"] = _by_gpu(gpus, row.get("gpus", []))

    def _set_total(self, event: Mapping[str, Any]) -> None:
        total = whole(event.get("total_steps"))
        self.total_steps = self.total_steps if total is None else total

    def _point(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add what is known of a step to the curves."""
        known = {key: value for key, value in values.items() if value is not None}
        for key, value in known.items():
            points = self.series[key]
            while points and points[-1][0] >= step:  # a resumed run does these steps again
                points.pop()
            points.append((step, value))
            bound(points, SERIES_LIMIT)
        if self.ladder is not None and known:
            self.ladder.add(step, known)

    def _audit(self, audit: str) -> str:
        """The verdict over all ranks: one that failed outweighs, then one that is not done."""
        results = set(self._audits[audit].values())
        return next((word for word in ("failed", "pending", "passed", "not_applicable") if word in results), "pending")

    def dump(self) -> dict[str, Any]:
        """All that :meth:`restore` needs, for JSON: all but identity and curves."""
        plain = {key: getattr(self, key) for key in (*DUMPED, *BY_RANK)}
        return {**plain, "audits": self._audits, "recent": list(self._recent), "phase_times": list(self._phase_times)}

    def restore(self, dumped: Mapping[str, Any]) -> None:
        """Be as a state was when it was dumped. Raises KeyError, TypeError, ValueError, AttributeError on nonsense."""
        self.begin(int(dumped["attempt"]))
        for key in DUMPED:
            setattr(self, key, dumped[key])
        for key in BY_RANK:
            setattr(self, key, {int(rank): value for rank, value in dumped[key].items()})
        for audit, results in dumped["audits"].items():
            self._audits[audit] = {int(rank): result for rank, result in results.items()}
        self._recent.extend((tokens, seconds) for tokens, seconds in dumped["recent"])
        self._phase_times.extend(dumped["phase_times"])

    def status(self) -> dict[str, Any]:
        """The fields of ``status.json`` as far as events tell; times in seconds, memory in bytes."""
        tokens, seconds = (sum(values) for values in zip(*self._recent, strict=True)) if self._recent else (0.0, 0.0)
        left = None
        if self.total_steps is not None and seconds and self.state in LIVE:
            left = max(0, self.total_steps - self.step) * seconds / len(self._recent)
        run_dir = self.identity["run_dir"]
        return {
            "schema_version": SCHEMA_VERSION,
            **self.identity,
            "state": self.state,
            "attempt": self.attempt,
            "step": self.step,
            "total_steps": self.total_steps,
            "epoch": self.epoch,
            "loss": self.loss,
            "eval_loss": self.eval_loss,
            "tokens_per_second": tokens / seconds if seconds else None,
            "eta_seconds": left,
            "adapter_dir": f"{run_dir}/{self.adapter}" if run_dir and self.adapter else None,
            "ranks": [
                {**row, "memory_by_phase": dict(row["memory_by_phase"])} for _, row in sorted(self.ranks.items())
            ],
            "audits": {audit: self._audit(audit) for audit in AUDITS},
            "audit_details": {audit: dict(told) for audit, told in self.audit_details.items()},
            "accuracy": self.accuracy,
            "exact_match": dict(self.exact_match),
            "sample": dict(self.sample) if self.sample else None,
            "samples": list(self.samples),
            "waiting_for": None,  # a queued run's supervisor says here for whom
            "reason": None,
            "failure": None,
            "exit_code": None,
            "updated": self.updated,
            "unseen": None,  # who reads a run of another host says here what it cannot know
        }
