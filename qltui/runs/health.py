"""How a live run fares: verdicts, each with its evidence and what to do next. Pure: no file, no clock.

A verdict needs more than one odd step, and none is given in the first steps, which are unlike those after them.
"""

from __future__ import annotations

import math
from statistics import fmean, median, variance
from typing import TYPE_CHECKING, Any, NamedTuple

from qltui.runs.forewarning import forewarnings
from qltui.runs.recent import gpu_name
from qltui.runs.verdict import Verdict
from qltui.words import duration, share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qltui.runs.recent import Recent
    from qltui.runs.state import Point

FIRST_STEPS = 20
"""Steps nothing is judged by: kernels are chosen, caches fill, the learning rate warms up."""
WINDOW = 20
"""Steps whose median stands for the loss at a time: one batch of odd rows moves it little."""
WINDOWS = 50
"""Places of a curve that are looked at, so that a long run costs no more than a short one."""
DIVERGED_BY, DIVERGED_TIMES = 0.5, 1.3
"""The loss has to be this much (nats a token) and this many times above its lowest. Noise of a small loss is below the
first, the rise at a change of epoch or data below the second."""
NO_NUMBER_STEPS = 5
"""Steps in a row whose gradient norm is no number: fp16 skips some while it looks for its scale."""
NO_GRADIENT_STEPS = 10
"""Steps in a row with a gradient norm or learning rate of exactly 0; warmup begins with one at most."""
FLAT_STEPS = 200
"""Steps after which a loss that never fell is worth a word; warmup often takes the first hundred."""
FLAT_SHARE = 0.01
"""A fall below this share of the loss, and within twice its noise, is none."""
STRAGGLES = 1.15
"""Times the others' step time: below that lie rows of unlike lengths. Above, every rank pays for the one."""
DATA_SHARE = 0.25
"""Share of the step time: a loader that keeps up takes some percent, this much is worth another worker."""
THROTTLED_SAMPLES = 10
"""Samples in a row, about as many seconds: cards touch their limits for moments all the time."""
SLOWS = ("thermal", "slowdown", "brake")
"""Parts of the reasons that mean trouble; a card at its power limit is merely at work."""
STALLED_STEPS, STALLED_SECONDS = 10, 60.0
"""Step times, and at the least seconds, without any event: a long batch takes some step times, never ten."""
QUIET_SECONDS = {"starting": 300.0, "loading": 900.0, "evaluating": 900.0, "saving": 900.0}
"""What may pass without a word in states that have no steps: large models load and save for minutes."""
FIRST_STEP_SECONDS = 600.0
"""The first step may compile kernels."""
NODE_SECONDS = 12.0
"""Silence of a node: six heartbeats, and what clocks may differ by."""
HEARTBEAT_SECONDS = 30.0
"""The supervisor samples each second; a busy disk delays it, half a minute does not."""


class Signs(NamedTuple):
    """All that verdicts are made of."""

    status: Mapping[str, Any]
    series: Mapping[str, Sequence[Point]]
    recent: Recent
    """What statuses and samples of the last while told of ranks and GPUs."""
    now: float
    """Wall time."""
    gpus: Sequence[Mapping[str, Any]] = ()
    telemetry: Mapping[str, Sequence[Point]] = {}
    """(wall seconds, value) by ``gpu<index>.memory_used`` and the like."""
    supervised: bool | None = True
    """Whether the supervisor lives; None where that cannot be known from here."""
    sample_age: float | None = None
    """Seconds since the newest sample of telemetry."""
    may_act: bool = True
    """Whether the reader has keys that ask something of the run."""
    host: Mapping[str, Any] = {}
    """The newest sample of the host."""
    nodes: Sequence[Mapping[str, Any]] = ()
    """Of a run on several: node, host and the wall time of its newest heartbeat."""
    stacks: Sequence[str] = ()
    """What each rank of a run that hangs waits for, a line each, where that was looked for."""

    @property
    def is_silent(self) -> bool:
        """Whether no samples come any more."""
        return self.sample_age is None or self.sample_age > HEARTBEAT_SECONDS

    def key(self, key: str) -> str:
        """The key that does what was just said, where there is one."""
        return f" ({key})" if self.may_act else ""


ORDER = ("error", "warning", "early", "good")


