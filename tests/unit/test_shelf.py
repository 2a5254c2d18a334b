"""The list of runs: read again cheaply, and whole whatever a folder holds."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.written_runs import WrittenRun

from engine.events import write_json
from qltui.cli import output
from qltui.runs import notes, store
from qltui.runs import shelf as shelving
from qltui.runs.shelf import Shelf
from qltui.ui.widgets.runs_columns import COLUMNS

LONG_AGO = time.time() - 1000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path))
    return tmp_path


def test_ended_runs_are_read_once_and_again_when_they_change(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, live = WrittenRun(home, "ended"), WrittenRun(home, "live")
    ended.write_status(state="failed")
    read: list[str] = []
    describe = store.describe
    monkeypatch.setattr(store, "describe", lambda run: read.append(run.id) or describe(run))
    shelf = Shelf()
    (first, other), is_complete = shelf.read()
    assert (first["name"], other["name"], is_complete) == ("live", "ended", True)
    del read[:]
    assert shelf.read()[0][1] is other
    assert read == [live.run.id]
    notes.annotate(ended.run, "a note")
    assert shelf.read()[0][1]["note"] == "a note"
    ended.begin_attempt()
    assert shelf.read()[0][1]["state"] == "training"


def test_with_little_time_the_newest_come_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        run = WrittenRun(home, f"run{number}")
        run.write_status(state="finished")
        os.utime(run.run.run_yaml, (LONG_AGO + number, LONG_AGO + number))
    shelf = Shelf()
    monkeypatch.setattr(shelving, "SCREENFUL", 2)
    assert [run["name"] for run in shelf.read(-1)[0]] == ["run4", "run3"]
    found, is_complete = shelf.read()
    assert ([run["name"] for run in found], is_complete) == (["run4", "run3", "run2", "run1", "run0"], True)
    assert shelf.read(-1) == (found, False)


STRANGE: list[bytes] = [
    b"", b"{", b"[]", b"null", b"\xff\xff", b'{"state": "training"',
    b'{"state": [], "step": "x", "total_steps": {}, "loss": "nan?", "created": "now", "name": 5, "ranks": 7}',
    b'{"state": "finished", "attempt": 99, "ranks": [1, {}], "audits": [], "exact_match": {}, "tags": 3, "sample": 1}',
    b'{"state": "of a newer version", "loss": NaN, "step": 1e400, "total_steps": -5, "supervisor": "me"}',
]  # fmt: skip


@pytest.mark.parametrize("content", STRANGE)
@pytest.mark.parametrize("whole", [True, False], ids=["run.yaml", "no run.yaml"])
def test_damaged_runs_are_listed_with_what_is_known(home: Path, content: bytes, whole: bool) -> None:
    run = WrittenRun(home, "broken")
    run.run.status_json.write_bytes(content)
    if not whole:
        run.run.run_yaml.unlink()
    (found,) = store.list_runs()
    assert found["id"] == "broken-20260102-030405"
    assert isinstance(found["created"], float)
    output.describe(found)
    output.progress(found)
    assert_can_be_shown(found)


def test_a_folder_that_holds_nothing_of_a_run_is_none(home: Path) -> None:
    (home / "runs" / "stray").mkdir(parents=True)
    (home / "runs" / "file").write_text("")
    assert store.list_runs() == []


def test_a_status_that_is_a_folder_hides_no_run(home: Path) -> None:
    run = WrittenRun(home, "broken")
    run.run.status_json.unlink()
    run.run.status_json.mkdir()
    notes.notes_file(run.run).mkdir()
    write_json(run.attempt.launch_json, {"launcher": None, "ranks": []})
    (found,) = store.list_runs()
    assert_can_be_shown(found)


def assert_can_be_shown(status: dict[str, Any]) -> None:
    for column in COLUMNS:
        assert isinstance(column.written(status), str)
        column.order(status)
