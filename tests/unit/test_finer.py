"""A part of a long run read anew: step by step, by levels where it is long, and nothing where nothing is finer."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.generated_runs import Size, generate
from support.written_runs import WrittenRun

from engine.events import EventReader, RunDirectory
from qltui.runs import finer
from qltui.runs.finer import read_finer
from qltui.runs.state import RunState

SIZE = Size(6000, attempts=2, spikes=(4312,), nans=(4320,), gpus=False, eval_every=1000)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return generate(tmp_path_factory.mktemp("finer") / "run", SIZE, samples=False).run


def all_steps(run: RunDirectory) -> dict[str, list[tuple[float, float]]]:
    state = RunState()
    for attempt in run.attempts():
        reader = EventReader(attempt.events(0))
        while events := reader.read():
            for event in events:
                state.apply(event)
    return state.series


@pytest.mark.parametrize("ends", [(4300, 4330), (1, 5), (2990, 3010), (5990, 6000), (3000, 3000)])
def test_every_step_of_a_part_is_read(
    run: RunDirectory, ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finer, "LINE", 2048)
    part = read_finer(run, *ends)
    assert part is not None
    assert part.width == 1
    for key, points in all_steps(run).items():
        wanted = [(x, str(y)) for x, y in points if ends[0] <= x <= ends[1]]
        assert [(x, str(y)) for x, y in part.series[key]] == wanted


def test_a_part_tells_whether_the_run_ends_in_it(run: RunDirectory) -> None:
    inside, beyond = read_finer(run, 4000, 4100), read_finer(run, 5900, 6100)
    assert inside is not None
    assert beyond is not None
    assert (inside.right, inside.at_end, inside.covers(4000, 4100)) == (4100, False, True)
    assert (beyond.right, beyond.at_end, beyond.covers(5950, 6050)) == (6000, True, False)


def test_a_long_part_is_read_by_the_finest_level_that_is_not_too_long(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finer, "STEPS", 100)
    part = read_finer(run, 1000, 5000)
    assert part is not None
    assert part.width == 16
    losses = [y for x, y in part.series["loss"] if 1000 <= x <= 5000]
    assert max(y for y in losses if y == y) > 50, "the spike"
    assert any(y != y for y in losses), "what was no number"
    monkeypatch.setattr(finer, "MOST_ROWS", 100)
    coarser = read_finer(run, 1000, 5000)
    assert coarser is not None
    assert coarser.width == 256
    monkeypatch.setattr(finer, "MOST_ROWS", 1)
    assert read_finer(run, 1000, 5000) is None


def test_steps_that_were_done_again_are_as_they_were_done_last(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, ranks=1)
    for number in range(1, 31):
        run.step(number, 1.0)
    run.begin_attempt()
    for number in range(21, 26):
        run.step(number, 2.0)
    part = read_finer(run.run, 15, 40)
    assert part is not None
    assert part.series["loss"] == [(step, 1.0 if step < 21 else 2.0) for step in range(15, 26)]


@pytest.mark.parametrize("content", [b"", b"\x00" * 9000, b'{"kind": "step", "step": 1', b"[]\n" * 5000])
def test_events_that_are_none_give_nothing(tmp_path: Path, content: bytes) -> None:
    run = WrittenRun(tmp_path, ranks=1)
    Path(run.attempt.events(0)).write_bytes(content)
    assert read_finer(run.run, 1, 100) is None
    assert read_finer(RunDirectory(tmp_path / "nowhere"), 1, 100) is None
    assert read_finer(RunDirectory(tmp_path / "nowhere"), 1, 1e6) is None
