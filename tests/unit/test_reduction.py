"""A long run is read on from where its supervisor wrote down what its events came to; if that is no use, from them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from support.generated_runs import GeneratedRun, Size, generate

from engine.events import EventReader, RunDirectory, read_json, write_json
from qltui.runs import reduction, status
from qltui.runs.follow import Follower, Snapshot
from qltui.runs.reduction import Reduction, levels_of

SIZE = Size(3000, ranks=3, step_seconds=0.3, save_every=100, nans=(1234,), spikes=(777,))


@pytest.fixture(autouse=True)
def all_runs_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "SMALL", 0)


def attach(run: RunDirectory) -> Snapshot:
    follower = Follower(run.path)
    while not (snapshot := follower.poll()).caught_up:
        pass
    return snapshot


def reduced(run: RunDirectory, **options: bool) -> Reduction:
    made = Reduction(run, status.read_written(run), **options)
    made.read()
    return made


def without_levels(run: RunDirectory) -> Reduction:
    folder = levels_of(run)
    folder.rename(folder.with_name("aside"))
    try:
        return reduced(run)
    finally:
        folder.with_name("aside").rename(folder)


def bytes_read(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> tuple[Snapshot, int]:
    """The snapshot, and how much of the events was read for it."""
    begun: list[int] = []
    readers: list[EventReader] = []
    made = EventReader.read

    def counting(reader: EventReader) -> Any:
        if reader not in readers:
            readers.append(reader)
            begun.append(reader.offset)
        return made(reader)

    monkeypatch.setattr(EventReader, "read", counting)
    snapshot = attach(run)
    return snapshot, sum(reader.offset for reader in readers) - sum(begun)


def test_the_curves_come_from_levels_and_no_spike_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = generate(tmp_path / "run", SIZE).run
    with monkeypatch.context() as patches:
        snapshot, read = bytes_read(run, patches)
    assert read == 0
    raw = without_levels(run).state
    loss, whole = snapshot.series["loss"], raw.series["loss"]
    assert len(whole) == 3000
    assert len(loss) < 1000
    assert {str(point) for point in loss} <= {str(point) for point in whole}
    assert max(y for _, y in loss if y == y) == max(y for _, y in whole if y == y)
    assert [x for x, y in loss if y != y] == [1234]
    assert loss[-1] == whole[-1]
    assert {key: len(points) > 0 for key, points in snapshot.series.items()} == dict.fromkeys(raw.series, True)
    assert snapshot.status["state"] == "finished"
    assert snapshot.plan == read_json(run.plan_json)
    assert "gpu2.memory_used" in snapshot.telemetry


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_state_that_was_written_down_is_the_state_of_all_events(tmp_path: Path, attempts: int) -> None:
    """Also where the supervisor was killed, and everything after it is read from the events."""
    run = GeneratedRun(tmp_path / "run", SIZE)
    for until in range(350, 350 * attempts + 1, 350):
        run.write_steps(until)
        run.write_levels()
        run.write_steps(until + 17)
        if until < 350 * attempts:
            run.begin_attempt()
    run.write_steps(1500)
    run.end("lost")
    mended, raw = reduced(run.run, curves=True), without_levels(run.run)
    assert (mended.resumed, raw.resumed) == (True, False)
    for one in (mended, raw):
        one.state.updated = None  # that of the event read last; files are read one after the other
    assert mended.state.status() == raw.state.status()
    assert mended.state.dump() == raw.state.dump()
    assert status.read(run.run)["state"] == "lost"
    for name, points in raw.state.series.items():
        assert set(map(str, mended.state.series[name])) <= set(map(str, points))
        assert mended.state.series[name][-1:] == points[-1:]


def test_levels_are_kept_by_another_supervisor_as_by_one(tmp_path: Path) -> None:
    interrupted, whole = GeneratedRun(tmp_path / "a", SIZE), GeneratedRun(tmp_path / "b", SIZE)
    for until in (100, 650, 1300):
        interrupted.write_steps(until)
        interrupted.write_levels()
        interrupted._reduction = None
    whole.write_steps(1300)
    whole.write_levels()
    curves = [attach(one.run).series["loss"] for one in (interrupted, whole)]
    assert [(x, str(y)) for x, y in curves[0]] == [(x, str(y)) for x, y in curves[1]]
    interrupted.close()
    whole.close()


def spoil_offsets(document: dict[str, Any]) -> None:
    document["offsets"]["0"] -= 3


def spoil_state(document: dict[str, Any]) -> None:
    document["state"]["ranks"] = ["nonsense"]


def spoil_version(document: dict[str, Any]) -> None:
    document["schema_version"] += 1


def spoil_attempt(document: dict[str, Any]) -> None:
    document["attempt"] = 7


def spoil_ladder(document: dict[str, Any]) -> None:
    document["ladder"]["files"] = [[9, 100], [9, 100], [9, 100]]


def spoil_everything(document: dict[str, Any]) -> None:
    document.update({key: None for key in document if key != "schema_version"})


@pytest.mark.parametrize(
    "spoil", [spoil_offsets, spoil_state, spoil_version, spoil_attempt, spoil_ladder, spoil_everything]
)
def test_what_makes_no_sense_is_passed_by_and_the_events_are_read(tmp_path: Path, spoil: Any) -> None:
    run = generate(tmp_path / "run", SIZE._replace(steps=400)).run
    right = attach(run)
    file = levels_of(run) / "steps.json"
    document = json.loads(file.read_text())
    spoil(document)
    write_json(file, document)
    snapshot = attach(run)
    assert len(snapshot.series["loss"]) == 400 > len(right.series["loss"])
    assert snapshot.status == right.status
    kept = Reduction(run, status.read_written(run), keeps=True)  # a resumed run's supervisor writes it anew
    kept.read()
    kept.keep()
    assert attach(run).series["loss"] == right.series["loss"]


def test_of_a_short_run_no_point_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = generate(tmp_path / "run", SIZE._replace(steps=400, attempts=2)).run
    assert len(attach(run).series["loss"]) < 400
    monkeypatch.setattr(reduction, "SMALL", 2**20)
    assert [step for step, _ in attach(run).series["loss"]] == list(range(1, 401))


def test_files_replaced_between_two_looks_are_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = generate(tmp_path / "run", SIZE._replace(steps=400)).run
    right = read_json(levels_of(run) / "steps.json")
    assert right is not None
    before = json.loads(json.dumps(right))
    before["ladder"]["files"] = [[9, 100], [9, 100], [9, 100]]
    looks = iter([before])
    monkeypatch.setattr(reduction, "read_json", lambda path: next(looks, right))
    made = Reduction(run, status.read_written(run), curves=True)
    assert made.resumed
    assert made.state.series["loss"][-1][0] == 400


def test_a_run_that_grows_is_followed_from_its_levels_on(tmp_path: Path) -> None:
    run = GeneratedRun(tmp_path / "run", SIZE)
    run.write_steps(500)
    run.end("live")
    follower = Follower(run.run.path)
    while not follower.poll().caught_up:
        pass
    run.write_steps(520)
    run.write_levels()
    run.write_steps(530)
    run.write_status()
    while (snapshot := follower.poll()).series["loss"][-1][0] < 530:
        pass
    assert [x for x, _ in snapshot.series["loss"][-30:]] == list(range(501, 531))
    assert (snapshot.status["state"], snapshot.status["step"]) == ("training", 530)
    assert len(snapshot.status["ranks"]) == 3
    run.close()


def test_many_ranks_on_several_nodes(tmp_path: Path) -> None:
    run = generate(tmp_path / "run", Size(60, ranks=16, nodes=4, step_seconds=1.0)).run
    snapshot = attach(run)
    assert {row["node"] for row in snapshot.status["ranks"]} == {0, 1, 2, 3}
    assert len(snapshot.status["ranks"]) == len(snapshot.gpus) == 16
    assert len({gpu["host"] for gpu in snapshot.gpus}) == 4
    assert all(row["step"] == 60 for row in snapshot.status["ranks"])


def test_the_newest_steps_tell_phases_and_ranks_their_gpus(tmp_path: Path) -> None:
    run = GeneratedRun(tmp_path / "run", Size(gpus=False))
    sizes = [{"memory_allocated": 5, "memory_reserved": 6, "memory_peak": peak} for peak in (7, 8)]
    run.step = 1
    run.say(0, "step", loss=1.0, step_time=2.0, data_time=0.5, gpus=sizes)
    run.say(0, "memory", phase="data", gpus=[{**one, "memory_peak": 1} for one in sizes])
    run.end("lost")
    snapshot = attach(run.run)
    assert snapshot.phase_seconds == {"data": 0.5, "other": 1.5}
    assert [gpu["memory_peak"] for gpu in snapshot.status["ranks"][0]["gpus"]] == [7, 8]
    assert math.isclose(snapshot.series["wall"][0][1], run.wall, abs_tol=1)
