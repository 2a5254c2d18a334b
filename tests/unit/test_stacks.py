"""What ranks that hang wait for: real processes, and py-spy's answer as it was recorded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.runs import wait_for
from support.written_runs import WrittenRun

from engine.events import identity, start_time, write_json
from qltui.runs import stacks

DUMPED = [
    {"os_thread_id": 8, "frames": [{"name": "_run", "filename": "/lib/threading.py", "line": 1}]},
    {"os_thread_id": 7, "frames": [
        {"name": "all_reduce", "filename": "/lib/torch/distributed/distributed_c10d.py", "line": 2812},
        {"name": "sum_over_ranks", "filename": "/home/u/engine/collective.py", "line": 28},
        {"name": "_steps", "filename": "/home/u/engine/loop.py", "line": 52},
    ]},
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    """Its only rank is this process."""
    run = WrittenRun(tmp_path, ranks=1)
    with_ranks(run, os.getpid())
    return run


def with_ranks(run: WrittenRun, *pids: int) -> None:
    ranks = [{**identity(), "rank": rank, "pid": pid, "start_time": start_time(pid)} for rank, pid in enumerate(pids)]
    write_json(run.attempt.launch_json, {"attempt": 1, "world_size": 1, "launcher": identity(), "ranks": ranks})


def answering(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a program answer in py-spy's place."""
    program = folder / "py-spy"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(stacks, "find_py_spy", lambda: str(program))


def test_the_main_thread_counts_and_our_own_function_is_named() -> None:
    told = stacks.where(DUMPED, 7)
    assert told == "is in all_reduce (distributed_c10d.py:2812), called by sum_over_ranks (collective.py:28)"
    assert stacks.where([], 7) == "is not in Python"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'Permission Denied: Try running again' >&2; exit 1", "py-spy may not look into the ranks"),
        ("echo 'No such process' >&2; exit 1", "rank 0 can't be looked into"),
        ("echo '[{}]'", "rank 0 can't be told of"),
        ("exec sleep 60", "rank 0 does not let py-spy look within"),
    ],
)
def test_where_nothing_can_be_told_it_says_why(
    run: WrittenRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    answering(tmp_path, script, monkeypatch)
    monkeypatch.setattr(stacks, "SECONDS", 2.0 if "sleep" not in script else 0.2)
    (line,) = stacks.waits(run.run)
    assert line.startswith(told)


def test_without_py_spy_and_without_ranks(run: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "find_py_spy", lambda: None)
    assert "pip install py-spy" in stacks.waits(run.run)[0]
    run.give_up()
    assert stacks.waits(run.run) == []


@pytest.mark.skipif(stacks.find_py_spy() is None, reason="py-spy is not installed")
def test_a_real_process_is_looked_into(run: WrittenRun) -> None:
    script = "import time\ndef wait_for_nobody():\n    print('here', flush=True)\n    time.sleep(60)\nwait_for_nobody()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            with_ranks(run, process.pid)
            told: Any = wait_for(lambda: stacks.waits(run.run), 20)
        finally:
            process.kill()
    assert "wait_for_nobody" in told[0] or "may not look" in told[0]
