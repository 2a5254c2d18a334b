"""Long curves in little room: no spike lost, nothing taken back kept, bounded, whoever is killed when."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qltui.runs import levels
from qltui.runs.levels import Ladder, Summary, read_points, thin

ROWS = (4096, 4096)


def climbed(folder: Path, count: int, **odd: float) -> Ladder:
    """A ladder with a loss of 1/x for each x from 1 on."""
    ladder = Ladder(folder, "steps")
    for x in range(1, count + 1):
        ladder.add(x, {"loss": odd.get(f"at_{x}", 1 / x)})
    return ladder


def curve(folder: Path, ladder: Ladder, rows: tuple[int, ...] = ROWS) -> list[levels.Point]:
    ladder.flush()
    return read_points(folder, "steps", ladder.describe(), rows).get("loss", [])


def same(one: list[levels.Point], other: list[levels.Point]) -> bool:
    return [(x, str(y)) for x, y in one] == [(x, str(y)) for x, y in other]


def test_spikes_and_what_is_no_number_are_where_they_were(tmp_path: Path) -> None:
    ladder = climbed(tmp_path, 10_000, at_5=9.0, at_3000=-9.0, at_4000=math.nan, at_9990=math.inf)
    for rows in (ROWS, (10, 10), (2, 5)):
        points = curve(tmp_path, ladder, rows)
        assert {(5, 9.0), (3000, -9.0), (9990, math.inf)} <= set(points)
        assert [x for x, y in points if y != y] == [4000]
        assert points == sorted(points, key=lambda point: point[0])
        assert points[-1] == (10_000, 1 / 10_000)


def test_newer_points_are_finer_and_few_rows_are_read(tmp_path: Path) -> None:
    ladder = climbed(tmp_path, 40_000)
    points = curve(tmp_path, ladder, rows=(8, 8))
    assert len(points) <= 2 * 3 * 16 + 16
    gaps = [other - one for (one, _), (other, _) in itertools.pairwise(points)]
    assert max(gaps[-8:]) <= 16
    assert max(gaps) > 256
    assert points[0] == (1, 1.0)


def test_a_row_tells_mean_and_count(tmp_path: Path) -> None:
    ladder = climbed(tmp_path, 17, at_2=math.nan)
    ladder.flush()
    (line,) = next(tmp_path.glob("*.x16.*")).read_text().splitlines()
    row = levels.Row.of(json.loads(line))
    loss = row.values["loss"]
    assert (row.first, row.last, loss.count, loss.odds) == (1, 16, 15, 1)
    assert loss.total / loss.count == pytest.approx((1 + sum(1 / x for x in range(3, 17))) / 15)


@given(st.lists(st.floats(width=32) | st.just(math.nan), min_size=1, max_size=60), st.data())
def test_a_summary_of_parts_is_that_of_the_whole(values: list[float], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(values)))
    whole, first, second = Summary(), Summary(), Summary()
    for x, y in enumerate(values):
        whole.add(x, y)
        (first if x < cut else second).add(x, y)
    first.merge(second)
    assert same(Summary.of(first.plain()).points(), whole.points())
    assert (first.count, first.odds) == (whole.count, whole.odds)
    assert first.total == pytest.approx(
        whole.total, rel=1e-6, abs=1e-6 * max(map(abs, [0.0, *filter(math.isfinite, values)]))
    )


@pytest.mark.parametrize("again", [1, 5, 17, 33, 600, 4200, 9000, 9001])
def test_what_a_resumed_run_does_again_is_taken_back(tmp_path: Path, again: int) -> None:
    """As if it had never been, because rows end at checkpoints."""
    ladder = Ladder(tmp_path, "steps")
    for x in range(1, 9001):
        ladder.add(x, {"loss": 1 / x})
        if x == again - 1:
            ladder.cut()
        if x == again:
            ladder.add(x, {"eval_loss": 1.0})
    for x in range(again, 9100):
        ladder.add(x, {"loss": 2 + 1 / x})
    points = curve(tmp_path, ladder)
    assert next(x for x, y in points if y > 2) == again
    assert all(y <= 1 for x, y in points if x < again)
    assert {(1, 1.0), (again - 1, 1 / max(again - 1, 1))} - {(0, 1.0)} <= set(points) or again == 1
    ladder.tidy()
    assert same(curve(tmp_path, Ladder(tmp_path, "steps", ladder.describe())), points)


def test_whoever_is_killed_goes_on_from_what_was_described(tmp_path: Path) -> None:
    ladder = climbed(tmp_path, 5000)
    ladder.flush()
    described = ladder.describe()
    for x in range(5001, 7000):
        ladder.add(x, {"loss": 100.0})
    ladder.flush()  # and is killed before it says so
    assert max(y for _, y in read_points(tmp_path, "steps", described, ROWS)["loss"]) == 1.0
    resumed = Ladder(tmp_path, "steps", described)
    for x in range(5001, 20_001):
        resumed.add(x, {"loss": 1 / x})
    never_killed = tmp_path / "other"
    assert curve(tmp_path, resumed) == curve(never_killed, climbed(never_killed, 20_000))


def test_levels_are_bounded_and_what_one_drops_the_next_one_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "LEVEL_BYTES", 4000)
    ladder = Ladder(tmp_path, "steps")
    for x in range(1, 30_001):
        ladder.add(x, {"loss": 50.0 if x == 77 else 1 / x})
        if x % 100 == 0:
            ladder.flush()
    points = curve(tmp_path, ladder)
    ladder.tidy()
    assert all(file.stat().st_size <= 4000 for file in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 3
    assert (77, 50.0) in points
    assert points == sorted(points)


def test_files_that_are_gone_or_shorter_are_noticed(tmp_path: Path) -> None:
    ladder = climbed(tmp_path, 1000)
    curve(tmp_path, ladder)
    file = next(tmp_path.glob("*.x16.*"))
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match="shorter"):
        curve(tmp_path, ladder)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        curve(tmp_path, ladder)


@given(st.lists(st.floats(width=16) | st.just(math.nan), min_size=1, max_size=100))
def test_thinning_halves_and_keeps_the_extremes(values: list[float]) -> None:
    points = [(float(x), y) for x, y in enumerate(values)]
    thinned = thin(points, 0, len(points))
    assert len(thinned) <= len(points) / 2 + 3
    assert {str(point) for point in thinned} <= {str(point) for point in points}
    finite = [y for y in values if math.isfinite(y)]
    if finite:
        assert {min(finite), max(finite)} <= {y for _, y in thinned}
    assert len(finite) == len(values) or any(not math.isfinite(y) for _, y in thinned)
