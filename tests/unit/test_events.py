"""Events: what is declared can be written, and a reader survives whatever state a file is in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import EventReader, EventWriter, number
from engine.events.event_log import COMMON, KINDS

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = [{"kind": "step", "step": index, "text": "é\u2028" * index} for index in range(4)]
LOG = b"".join(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in EVENTS)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("events") / "rank0.jsonl"


def read_all(reader: EventReader) -> list[dict[str, object]]:
    events = []
    while new := reader.read():
        events += new
    return events


def test_a_written_event_has_the_common_keys_and_its_own(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events" / "rank3.jsonl", attempt=2, node=0, rank=3, local_rank=3)
    writer.step = 7
    writer.emit("step", loss=float("nan"), learning_rate=1e-4)
    writer.close()
    (event,) = EventReader(tmp_path / "events" / "rank3.jsonl").read()
    assert event.keys() == COMMON.keys() | {"loss", "learning_rate"}
    assert (event["attempt"], event["rank"], event["step"]) == (2, 3, 7)
    loss = number(event["loss"])
    assert loss is not None
    assert loss != loss


@pytest.mark.parametrize(("kind", "fields"), [("stepp", {}), ("step", {"lossy": 1})])
def test_what_is_not_declared_is_not_written(tmp_path: Path, kind: str, fields: dict[str, object]) -> None:
    writer = EventWriter(tmp_path / "rank0.jsonl", attempt=1, node=0, rank=0, local_rank=0)
    with pytest.raises(ValueError, match="undeclared"):
        writer.emit(kind, **fields)
    assert (tmp_path / "rank0.jsonl").read_bytes() == b""


def test_every_declared_kind_can_be_written(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "rank0.jsonl", attempt=1, node=0, rank=0, local_rank=0)
    for kind, fields in KINDS.items():
        writer.emit(kind, **dict.fromkeys(fields, 1))
    assert [event["kind"] for event in EventReader(tmp_path / "rank0.jsonl").read()] == list(KINDS)


@pytest.mark.parametrize("kind", ["memory", "step", "failed"])
def test_what_tells_memory_tells_all_of_it(kind: str) -> None:
    assert KINDS[kind].keys() >= {"memory_allocated", "memory_reserved", "memory_peak", "host_rss"}


@pytest.mark.parametrize("cut", range(len(LOG) + 1))
def test_a_line_torn_at_any_byte_is_read_once_it_is_whole(file: Path, cut: int) -> None:
    file.write_bytes(LOG[:cut])
    reader = EventReader(file)
    before = read_all(reader)
    assert before == EVENTS[: LOG[:cut].count(b"\n")]
    file.write_bytes(LOG)
    assert before + read_all(reader) == EVENTS
    assert reader.skipped == 0


@given(pieces=st.lists(st.binary(max_size=40), max_size=6), chunk=st.integers(1, 200))
@settings(deadline=None)
def test_garbage_between_events_costs_no_event_around_it(file: Path, pieces: list[bytes], chunk: int) -> None:
    marked = [json.dumps({"kind": "step", "step": index}).encode() for index in range(len(pieces) + 1)]
    body = (
        marked[0]
        + b"\n"
        + b"".join(piece + b"\n" + mark + b"\n" for piece, mark in zip(pieces, marked[1:], strict=True))
    )
    file.write_bytes(body)
    events = EventReader(file).read()
    steps = [event["step"] for event in events if event["kind"] == "step"]
    assert steps == list(range(len(marked)))
    # Whatever the chunk, reading ends, and never invents an event.
    assert [event for event in read_all(EventReader(file, chunk)) if event not in events] == []


@given(cut=st.integers(0, len(LOG)))
@settings(deadline=None)
def test_a_file_that_became_shorter_is_read_from_its_start(file: Path, cut: int) -> None:
    file.write_bytes(LOG)
    reader = EventReader(file)
    read_all(reader)
    file.write_bytes(LOG[:cut])
    expected = [] if cut == len(LOG) else EVENTS[: LOG[:cut].count(b"\n")]
    assert read_all(reader) == expected


def test_a_file_that_is_not_there_yet_has_no_events(tmp_path: Path) -> None:
    reader = EventReader(tmp_path / "rank0.jsonl")
    assert reader.read() == []
    (tmp_path / "rank0.jsonl").write_bytes(LOG)
    assert reader.read() == EVENTS
