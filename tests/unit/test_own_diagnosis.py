"""The diagnosis of runs of ours, of the small parts: records of ends, samples, refusals that name their cause."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from engine.events import EventWriter, RunDirectory, write_json
from qltui.runs import status
from qltui.runs.diagnosis.causes import BY_ID
from qltui.runs.diagnosis.own_ends import kernel_killed, last_event, line_of
from qltui.runs.diagnosis.own_runs import diagnose_end, diagnose_run

ENGINE = Path(__file__).parents[2] / "engine"
DIED = 1_000.0
NORMAL = {"code": None, "signal": None, "time": DIED, "asked_to_end": False}
KILLED = NORMAL | {"signal": 9}
TOLD = NORMAL | {"signal": 15, "asked_to_end": True}
STUCK = NORMAL | {"signal": 9, "asked_to_end": True, "time": DIED + 6}
LOST_PEER = "Traceback (most recent call last):\nRuntimeError: Connection closed by peer [127.0.0.1]:4006\n"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "died")
    run.path.mkdir()
    run.new_attempt()
    return run


def ends(run: RunDirectory, *records: dict[str, Any], first: int, **more: Any) -> None:
    """Write how its ranks ended, and that it failed."""
    attempt = run.last_attempt()
    assert attempt is not None
    ranks = {str(rank): record for rank, record in enumerate(records)}
    write_json(attempt.exits_json, {"ranks": ranks, "first": first, "launcher_signal": None, **more})
    status = {"id": run.id, "name": run.id, "run_dir": str(run.path), "attempt": 1, "state": "failed", "step": 3}
    write_json(run.status_json, {**status, "reason": "It failed."})


def says(run: RunDirectory, rank: int, kind: str = "failed", wall: float = DIED, **fields: Any) -> None:
    """Write a rank's last event."""
    attempt = run.last_attempt()
    assert attempt is not None
    attempt.logs_dir.mkdir(exist_ok=True)
    attempt.log(rank).touch()
    writer = EventWriter(attempt.events(rank), attempt=1, node=0, rank=rank, local_rank=rank)
    writer.emit("state", state="training")
    writer.emit(kind, **fields)
    writer.close()


def test_every_cause_that_the_engine_names_is_in_the_catalogue() -> None:
    named = set()
    for file in ENGINE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BadInput" and len(node.args) > 1:
                named |= {one.value for one in ast.walk(node.args[1]) if isinstance(one, ast.Constant)} - {
                    "gated",
                    None,
                }
    from engine import errors

    named |= set(errors._PACKAGES.values())
    assert len(named) >= 9
    assert named <= BY_ID.keys()


def test_a_rank_that_the_launcher_ended_is_not_blamed(run: RunDirectory) -> None:
    says(run, 0, phase="load", error="ZeroDivisionError", message="by zero", traceback="", bad_input=False)
    ends(run, NORMAL | {"code": 1}, STUCK, first=0)
    found = diagnose_run(run)
    assert (found.cause, found.rank) == ("unknown", 0)
    assert "by zero" in found.explanation


def test_of_a_killed_rank_and_one_that_lost_it_the_killed_one_is_the_cause(run: RunDirectory) -> None:
    says(run, 0, phase="backward", error="RuntimeError", message="Connection closed", traceback=LOST_PEER)
    ends(run, NORMAL | {"code": 1, "time": DIED - 1}, KILLED, first=0)
    found = diagnose_run(run)
    assert (found.cause, found.rank, found.confidence) == ("host_oom_sigkill", 1, "likely")


@pytest.mark.parametrize("record", [STUCK, NORMAL | {"code": 0}], ids=["hung", "left"])
def test_a_missing_peer_is_named(run: RunDirectory, record: dict[str, Any]) -> None:
    says(run, 0, phase="backward", error="RuntimeError", message="Connection closed", traceback=LOST_PEER)
    says(run, 1, "phase", phase="eval", detail="after training")
    ends(run, NORMAL | {"code": 1}, record, first=0)
    found = diagnose_run(run)
    assert (found.cause, found.rank, found.phase, found.confidence) == ("nccl_timeout", 1, "eval", "certain")


def test_a_crash_says_by_its_stack_where_it_was(run: RunDirectory) -> None:
    says(run, 0, "step", loss=1.0)
    attempt = run.last_attempt()
    assert attempt is not None
    calls = ["torch/autograd/graph.py", "_engine_run_backward", "torch/autograd/__init__.py", "backward",
             "engine/loop.py", "_steps", "engine/train.py", "main"]  # fmt: skip
    stack = [f'  File "/{file}", line 7 in {name}' for file, name in zip(calls[::2], calls[1::2], strict=True)]
    crash = ["Fatal Python error: Segmentation fault", "", "Current thread 0x00007f (most recent call first):", *stack]
    attempt.log(0).write_text("\n".join(["reading rows", *crash, "", "Extension modules: numpy (total: 1)"]))
    ends(run, NORMAL | {"signal": 11}, first=0)
    found = diagnose_run(run)
    assert (found.cause, found.rank, found.phase, found.confidence) == ("sigsegv", 0, "backward", "certain")
    told = {one.line: one.text for one in found.evidence if one.file == "attempts/1/logs/rank0.log"}
    assert told == {2: crash[0], 5: "crashed in _engine_run_backward, /torch/autograd/graph.py line 7"}


