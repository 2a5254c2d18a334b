"""What a run's end comes to: memory, capacity, the report as text, lines around an evidence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.died import GIB, OOM, out_of_memory
from support.written_runs import WrittenRun

from qltui.runs.diagnosis.causes.cause import Fix
from qltui.runs.post_mortem import is_appliable, lines_around, of_logs, of_run, report


@pytest.fixture
def died(tmp_path: Path) -> WrittenRun:
    run = out_of_memory(tmp_path)
    os.utime(run.attempt.launch_json, (1000, 1000))
    return run


def test_the_memory_of_the_rank_that_failed(died: WrittenRun) -> None:
    end = of_run(died.run)
    assert end.diagnosis is not None
    assert (end.diagnosis.cause, end.diagnosis.rank, end.diagnosis.phase) == ("cuda_oom", 1, "backward")
    assert end.row is not None and end.row["rank"] == 1
    assert end.asked == 2 * GIB
    assert end.allocated == int(21.1 * GIB)
    assert end.capacity == int(23.7 * GIB)
    assert end.log == died.attempt.log(1)


def test_capacity_is_sampled_where_the_error_does_not_tell_it(died: WrittenRun) -> None:
    path = died.attempt.events(1)
    path.write_text(path.read_text().replace(OOM, "torch.OutOfMemoryError: CUDA out of memory."))
    end = of_run(died.run)
    assert (end.asked, end.allocated, end.capacity) == (None, 21 * GIB, 24 * GIB)


def test_the_report_says_it_all(died: WrittenRun) -> None:
    end = of_run(died.run)
    assert end.diagnosis is not None
    text = report(end)
    assert text.startswith("demo: failed at step 12, after ")
    for one in end.diagnosis.evidence:
        assert f"{one.file}:{one.line}" in text
    for fix in end.diagnosis.fixes:
        assert fix.title in text and fix.command in text
    assert "(cuda_oom, " in text


def test_a_run_that_goes_on_has_no_diagnosis(tmp_path: Path) -> None:
    end = of_run(WrittenRun(tmp_path).run)
    assert end.diagnosis is None
    assert "goes on" in report(end)


def test_what_is_left_of_a_damaged_run(died: WrittenRun) -> None:
    attempt = died.attempt
    for path in (died.run.run_yaml, attempt.launch_json, attempt.events(0), attempt.events(1)):
        path.unlink()
    os.utime(attempt.path, (1000, 1000))
    died.run.status_json.write_text("{")
    end = of_run(died.run)
    assert end.diagnosis is not None
    assert end.elapsed is None
    assert report(end)


def test_of_several_logs_the_one_that_tells_most(tmp_path: Path) -> None:
    healthy, failed = tmp_path / "a.log", tmp_path / "b.log"
    healthy.write_text("step 1 loss 2.0\nstep 2 loss 1.9\n")
    failed.write_text(f"step 1\nTraceback (most recent call last):\n  File 'x.py', line 1, in f\n{OOM}\n")
    end = of_logs(tmp_path, [healthy, failed, tmp_path / "gone.log"])
    assert end.diagnosis is not None and end.diagnosis.cause == "cuda_oom"
    assert end.log == failed
    assert end.diagnosis.evidence[0].file == str(failed)
    assert of_logs(tmp_path, []).diagnosis is None


def test_lines_around_one_and_at_the_end(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number}\x1b[31m\n" for number in range(1, 101)))
    assert lines_around(log, 50, 10) == [(number, f"line {number}") for number in range(46, 56)]
    assert lines_around(log, 2, 10) == [(number, f"line {number}") for number in range(1, 8)]
    assert lines_around(log, None, 3) == [(98, "line 98"), (99, "line 99"), (100, "line 100")]
    assert lines_around(log, 1000, 3)[-1] == (100, "line 100")
    assert lines_around(tmp_path / "none", 1, 3) == []
    assert lines_around(tmp_path, 1, 3) == []


def test_a_line_of_many_megabytes_is_one(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"x" * 3_000_000 + b"\nlast\n")
    first, last = lines_around(log, None, 10)
    assert first[0] == 1 and len(first[1]) < 5000
    assert last == (2, "last")


def test_which_fixes_are_applied_by_us() -> None:
    assert is_appliable(Fix("less", patch=(("training.micro_batch_size", 1),)))
    assert is_appliable(Fix("go on", "qltui resume demo"))
    assert not is_appliable(Fix("see", "dmesg"))
    assert not is_appliable(Fix("take another host"))
