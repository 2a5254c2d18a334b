"""The reducer: events in, status out."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from engine.events.event_log import COMMON, KINDS
from qltui.runs import state as reducer
from qltui.runs.state import RunState

STATUS_FIELDS = {
    "schema_version", "id", "name", "state", "attempt", "step", "total_steps", "epoch", "loss", "eval_loss",
    "tokens_per_second", "eta_seconds", "run_dir", "adapter_dir", "ranks", "audits", "reason", "failure", "exit_code",
    "exact_match", "sample", "created", "updated", "supervisor", "method", "strategy", "model", "data",
}  # fmt: skip


def event(kind: str, *, rank: int = 0, attempt: int = 1, step: int = 0, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "rank": rank, "attempt": attempt, "step": step, "wall": 100.0 + step, **fields}


def reduced(*events: dict[str, Any]) -> RunState:
    state = RunState({"id": "tiny-1", "run_dir": "/runs/tiny-1"})
    for one in events:
        state.apply(one)
    return state


def test_a_status_has_every_field_before_the_first_event() -> None:
    status = RunState().status()
    assert status.keys() >= STATUS_FIELDS
    assert status["state"] == "starting"
    assert set(status["audits"].values()) == {"pending"}


def test_a_run_from_its_start_to_its_adapter() -> None:
    state = reduced(
        event("started", total_steps=4),
        event("started", rank=1),
        event("state", state="training"),
        event("step", step=1, loss=2.0, tokens=100, step_time=0.5, memory_peak=10),
        event("step", step=2, loss=1.0, tokens=300, step_time=0.5, memory_peak=20),
        event("step", rank=1, step=2, step_time=0.6, memory_allocated=7),
        event("evaluation", step=2, loss=1.5, exact_match=0.25, when="before"),
        event("evaluation", step=2, loss=1.2, exact_match=0.75, accuracy=0.5, when="after"),
    )
    status = state.status()
    assert (status["step"], status["total_steps"], status["loss"], status["eval_loss"]) == (2, 4, 1.0, 1.2)
    assert status["tokens_per_second"] == 400.0
    assert status["eta_seconds"] == 1.0
    assert [(row["rank"], row["step"], row["step_time"]) for row in status["ranks"]] == [(0, 2, 0.5), (1, 2, 0.6)]
    assert (status["ranks"][0]["memory_peak"], status["ranks"][1]["memory_allocated"]) == (20, 7)
    assert status["exact_match"] == {"before": 0.25, "after": 0.75}
    assert status["accuracy"] == 0.5
    assert status["adapter_dir"] is None
    state.apply(event("finished", outcome="finished", adapter="adapter"))
    assert state.status()["adapter_dir"] == "/runs/tiny-1/adapter"
    assert state.series["loss"] == [(1, 2.0), (2, 1.0)]


def test_one_rank_that_failed_an_audit_outweighs_the_others() -> None:
    state = reduced(*[event("audit", rank=rank, audit="sharding", result="passed") for rank in range(3)])
    assert state.status()["audits"]["sharding"] == "passed"
    state.apply(event("audit", rank=1, audit="sharding", result="failed"))
    state.apply(event("audit", rank=2, audit="sharding", result="passed"))
    assert state.status()["audits"]["sharding"] == "failed"


def test_answers_to_prompts_are_kept_the_first_and_the_newest() -> None:
    state = reduced(
        event("prompted", number=2, step=0, prompt="no first", answer="x", when="before"),
        event("prompted", number=1, step=0, prompt="p", answer="nothing", when="before"),
        event("prompted", number=2, step=0, prompt="q", answer="no", when="before"),
        *(event("prompted", number=1, step=step, prompt="p", answer="a", when="during") for step in range(2, 30, 2)),
        event("prompted", number=1, step=20, prompt="p", answer="again", when="during"),  # of a resumed run
        event("prompted", number="x", prompt=None, answer={}, when=3),
    )  # fmt: skip
    first, second = state.status()["samples"]
    assert second == {"prompt": "q", "answers": [{"step": 0, "when": "before", "answer": "no"}]}
    assert [answer["step"] for answer in first["answers"]] == [0, 14, 16, 18, 20]
    assert first["answers"][-1]["answer"] == "again"
    other = RunState()
    other.restore(json.loads(json.dumps(state.dump())))
    assert other.status()["samples"] == state.status()["samples"]


def test_the_first_answered_row_is_the_sample() -> None:
    state = reduced(
        event("sample", prompt="p", wanted="w", answer="bad", when="before"),
        event("sample", prompt="q", wanted="v", answer="other", when="before"),
        event("sample", prompt="p", wanted="w", answer="good", when="after"),
    )
    assert state.status()["sample"] == {"prompt": "p", "wanted": "w", "before": "bad", "after": "good"}


def test_a_resumed_run_does_its_steps_again_and_forgets_the_failure() -> None:
    state = reduced(
        *[event("step", step=step, loss=float(step)) for step in (1, 2, 3)],
        event("failed", step=3, phase="backward", error="ValueError", message="it broke"),
        event("step", attempt=2, step=2, loss=20.0),
    )
    assert state.series["loss"] == [(1, 1.0), (2, 20.0)]
    assert (state.attempt, state.failures, state.status()["step"]) == (2, {}, 2)
    state.apply(event("step", attempt=1, step=9, loss=9.0))  # a straggler of the attempt before
    assert state.status()["step"] == 2


def test_a_phase_that_ended_is_not_where_a_rank_is() -> None:
    state = reduced(event("phase", phase="load"), event("phase", rank=1, phase="load"), event("memory", phase="load"))
    assert state.phases == {1: "load"}


def memory(phase: str, peak: int, allocated: int = 5, rank: int = 0) -> dict[str, Any]:
    sizes = {"memory_allocated": allocated, "memory_reserved": 8, "memory_peak": peak, "host_rss": 90}
    return event("memory", rank=rank, phase=phase, **sizes)


def test_memory_by_phase_keeps_the_time_with_the_highest_peak() -> None:
    state = reduced(
        memory("forward", 10), memory("forward", 30, allocated=7), memory("forward", 20), memory("load", 12, rank=1)
    )
    first, second = state.status()["ranks"]
    highest = {"memory_allocated": 7, "memory_reserved": 8, "memory_peak": 30, "host_rss": 90}
    assert first["memory_by_phase"] == {"forward": highest}
    assert (second["rank"], second["memory_by_phase"]["load"]["memory_peak"]) == (1, 12)
    state.apply(event("step", attempt=2, step=1))
    assert state.status()["ranks"][0]["memory_by_phase"] == {}


def test_a_phase_with_a_lower_peak_does_not_lower_the_ranks() -> None:
    (row,) = reduced(memory("load", 30), memory("data", 10, allocated=2)).status()["ranks"]
    assert (row["memory_peak"], row["memory_allocated"]) == (30, 2)


def test_a_status_given_is_not_changed_by_later_events() -> None:
    state = reduced(memory("load", 30))
    before = state.status()
    state.apply(memory("save", 40))
    assert list(before["ranks"][0]["memory_by_phase"]) == ["load"]


def test_a_dumped_state_is_the_same_when_restored() -> None:
    state = reduced(
        event("started", total_steps=4, pid=7, host="here"),
        event("audit", rank=1, audit="sharding", result="failed", detail="all of it"),
        event("step", step=1, loss="nan", tokens=100, step_time=0.5, data_time=0.1, memory_peak=10),
        memory("forward", 30, rank=1),
        event("phase", rank=1, phase="save"),
        event("failed", rank=1, phase="save", error="OSError", message="full"),
    )
    other = RunState({"id": "tiny-1", "run_dir": "/runs/tiny-1"})
    other.restore(json.loads(json.dumps(state.dump())))
    assert str(other.status()) == str(state.status())
    assert (other.phase_seconds, other.failures, other.pids) == (state.phase_seconds, state.failures, state.pids)


def test_a_loss_that_is_not_a_number_is_shown() -> None:
    loss = reduced(event("step", step=1, loss="nan")).status()["loss"]
    assert loss != loss


def test_long_curves_are_thinned_and_keep_their_spikes_and_newest_points() -> None:
    state = RunState()
    last = reducer.SERIES_LIMIT + 5000
    odd = {3: 9.0, 4000: -9.0, 5000: "nan"}
    for step in range(1, last + 1):
        state.apply(event("step", step=step, loss=odd.get(step, 1.0)))
    points = state.series["loss"]
    assert {(3, 9.0), (4000, -9.0)} <= set(points)
    assert [x for x, y in points if y != y] == [5000]
    assert len(points) <= reducer.SERIES_LIMIT
    assert [x for x, _ in points[-100:]] == list(range(last - 99, last + 1))
    assert [x for x, _ in points] == sorted(x for x, _ in points)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({"a": 1})
FIELDS = sorted({field for fields in KINDS.values() for field in fields} | COMMON.keys() - {"kind"})
ODD_EVENTS = st.builds(
    lambda kind, fields: {**fields, "kind": kind},
    st.sampled_from([*KINDS, "of_a_newer_version"]),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6),
)


@given(st.lists(ODD_EVENTS, max_size=6))
@example([event("evaluation", when=[]), event("audit", audit={}), event("memory", phase=[]), event("sample", when=[])])
def test_no_event_however_odd_stops_the_reader(events: list[dict[str, Any]]) -> None:
    status = reduced(*events).status()
    assert status["state"] in reducer.LIVE