def verdicts(signs: Signs) -> list[Verdict]:
    """What is to be said of a live run, the worst first; at least one."""
    looks = (
        _heartbeat, _silent_nodes, _lost, _stalled, _not_a_number, _diverging, _not_training, _throttled,
        _straggling, _data_bound, forewarnings, _flat,
    )  # fmt: skip
    found = [verdict for look in looks for verdict in look(signs)]
    return sorted(found, key=lambda verdict: ORDER.index(verdict.severity)) or [_well(signs)]


def _well(signs: Signs) -> Verdict:
    state, step = signs.status["state"], signs.status["step"]
    loss = signs.series.get("loss", ())
    begun, now = ([value for _, value in part if math.isfinite(value)] for part in (loss[:WINDOW], loss[-WINDOW:]))
    if state != "training":
        return Verdict("early", "early", f"{state}: nothing to judge yet" if step == 0 else f"{state}", "")
    if step < FIRST_STEPS or not begun or not now:
        return Verdict("early", "early", "too early to judge", f"{step} of the first {FIRST_STEPS} steps are done")
    return Verdict("good", "good", "nothing unusual", f"loss {median(begun):.3g} → {median(now):.3g} in {step:,} steps")


# Whether it goes on at all


def _heartbeat(signs: Signs) -> Iterator[Verdict]:
    supervisor = signs.status.get("supervisor") or {}
    quiet = _quiet(signs)
    newest = f"its newest event came {duration(quiet)} ago" if quiet is not None else "it has written no event yet"
    age = signs.sample_age
    if supervisor and signs.supervised is False:
        yield Verdict(
            "heartbeat", "error", "its supervisor is gone, its ranks are not", f"{newest}; GPU samples have ended",
            f"it goes on while steps come. Give it another supervisor{signs.key('u')}, or stop it{signs.key('s')}",
        )  # fmt: skip
    elif supervisor and signs.supervised is None and signs.is_silent and _long(signs, quiet):
        host = supervisor.get("host") or "another host"
        seen = f"no sample for {duration(age)}" if age is not None else "no samples"
        yield Verdict(
            "heartbeat", "warning", f"no sign of life from {host}", f"{seen}, {newest}",
            f"what lives there can't be seen from here: run qltui status {signs.status.get('id') or ''} on {host}",
        )  # fmt: skip
    elif supervisor and signs.supervised and age is not None and age > HEARTBEAT_SECONDS:
        yield Verdict(
            "heartbeat", "warning", "its supervisor takes no samples any more", f"newest {duration(age)} old; {newest}",
            "see supervisor.log in the run's folder; a full disk does this",
        )  # fmt: skip


def _silent_nodes(signs: Signs) -> Iterator[Verdict]:
    silent = {f"{one['node']} ({one['host']})": signs.now - one["wall"] for one in signs.nodes}
    silent = {name: seconds for name, seconds in silent.items() if seconds > NODE_SECONDS}
    if silent:
        yield Verdict(
            "node silent", "error", f"node {', '.join(silent)} is silent",
            f"no heartbeat for {duration(max(silent.values()))}",
            "see whether it runs and reaches the shared folder; the others end soon, then resume the run",
            "nccl_timeout",
        )  # fmt: skip


def _lost(signs: Signs) -> Iterator[Verdict]:
    lost = [gpu_name(gpu, place) for place, gpu in enumerate(signs.gpus) if gpu.get("lost")]
    if lost:
        yield Verdict(
            "lost", "error", f"GPU {', '.join(lost)} does not answer", "the driver counts it as lost",
            "its rank ends or hangs: see dmesg for an Xid error, restart the machine and resume the run",
            "gpu_lost_xid",
        )  # fmt: skip
    silent = {gpu_name(gpu, place): gpu["silent"] for place, gpu in enumerate(signs.gpus) if gpu.get("silent")}
    if silent:
        yield Verdict(
            "silent", "error", f"the driver does not answer for GPU {', '.join(silent)}",
            f"for {duration(max(silent.values()))}; nothing is known of the GPUs of that host meanwhile",
            "see dmesg for an Xid error: if there is one, restart the machine and resume the run", "gpu_lost_xid",
        )  # fmt: skip


def _quiet(signs: Signs) -> float | None:
    """Seconds since the newest event; None if there is none, 0 where clocks disagree."""
    updated = signs.status.get("updated")
    return None if updated is None else max(0.0, signs.now - updated)


def _pace(signs: Signs) -> float | None:
    """Seconds of a step: of those seen, or what rank 0 said of its last one where none has come since it is watched."""
    told = next((row.get("step_time") for row in signs.status["ranks"] if row["rank"] == 0), None)
    return signs.recent.step_time or (told if signs.status["step"] > 1 else None)


