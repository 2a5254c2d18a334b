"""Verdicts on a run's health: each where it is due, and none where it is not."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from qltui.runs import health
from qltui.runs.health import Signs, verdicts
from qltui.runs.recent import SAMPLES, Recent
from qltui.runs.state import RunState

NOW = 1_800_000_000.0
GIB = 2**30
HERE = {"host": "here", "pid": 1}


def status_of(step: int = 300, ranks: int = 2, state: str = "training", **changed: Any) -> dict[str, Any]:
    rows = [{"rank": rank, "step": step, "step_time": 1.0, "data_time": 0.01} for rank in range(ranks)]
    empty = RunState({"supervisor": HERE}).status()
    return empty | {
        "state": state, "step": step, "total_steps": 1000, "ranks": rows, "updated": NOW - 1,
    } | changed  # fmt: skip


def losses(count: int, first: float = 2.0, last: float = 0.5, noise: float = 0.05) -> list[tuple[float, float]]:
    chance = random.Random(7)
    fall = (first - last) / max(count - 1, 1)
    return [(step, first - fall * (step - 1) + chance.gauss(0, noise)) for step in range(1, count + 1)]


def constant(count: int, value: float) -> list[tuple[float, float]]:
    return [(step, value) for step in range(1, count + 1)]


def watched(step: int = 300, steps: int = SAMPLES, gpus: Any = (), **by_rank: Any) -> Recent:
    """What ``steps`` statuses told; ``step_time`` and ``data_time`` are by rank."""
    recent = Recent()
    times, waits = by_rank.get("step_time", [1.0, 1.0]), by_rank.get("data_time", [0.01, 0.01])
    own = by_rank.get("own")
    for number in range(steps + 1):
        rows = [
            {"rank": rank, "step": step - steps + number, "step_time": times[rank], "data_time": waits[rank]}
            for rank in range(len(times))
        ]
        for row, (seconds, positions) in zip(rows, own or (), strict=False):
            row["own"] = {"step": row["step"], "seconds": seconds, "positions": positions}
        recent.take(status_of() | {"ranks": rows}, gpus, float(number))
    return recent


def told(**given: Any) -> list[str]:
    return [verdict.name for verdict in verdicts(signs(**given))]


def signs(**given: Any) -> Signs:
    status = given.pop("status", status_of())
    series = {"loss": losses(status["step"]), "grad_norm": constant(status["step"], 0.4)} | given.pop("series", {})
    return Signs(**{"status": status, "series": series, "recent": watched(), "now": NOW} | given)


def test_a_run_that_learns_is_well() -> None:
    (verdict,) = verdicts(signs())
    assert (verdict.name, verdict.severity) == ("good", "good")
    assert verdict.evidence == "loss 1.97 → 0.543 in 300 steps"


@pytest.mark.parametrize("step", [0, 1, 5, 19])
def test_the_first_steps_are_too_early_whatever_they_look_like(step: int) -> None:
    wild = [(number, 12.0 + number * 3) for number in range(1, step + 1)]
    slow = watched(step, min(step, SAMPLES), step_time=[1.0, 9.0], data_time=[0.9, 0.9])
    assert told(status=status_of(step), series={"loss": wild}, recent=slow) == ["early"]


def test_a_run_that_loads_is_too_early_to_judge() -> None:
    assert told(status=status_of(0, state="loading"), recent=Recent()) == ["early"]


# Whether it goes on


def test_a_supervisor_that_is_gone_is_told_and_how_to_know_of_the_run() -> None:
    (verdict, *_) = verdicts(signs(supervised=False, sample_age=90.0))
    assert (verdict.name, verdict.severity) == ("heartbeat", "error")
    assert verdict.next_step == "it goes on while steps come. Give it another supervisor (u), or stop it (s)"
    assert "1 s ago" in verdict.evidence


def test_a_node_without_heartbeats_is_named_after_a_few_of_them() -> None:
    beats = [{"node": 0, "host": "a", "wall": NOW - 1}, {"node": 1, "host": "b", "wall": NOW - 13}]
    (silent, *_) = verdicts(signs(nodes=beats))
    assert (silent.name, silent.severity) == ("node silent", "error")
    assert "node 1 (b) is silent" in str(silent)
    assert "node silent" not in told(nodes=[{**beats[1], "wall": NOW - 11}])


def test_a_supervisor_that_lives_or_that_there_never_was_is_not_missed() -> None:
    assert told(supervised=True, sample_age=2.0) == ["good"]
    assert told(status=status_of(supervisor=None), supervised=False) == ["good"]


def test_a_supervisor_that_samples_no_more_is_told() -> None:
    assert told(supervised=True, sample_age=health.HEARTBEAT_SECONDS + 1) == ["heartbeat"]


def test_of_another_host_it_says_what_cannot_be_known() -> None:
    there = status_of(supervisor={"host": "far", "pid": 1}, updated=NOW - 300)
    (verdict,) = verdicts(signs(status=there, supervised=None, sample_age=300.0))
    assert "can't be seen from here" in verdict.next_step
    assert "far" in verdict.finding
    assert told(status=there | {"updated": NOW - 1}, supervised=None, sample_age=300.0) == ["good"]
    assert told(status=there, supervised=None, sample_age=2.0) == ["stalled"], "its samples still come"


def test_a_stall_is_told_by_the_steps_own_pace() -> None:
    assert told(status=status_of(updated=NOW - health.STALLED_SECONDS - 1)) == ["stalled"]
    assert told(status=status_of(updated=NOW - health.STALLED_SECONDS + 5)) == ["good"]
    slow = watched(step_time=[30.0, 30.0])
    assert told(status=status_of(updated=NOW - 200), recent=slow) == ["good"]
    assert told(status=status_of(updated=NOW - 301), recent=slow) == ["stalled"]


def test_a_stall_is_told_by_who_comes_to_it_late() -> None:
    assert told(status=status_of(updated=NOW - 100), recent=Recent()) == ["stalled"]
    assert told(status=status_of(1, updated=NOW - 100), recent=Recent()) == ["early"], "the first step took its time"


def test_keys_are_named_only_where_there_are_any() -> None:
    stalled = status_of(updated=NOW - 500)
    assert "kill it (x)" in verdicts(signs(status=stalled))[0].next_step
    assert "(x)" not in verdicts(signs(status=stalled, may_act=False))[0].next_step


def test_a_stall_names_the_rank_that_is_behind() -> None:
    status = status_of(updated=NOW - 500)
    status["ranks"][1]["step"] = 298
    (verdict,) = verdicts(signs(status=status))
    assert "rank 1 is at step 298" in verdict.evidence
    assert "log of rank 1" in verdict.next_step


@pytest.mark.parametrize("state", ["loading", "saving", "evaluating"])
def test_loading_saving_and_evaluating_may_take_minutes(state: str) -> None:
    assert "stalled" not in told(status=status_of(state=state, updated=NOW - 500))
    assert "stalled" in told(status=status_of(state=state, updated=NOW - 1000))


def test_a_clock_that_goes_backwards_is_no_stall() -> None:
    assert told(status=status_of(updated=NOW + 4000)) == ["good"]


def test_a_lost_gpu_is_told() -> None:
    assert told(gpus=[{"index": 0}, {"index": 3, "lost": True}]) == ["lost"]


# Whether it learns


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number(value: float) -> None:
    curve = [*losses(290), *((step, value) for step in range(291, 301))]
    (verdict,) = verdicts(signs(series={"loss": curve}))
    assert (verdict.name, verdict.severity) == ("nan", "error")
    assert "since step 291" in verdict.finding


def test_a_loss_that_is_no_number_is_told_in_the_first_steps_too() -> None:
    assert told(status=status_of(2), series={"loss": [(1, 2.0), (2, math.nan)]}) == ["nan"]


def test_a_step_that_fp16_skips_is_nothing() -> None:
    norms = [*constant(298, 0.4), (299, math.inf), (300, math.inf)]
    assert told(series={"grad_norm": norms}) == ["good"]
    assert told(series={"grad_norm": [*norms, *((step, math.inf) for step in range(301, 306))]}) == ["nan"]


def test_one_bad_value_in_the_past_is_past() -> None:
    curve = losses(300)
    curve[150] = (151, math.nan)
    assert told(series={"loss": curve}) == ["good"]


def test_a_loss_that_rises_again_diverges() -> None:
    curve = [*losses(260), *((step, 3.0) for step in range(261, 301))]
    (verdict,) = verdicts(signs(series={"loss": curve}))
    assert (verdict.name, verdict.severity) == ("diverging", "error")


def test_it_diverges_early_too() -> None:
    curve = [*constant(25, 2.0), *((step, 9.0) for step in range(26, 50))]
    assert told(status=status_of(49), series={"loss": curve}) == ["diverging"]


def test_spikes_and_noise_are_no_divergence() -> None:
    curve = losses(300)
    for step in range(282, 290):
        curve[step] = (step + 1, 20.0)
    assert told(series={"loss": curve}) == ["good"]
    small = losses(300, 1.0, 0.02, 0.01)
    assert told(series={"loss": [*small[:280], *((step, 0.08) for step in range(281, 301))]}) == ["good"]


def test_gradients_of_zero_train_nothing() -> None:
    norms = [*constant(290, 0.4), *((step, 0.0) for step in range(291, 301))]
    assert told(series={"grad_norm": norms}) == ["not training"]
    assert told(series={"grad_norm": [*norms[:-1], (300, 1e-9)]}) == ["good"]


def test_a_learning_rate_of_zero_trains_nothing() -> None:
    assert told(series={"learning_rate": constant(300, 0.0)}) == ["not training"]
    ending = [*constant(299, 1e-4), (300, 0.0)]
    assert told(series={"learning_rate": ending}) == ["good"]


def test_a_loss_that_never_fell_is_told_late_enough() -> None:
    assert told(series={"loss": losses(300, 2.0, 2.0, 0.1)}) == ["flat"]
    few = status_of(health.FLAT_STEPS - 1)
    assert told(status=few, series={"loss": losses(few["step"], 2.0, 2.0, 0.1)}) == ["good"]


def test_a_slow_fall_is_a_fall() -> None:
    assert told(series={"loss": losses(300, 2.0, 1.8, 0.1)}) == ["good"]


# How fast it goes


def test_a_driver_that_does_not_answer_is_told() -> None:
    gpus = [{"index": 4, "silent": None}, {"index": 5, "silent": 42.0}]
    (verdict,) = verdicts(signs(gpus=gpus))
    assert (verdict.name, verdict.finding) == ("silent", "the driver does not answer for GPU 5")
    assert verdict.evidence.startswith("for 42 s")


def test_a_straggler_is_named() -> None:
    (verdict,) = verdicts(signs(recent=watched(step_time=[1.0, 1.0, 1.0, 1.19], data_time=[0.01] * 4)))
    assert verdict.name == "straggler"
    assert verdict.finding == "rank 3 is 19 % slower than the others"
    even = watched(step_time=[1.0, 1.05, 1.1, 1.02], data_time=[0.01] * 4)
    assert told(recent=even) == ["good"]


def test_one_slow_step_makes_no_straggler() -> None:
    recent = watched()
    rows = [{"rank": rank, "step": 301, "step_time": seconds} for rank, seconds in enumerate((1.0, 9.0))]
    recent.take(status_of(301) | {"ranks": rows}, (), 99.0)
    assert told(recent=recent) == ["good"]


def test_a_rank_that_waits_for_data_makes_all_wait() -> None:
    """Where ranks wait for each other all steps take the same; their data does not."""
    recent = watched(step_time=[1.0, 1.0], data_time=[0.01, 0.41])
    (verdict,) = verdicts(signs(recent=recent))
    assert "rank 1" in verdict.finding
    assert "wait for data" in verdict.evidence
    assert recent.paces()[1].times == pytest.approx(1 / 0.6)


def test_a_rank_that_computes_slowly_is_named_though_all_steps_take_the_same() -> None:
    slow = watched(step_time=[1.0] * 4, data_time=[0.01] * 4, own=[(0.3, 1000)] * 3 + [(0.357, 1000)])
    (verdict,) = verdicts(signs(recent=slow))
    assert verdict.finding == "rank 3 is 19 % slower than the others"
    assert verdict.evidence.startswith("layers' forward passes take it 0.36 s a step")
    assert "the others 0.3 s" in verdict.evidence
    assert slow.paces()[0].times == 1.0


def test_a_rank_with_longer_rows_or_with_shorter_ones_is_not_slow() -> None:
    longer = watched(own=[(0.3, 1000), (0.45, 1500)])
    shorter = watched(own=[(0.3, 1000), (0.3, 600)])
    assert told(recent=longer) == told(recent=shorter) == ["good"]
    assert told(recent=watched(steps=3, own=[(0.3, 1000), (0.9, 1000)])) == ["good"], "too few steps"


def test_a_run_alone_has_no_straggler() -> None:
    assert Recent().paces() == {}
    assert watched(step_time=[5.0], data_time=[0.01]).paces() == {}


def test_waiting_for_data_is_told_by_its_share() -> None:
    assert told(recent=watched(data_time=[0.3, 0.3])) == ["data-bound"]
    assert told(recent=watched(data_time=[0.2, 0.2])) == ["good"]


def test_a_new_attempt_begins_anew() -> None:
    recent = watched(step_time=[1.0, 5.0])
    assert recent.paces()
    recent.take(status_of(attempt=2), (), None)
    assert recent.paces() == {}


def hot(samples: int, *reasons: str) -> Recent:
    return watched(steps=samples - 1, gpus=[{"index": 0, "throttle": []}, {"index": 1, "throttle": list(reasons)}])


def test_a_throttled_gpu_is_told_once_it_lasts() -> None:
    gpus = [{"index": 0}, {"index": 1, "temperature": 83}]
    recent = hot(health.THROTTLED_SAMPLES, "sw thermal slowdown")
    (verdict,) = verdicts(signs(recent=recent, gpus=gpus))
    assert verdict.finding == "GPU 1 is throttled"
    assert verdict.evidence == "sw thermal slowdown · 83 °C"
    assert told(recent=hot(health.THROTTLED_SAMPLES - 1, "sw thermal slowdown"), gpus=gpus) == ["good"]


def test_a_gpu_at_its_power_limit_is_at_work() -> None:
    assert told(recent=hot(30, "power")) == ["good"]


def test_a_sample_read_twice_counts_once() -> None:
    recent = Recent()
    for _ in range(30):
        recent.take(status_of(), [{"throttle": ["thermal"]}], 5.0)
    assert recent.throttled == {0: (1, ["thermal"])}


def memory(seconds: int, per_second: float) -> dict[str, list[tuple[float, float]]]:
    chance = random.Random(3)
    points = [(NOW - seconds + at, 20 * GIB + at * per_second + chance.random() * 1e8) for at in range(0, seconds, 5)]
    return {"gpu0.memory_used": points, "gpu0.utilization": [(at, 99.0) for at, _ in points]}


def test_memory_that_creeps_is_told_with_when_it_is_full() -> None:
    gpus = [{"index": 0, "memory_total": 40 * GIB}]
    (verdict,) = verdicts(signs(gpus=gpus, telemetry=memory(1500, 2e6)))
    assert verdict.name == "creeping"
    assert "full in about" in verdict.evidence


def test_memory_that_stays_or_has_just_begun_is_nothing() -> None:
    gpus = [{"index": 0, "memory_total": 40 * GIB}]
    assert told(gpus=gpus, telemetry=memory(3000, 0)) == ["good"]
    assert told(gpus=gpus, telemetry=memory(900, 2e6)) == ["good"]
    points = memory(3000, 0)["gpu0.memory_used"]
    step = [(at, value + (5 * GIB if at > NOW - 1500 else 0)) for at, value in points]
    assert told(gpus=gpus, telemetry={"gpu0.memory_used": step}) == ["good"], "one rise, as at the longest row"


def samples(start: float, per_second: float, seconds: int = 3000, every: int = 10) -> list[tuple[float, float]]:
    return [(NOW - seconds + at, start + per_second * at) for at in range(0, seconds + 1, every)]


HOST = {"memory_total": 64 * GIB}


def test_memory_that_creeps_says_whether_it_lasts_to_the_end() -> None:
    gpus = [{"index": 0, "memory_total": 40 * GIB}]
    ends_soon = status_of(eta_seconds=60.0)
    (late,) = verdicts(signs(gpus=gpus, telemetry=memory(3000, 2e6), status=status_of(eta_seconds=1e6)))
    (never,) = verdicts(signs(gpus=gpus, telemetry=memory(3000, 2e6), status=ends_soon))
    assert (late.finding, late.cause) == ("memory of GPU 0 creeps up and will not last", "cuda_oom")
    assert "near step " in late.evidence
    assert never.finding == "memory of GPU 0 creeps up"
    assert never.evidence.endswith("after the end of the run")


def test_host_memory_of_ranks_creeps_with_all_of_them_counted() -> None:
    creeps = {f"rank{rank}.memory": samples(2 * GIB, 1e6) for rank in (0, 1)}
    left = {"host.memory_left": samples(30 * GIB, 0)}
    (verdict,) = verdicts(signs(host=HOST, telemetry=creeps | left, status=status_of(eta_seconds=1e9)))
    assert verdict.finding == "host memory of rank 0 and 1 more creeps up and will not last"
    assert verdict.cause == "host_oom_sigkill"
    assert "full in about 4 h" in verdict.evidence, "30 GiB at 2 MB a second"
    assert told(host=HOST, telemetry={"rank0.memory": samples(2 * GIB, 0)} | left) == ["good"]
    assert told(host=HOST, telemetry={"rank0.memory": samples(2 * GIB, 1e6, 900)} | left) == ["good"], "just begun"


def test_host_memory_that_is_nearly_used_up_or_will_be() -> None:
    little = {"host.memory_left": samples(2 * GIB, 0, 60, 1)}
    (verdict,) = verdicts(signs(host=HOST, telemetry=little))
    assert (verdict.name, verdict.severity, verdict.cause) == ("host memory", "error", "host_oom_sigkill")
    assert verdict.evidence == "2.0 GiB left of 64.0 GiB"
    assert told(host=HOST | {"memory_limit": 16 * GIB}, telemetry=little) == ["good"], "of a limit it is an eighth"
    falls = {"host.memory_left": samples(40 * GIB, -4e6)}
    (verdict,) = verdicts(signs(host=HOST, telemetry=falls, status=status_of(eta_seconds=1e6)))
    assert verdict.finding == "host memory falls and will not last"
    assert told(host=HOST, telemetry=falls, status=status_of(eta_seconds=600.0)) == ["good"]
    dip = [(at, GIB if at == NOW else left) for at, left in samples(40 * GIB, 0, 60, 1)]
    assert told(host=HOST, telemetry={"host.memory_left": dip}) == ["good"], "a moment, as when it saves"


def test_a_host_that_begins_to_swap() -> None:
    (verdict,) = verdicts(signs(telemetry={"host.swap_used": samples(0, 4e6, 600)}))
    assert (verdict.name, verdict.finding) == ("swapping", "the host swaps")
    assert told(telemetry={"host.swap_used": samples(8 * GIB, 0)}) == ["good"], "long there, and left there"


def test_a_disk_that_will_not_hold_the_next_checkpoint() -> None:
    (verdict,) = verdicts(signs(host={"checkpoint_bytes": 3 * GIB, "checkpoints_disk_free": 2 * GIB}))
    assert (verdict.severity, verdict.cause) == ("error", "disk_full")
    assert verdict.evidence == "2.0 GiB free, the newest took 3.0 GiB"
    assert told(host={"checkpoint_bytes": 3 * GIB, "checkpoints_disk_free": 4 * GIB}) == ["good"]
    assert told(host={"checkpoint_bytes": None, "checkpoints_disk_free": 0}) == ["good"], "nobody knows what it takes"


def speeds(change: float, seconds_a_step: float = 3.0) -> dict[str, list[tuple[float, float]]]:
    chance = random.Random(3)
    steps = range(1, 401)
    return {
        "tokens_per_second": [(step, 1000 * (1 + change * step / 400) * chance.uniform(0.7, 1.3)) for step in steps],
        "wall": [(step, NOW + step * seconds_a_step) for step in steps],
    }


def test_steps_that_get_slower_are_a_trend_and_not_noise() -> None:
    (verdict,) = verdicts(signs(status=status_of(400), series=speeds(-0.5)))
    assert verdict.name == "slowing"
    assert told(status=status_of(400), series=speeds(0.0)) == ["good"]
    assert told(status=status_of(400), series=speeds(0.5)) == ["good"]
    assert told(status=status_of(400), series=speeds(-0.5, 0.5)) == ["good"], "three minutes are no trend"


def test_what_ranks_wait_for_is_told_with_a_stall() -> None:
    stalled = status_of(updated=NOW - 500)
    (verdict,) = verdicts(signs(status=stalled, stacks=["rank 1: all_reduce"]))
    assert verdict.details == ("rank 1: all_reduce",)
    assert verdict.cause == "nccl_timeout"


def test_the_worst_comes_first() -> None:
    found = told(supervised=False, recent=watched(data_time=[0.4, 0.4]))
    assert found == ["heartbeat", "data-bound"]