def test_a_rank_that_finished_is_not_missing(run: RunDirectory) -> None:
    says(run, 0, phase="save", error="RuntimeError", message="Connection closed", traceback=LOST_PEER)
    says(run, 1, "finished", outcome="finished", adapter=None)
    ends(run, NORMAL | {"code": 1}, NORMAL | {"code": 0}, first=0)
    assert diagnose_run(run).rank == 0


def test_an_interrupted_launcher_is_told_before_the_ranks_it_ended(run: RunDirectory) -> None:
    says(run, 0, phase="backward", error="RuntimeError", message="Connection closed", traceback=LOST_PEER)
    ends(run, NORMAL | {"code": 1}, TOLD, first=1, launcher_signal="SIGINT")
    found = diagnose_run(run)
    assert (found.cause, found.rank) == ("user_interrupt", None)


def test_a_refusal_names_its_cause_and_explains_itself(run: RunDirectory) -> None:
    says(run, 0, phase="data", error="BadInput", message="rows.jsonl: is empty. Give a file", traceback="",
         bad_input=True, cause="dataset_too_small")  # fmt: skip
    ends(run, NORMAL | {"code": 3}, first=0)
    found = diagnose_run(run)
    assert (found.cause, found.confidence, found.phase) == ("dataset_too_small", "certain", "data")
    assert found.explanation == "rows.jsonl: is empty. Give a file."


def write_samples(run: RunDirectory, walls: tuple[float, ...], **counts: tuple[int | None, ...]) -> Path:
    """Samples of a host, at these seconds from the death, with these counts of what the kernel ended."""
    run.telemetry.mkdir()
    file = run.telemetry / "node-1.jsonl"
    rows = [
        {"wall": DIED + wall, **{name: of[place] for name, of in counts.items()}} for place, wall in enumerate(walls)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize(("kills", "walls", "is_told"), [
    ((4, 4, 5), (-2, -1, 0.1), True), ((4, 5, 5), (-2, -0.5, 0.5), True), ((4, 4, 4), (-2, -1, 0.1), False),
    ((4, 5, 5), (-60, -59, 0.1), False), ((4, 4, 5), (-1, 1, 2), False), ((None, None, 5), (-2, -1, 0.1), False),
])  # fmt: skip
def test_the_kernel_is_named_if_its_count_rose_at_the_death(
    run: RunDirectory, kills: tuple[int | None, ...], walls: tuple[float, ...], is_told: bool
) -> None:
    file = write_samples(run, walls, out_of_memory_kills=kills)
    with file.open("a") as samples:
        samples.write('{"wall": "nan", "out_of_memory_kills": 9}\n{"wall": "soon"}\n')
    found = kernel_killed(run, DIED)
    assert (found is not None) == is_told
    if found is not None:
        assert found.is_own is None
        assert '"out_of_memory_kills": 5' in file.read_text().split("\n")[found.evidence.line - 1]
    assert kernel_killed(run, DIED, "node-2") is None


@pytest.mark.parametrize(("machine", "own", "confidence", "says"), [
    ((4, 5), (0, 1), "certain", "for want of memory at that time."),
    ((4, 5), (0, 0), "likely", "but none of the control groups"),
    ((4, 5), (None, None), "likely", "for want of memory at that time."),
    ((None, None), (0, 1), "certain", "for want of memory at that time."),
    ((4, 4), (0, 0), "likely", "a batch system or a person may, too."),
])  # fmt: skip
def test_only_a_count_of_its_own_makes_it_certain_that_a_rank_had_no_memory(
    run: RunDirectory, machine: tuple[int | None, ...], own: tuple[int | None, ...], confidence: str, says: str
) -> None:
    write_samples(run, (-1, 0.1), out_of_memory_kills=machine, own_out_of_memory_kills=own)
    ends(run, KILLED, first=0)
    found = diagnose_run(run)
    assert (found.cause, found.confidence) == ("host_oom_sigkill", confidence)
    assert says in found.explanation


def test_that_the_kernel_ended_something_hours_ago_proves_nothing(run: RunDirectory) -> None:
    ends(run, KILLED, first=0)
    found = diagnose_end(run, status.read(run), out_of_memory=True)
    assert (found.cause, found.confidence) == ("host_oom_sigkill", "likely")
    assert "while the run went on, maybe this one" in found.explanation


def test_lines_are_found_in_order(tmp_path: Path) -> None:
    file = tmp_path / "exits.json"
    write_json(file, {"ranks": {"0": KILLED, "1": STUCK | {"signal": 15}}})
    number, text = line_of(file, '"1": {', '"signal"')
    assert text == '"signal": 15,' == file.read_text().split("\n")[number - 1].strip()
    assert line_of(tmp_path / "gone", "x") == (1, "")


def test_the_last_event_is_found_in_a_file_of_any_size(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    assert last_event(file) == (0, {})
    row = json.dumps({"kind": "step", "text": "x" * 1000})
    file.write_text(f"{row}\n" * 3000 + '{"kind": "phase"}\n{"kind": "torn')
    assert last_event(file) == (3001, {"kind": "phase"})