def _patience(signs: Signs) -> float:
    """Seconds that may pass without an event."""
    state = signs.status["state"]
    if state in QUIET_SECONDS:
        return QUIET_SECONDS[state]
    pace = _pace(signs)
    return FIRST_STEP_SECONDS if pace is None else max(STALLED_SECONDS, STALLED_STEPS * pace)


def _long(signs: Signs, quiet: float | None) -> bool:
    return quiet is not None and quiet > _patience(signs)


def _stalled(signs: Signs) -> Iterator[Verdict]:
    quiet = _quiet(signs)
    if not _long(signs, quiet) or (
        signs.supervised is None and signs.is_silent
    ):  # of another host's silence _heartbeat tells
        return
    pace = _pace(signs)
    takes = f"a step takes {pace:.2g} s" if pace else f"it is {signs.status['state']}"
    steps = {row["rank"]: row["step"] for row in signs.status["ranks"]}
    behind = min(steps, key=lambda rank: steps[rank], default=None)
    if behind is not None and steps[behind] < max(steps.values()):
        takes += f"; rank {behind} is at step {steps[behind]:,}, the first at {max(steps.values()):,}"
        look = f"the log of rank {behind}"
    else:
        look = "the logs"
    yield Verdict(
        "stalled", "error", f"no event for {duration(quiet)}", takes,
        f"look at {look}; if ranks wait for each other, kill it{signs.key('x')} and resume: checkpoints are kept",
        "nccl_timeout" if len(steps) > 1 else "", tuple(signs.stacks),
    )  # fmt: skip


# Whether it learns


def _not_a_number(signs: Signs) -> Iterator[Verdict]:
    for key, name, least in (("loss", "the loss", 1), ("grad_norm", "the gradient norm", NO_NUMBER_STEPS)):
        points = signs.series.get(key, ())
        since = _ends_with(points, lambda value: not math.isfinite(value))
        if since >= least:
            first, value = points[-since]
            yield Verdict(
                "nan", "error", f"{name} is no number ({value}) since step {first:,.0f}", f"{since} in a row",
                "stop it: it does not come back. Resume from a checkpoint before that step with a lower"
                " training.learning_rate, or bf16 in place of fp16", "loss_nan_or_zero",
            )  # fmt: skip
            return


def _ends_with(points: Sequence[Point], is_so: Any) -> int:
    """How many of the newest points are so."""
    count = 0
    for _, value in reversed(points):
        if not is_so(value):
            break
        count += 1
    return count


def _diverging(signs: Signs) -> Iterator[Verdict]:
    points = [point for point in signs.series.get("loss", ())[-WINDOW:] if math.isfinite(point[1])]
    earlier = signs.series.get("loss", ())[:-WINDOW]
    if len(points) < WINDOW or len(earlier) < WINDOW or signs.status["step"] < FIRST_STEPS + WINDOW:
        return
    now = median(value for _, value in points)
    lowest, at = min(_medians(earlier), default=(math.inf, 0.0))
    if now > lowest + DIVERGED_BY and now > lowest * DIVERGED_TIMES:
        yield Verdict(
            "diverging", "error", f"the loss diverges: {lowest:.3g} → {now:.3g}",
            f"medians of {WINDOW} steps, lowest near step {at:,.0f}",
            "stop it, and resume from a checkpoint before with a lower training.learning_rate, or more warmup",
        )  # fmt: skip


