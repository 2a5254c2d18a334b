"""Notes and tags: kept whole, read whatever is in the file, never lost by another writer."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.events import RunDirectory
from qltui.runs import notes
from qltui.runs.notes import BadNote, annotate, notes_file


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "one")
    run.path.mkdir()
    return run


def test_a_text_and_tags_are_kept_and_changed_one_by_one(run: RunDirectory) -> None:
    assert notes.read(run).fields() == {"note": "", "tags": []}
    annotate(run, "rank 8 was\nenough", tag=["baseline", "Small"])
    annotate(run, tag=["good"], untag=["small", "unknown"])
    assert notes.read(run).fields() == {"note": "rank 8 was\nenough", "tags": ["baseline", "good"]}
    annotate(run, "")
    assert notes.read(run).fields() == {"note": "", "tags": ["baseline", "good"]}
    assert os.listdir(run.path) == ["notes.json"]


def test_a_tag_is_there_once_however_it_is_written(run: RunDirectory) -> None:
    annotate(run, tag=["Baseline"])
    assert annotate(run, tag=["baseline"]).tags == ["baseline"]


@pytest.mark.parametrize("tag", ["", "two words", "a,b", "state:x", 'q"', "-x", "x" * 33, "\x1b[31m"])
def test_what_is_no_tag_is_refused_and_nothing_is_written(run: RunDirectory, tag: str) -> None:
    with pytest.raises(BadNote, match=r"tag|begins"):
        annotate(run, tag=[tag])
    assert not notes_file(run).exists()


def test_more_than_there_is_room_for_is_refused(run: RunDirectory) -> None:
    with pytest.raises(BadNote, match="4,000 characters"):
        annotate(run, "x" * 4001)
    with pytest.raises(BadNote, match="16 tags"):
        annotate(run, tag=[f"tag{number}" for number in range(17)])


@pytest.mark.parametrize(
    ("content", "text", "tags"),
    [
        (b"{half a fi", "", []),
        (b"\xff\xfe\x00", "", []),
        (b"[]", "", []),
        (b'{"text": 5, "tags": ["good", 7, "two words", "\\u001b[31m"]}', "", ["good"]),
        (b'{"text": "kept \\u001b]52;c;x\\u0007", "tags": {}}', "kept", []),
    ],
)
def test_of_a_damaged_file_what_can_be_read_is_read_and_nothing_is_lost(
    run: RunDirectory, content: bytes, text: str, tags: list[str]
) -> None:
    notes_file(run).write_bytes(content)
    found = notes.read(run)
    assert (found.text.strip(), found.tags, found.is_damaged) == (text, tags, True)
    annotate(run, tag=["new"])
    assert notes.read(run).fields()["tags"] == sorted([*tags, "new"])
    assert not notes.read(run).is_damaged
    assert (run.path / "notes.json.damaged").read_bytes() == content


def test_what_a_newer_version_wrote_beside_it_stays(run: RunDirectory) -> None:
    notes_file(run).write_text(json.dumps({"schema_version": 9, "text": "a", "tags": [], "stars": 3}))
    annotate(run, "b")
    assert json.loads(notes_file(run).read_text())["stars"] == 3


def test_two_who_write_at_once_lose_nothing(run: RunDirectory) -> None:
    names = [f"tag{number:02}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: annotate(run, tag=[name]), names))
    assert notes.read(run).tags == names


def test_a_run_that_is_gone_is_an_error_of_the_system(run: RunDirectory) -> None:
    run.path.rmdir()
    with pytest.raises(FileNotFoundError):
        annotate(run, "too late")
