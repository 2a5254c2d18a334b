"""The run directory's small files and attempts."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from engine.events import RunDirectory, identity, is_alive, read_json, send_signal, write_json
from engine.events.run_directory import RunIsLive

if TYPE_CHECKING:
    from pathlib import Path


def test_a_reader_never_sees_half_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    values = [{"state": "a" * 5000}, {"state": "b" * 9000}]
    write_json(path, values[0])
    seen: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(read_json(path))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(200):
        write_json(path, values[turn % 2])
    done.set()
    reader.join()
    assert seen
    assert all(value in values for value in seen)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_json(path, {"state": "training"})
    with pytest.raises(TypeError):
        write_json(path, {"state": object()})
    assert os.listdir(tmp_path) == ["status.json"]
    assert read_json(path) == {"state": "training"}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_what_is_no_json_object_reads_as_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "status.json").write_bytes(content)
    assert read_json(tmp_path / "status.json") is None


def test_attempts_are_numbered_without_collision(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.last_attempt() is None
    made: list[int] = []
    threads = [threading.Thread(target=lambda: made.append(run.new_attempt().number)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == list(range(1, 9))
    assert [attempt.number for attempt in run.attempts()] == list(range(1, 9))  # 8 after 7, not after 1


def test_one_claim_at_a_time(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.claim(), pytest.raises(RunIsLive, match=tmp_path.name), run.claim():
        pass
    with run.claim():
        pass


def test_a_process_is_known_by_its_start_time_too() -> None:
    me = identity()
    assert is_alive(me) is True
    other = {**me, "start_time": me["start_time"] - 1}
    assert is_alive(other) is False
    assert send_signal(other, 9) is False
    assert is_alive({**me, "host": "elsewhere"}) is None