def _medians(points: Sequence[Point]) -> Iterator[tuple[float, float]]:
    """(median, step) of windows all along a curve."""
    apart = max(WINDOW, len(points) // WINDOWS)
    for start in range(0, len(points) - WINDOW + 1, apart):
        window = [value for _, value in points[start : start + WINDOW] if math.isfinite(value)]
        if window:
            yield median(window), points[start][0]


def _not_training(signs: Signs) -> Iterator[Verdict]:
    norms = signs.series.get("grad_norm", ())
    none = _ends_with(norms, lambda value: value == 0)
    if none >= NO_GRADIENT_STEPS:
        yield Verdict(
            "not training", "error", "nothing trains: every gradient is 0",
            f"gradient norm 0 in the last {none:,} steps",
            "see whether rows have answers to learn (qltui preview) and which modules the adapters are in",
        )  # fmt: skip
        return
    still = _ends_with(signs.series.get("learning_rate", ()), lambda value: value == 0)
    total = signs.status.get("total_steps")
    if still >= NO_GRADIENT_STEPS and (total is None or signs.status["step"] < total):
        yield Verdict(
            "not training", "error", "nothing trains: the learning rate is 0", f"in the last {still:,} steps",
            "see training.learning_rate, its schedule and warmup",
        )  # fmt: skip


def _flat(signs: Signs) -> Iterator[Verdict]:
    points = signs.series.get("loss", ())
    if len(points) < FLAT_STEPS or signs.status["step"] < FLAT_STEPS:
        return
    fifth = min(len(points) // 5, FLAT_STEPS)
    begun, now = ([value for _, value in part if math.isfinite(value)] for part in (points[:fifth], points[-fifth:]))
    if min(len(begun), len(now)) < WINDOW:
        return
    fall = fmean(begun) - fmean(now)
    noise = math.sqrt(variance(begun) / len(begun) + variance(now) / len(now))
    if abs(fall) < FLAT_SHARE * abs(fmean(begun)) and abs(fall) <= 2 * noise + 1e-12:
        yield Verdict(
            "flat", "warning", "the loss does not fall", f"{fmean(begun):.4g} → {fmean(now):.4g} over {len(points):,}"
            " steps, within its noise",
            "unless it has learnt this before, raise training.learning_rate or look at what rows teach: qltui preview",
        )  # fmt: skip


# How fast it goes


def _straggling(signs: Signs) -> Iterator[Verdict]:
    if signs.status["step"] < FIRST_STEPS:
        return
    paces = signs.recent.paces()
    slow = {rank: pace for rank, pace in paces.items() if pace.times >= STRAGGLES}
    if not slow:
        return
    rank = max(slow, key=lambda rank: slow[rank].times)
    pace = slow[rank]
    more = f" and {len(slow) - 1} more" if len(slow) > 1 else ""
    where = "its GPU's temperature, clock and other processes" if signs.gpus else "what else runs on its host"
    look = f"see {where}, or leave {'that GPU' if signs.gpus else 'it'} out"
    if pace.own >= STRAGGLES and pace.own_seconds:
        facts = f"layers' forward passes take it {pace.own_seconds:.2g} s a step, without waiting for any rank;"
        facts += f" the others {pace.own_seconds / pace.own:.2g} s"
    else:
        facts = f"{pace.seconds:.2g} s a step, {pace.seconds / pace.times:.2g} s at the pace of the others"
        if pace.data_seconds > pace.seconds * DATA_SHARE:
            facts += f"; {pace.data_seconds:.2g} s of it wait for data"
            look = "see what its data comes from"
    yield Verdict(
        "straggler", "warning", f"rank {rank}{more} is {share(pace.times - 1)} slower than the others", facts,
        f"all wait for it: {look}",
    )  # fmt: skip


def _data_bound(signs: Signs) -> Iterator[Verdict]:
    waits = signs.recent.data_share
    if waits is None or signs.status["step"] < FIRST_STEPS or waits < DATA_SHARE:
        return
    yield Verdict(
        "data-bound",
        "warning",
        f"{share(waits)} of the time goes by waiting for data",
        f"of the newest {signs.recent.steps_seen} steps of rank 0",
        "raise data.num_workers, or put the data on a faster disk",
    )


def _throttled(signs: Signs) -> Iterator[Verdict]:
    hot = {
        number: reasons
        for number, (samples, reasons) in signs.recent.throttled.items()
        if samples >= THROTTLED_SAMPLES and any(part in reason for part in SLOWS for reason in reasons)
    }
    if not hot:
        return
    place, reasons = next(iter(hot.items()))
    gpu = signs.gpus[place] if place < len(signs.gpus) else {}
    facts = [", ".join(reasons)]
    facts += [f"{gpu['temperature']:.0f} °C"] if gpu.get("temperature") is not None else []
    if gpu.get("sm_clock_mhz") and gpu.get("sm_clock_max_mhz"):
        facts.append(f"{gpu['sm_clock']:,.0f} of {gpu['sm_clock_max']:,.0f} MHz")
    more = f" and {len(hot) - 1} more" if len(hot) > 1 else ""
    yield Verdict(
        "throttled", "warning", f"GPU {gpu_name(gpu, place)}{more} is throttled", " · ".join(facts),
        "see its airflow and power supply; the ranks wait for the slowest",
    )  # fmt: skip
