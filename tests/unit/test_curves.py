"""Curves that grow: whatever part is asked for, the answer is that of looking at every point."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qltui.runs.curves import Clock, Curve

NAN = float("nan")
values = st.floats(-1e6, 1e6)


def curve(ys: list[float], begin: int = 1) -> Curve:
    found = Curve()
    found.follow([(begin + index, y) for index, y in enumerate(ys)])
    return found


@given(ys=st.lists(values, max_size=700), ends=st.tuples(st.integers(-5, 720), st.integers(-5, 720)))
def test_extremes_are_those_of_every_point(ys: list[float], ends: tuple[int, int]) -> None:
    found, part = curve(ys), ys[max(ends[0], 0) : max(ends[1], 0)]
    assert found.extremes(*ends) == ((min(part), max(part)) if part else None)
    positive = [y for y in part if y > 0]
    assert found.extremes(*ends, log=True) == ((min(positive), max(positive)) if positive else None)


@given(
    parts=st.lists(st.lists(st.tuples(st.integers(0, 300), values | st.just(NAN)), max_size=60), max_size=6),
)
def test_taken_over_bit_by_bit_is_as_all_at_once(parts: list[list[tuple[int, float]]]) -> None:
    """Steps that are done again among them, as by a resumed run."""
    source: list[tuple[float, float]] = []
    one = Curve()
    for part in parts:
        for x, y in part:
            source.append((x, y))
        one.follow(source)
    other = Curve()
    other.follow(source)
    assert (one.x, one.y, one.gaps) == (other.x, other.y, other.gaps)
    assert one.x == sorted(set(one.x))
    for begin in range(0, len(one), 7):
        assert one.extremes(begin, len(one)) == (min(one.y[begin:]), max(one.y[begin:]))


def test_a_growing_series_is_taken_over_once() -> None:
    source = [(1.0, 5.0)]
    found = Curve()
    assert found.follow(source)
    assert not found.follow(source)
    source.append((2.0, NAN))
    assert found.follow(source)
    assert not found.follow(list(source)), "a copy says the same"
    assert (found.x, found.y, found.gaps) == ([1], [5], [2])


def test_a_thinned_series_is_read_afresh() -> None:
    source = [(float(x), float(x)) for x in range(10)]
    found = Curve()
    found.follow(source)
    del source[:4:2]
    assert found.follow(source)
    assert found.x == [1, 3, 4, 5, 6, 7, 8, 9]
    del source[:]
    assert found.follow(source)
    assert found.x == []


def test_steps_done_again_after_a_resume_replace_the_old_ones() -> None:
    found = Curve()
    found.follow([(1, 9.0), (2, 8.0), (3, NAN), (4, 6.0), (2, 5.0), (3, 4.0)])
    assert (found.x, found.y, found.gaps) == ([1, 2, 3], [9, 5, 4], [])


def averaged(ys: list[float], strength: float) -> list[float]:
    """The textbook's way: every past value with its weight."""
    found = []
    for end in range(1, len(ys) + 1):
        weights = [strength ** (end - 1 - index) for index in range(end)]
        found.append(sum(w * y for w, y in zip(weights, ys, strict=False)) / sum(weights))
    return found


@given(ys=st.lists(st.floats(-100, 100), min_size=1, max_size=200), strength=st.sampled_from([0.0, 0.5, 0.85, 0.95]))
def test_smoothing_is_the_exponential_average(ys: list[float], strength: float) -> None:
    found = curve(ys)
    assert found.smoothed(0, len(ys), strength, 1000)[1] == pytest.approx(averaged(ys, strength), abs=1e-6)
    part = found.smoothed(len(ys) // 2, len(ys), strength, 1000)
    assert part[0] == found.x[len(ys) // 2 :]
    assert part[1] == pytest.approx(averaged(ys, strength)[len(ys) // 2 :], abs=1, rel=0.01), (
        "but for what is forgotten"
    )


def test_smoothing_many_points_looks_at_few_and_ends_at_the_last() -> None:
    ys = [2.0 - n / 20_000 + (n % 3 - 1) * 0.1 for n in range(20_003)]
    found = curve(ys)
    xs, smooth = found.smoothed(0, len(found), 0.95, 1000)
    assert 100 < len(xs) <= 1001
    assert xs[-1] == found.x[-1]
    exact = dict(zip(*found.smoothed(0, len(found), 0.95, 100_000), strict=True))
    assert max(abs(exact[x] - y) for x, y in zip(xs, smooth, strict=True)) < 0.02


def test_the_nearest_is_a_number_or_not() -> None:
    found = Curve()
    found.follow([(1, 1.0), (5, NAN), (9, 1.0)])
    assert found.nearest_x(4) == 5
    assert found.nearest_x(2) == 1
    assert found.nearest_x(5.5, 1) == 9
    assert found.nearest_x(4.5, -1) == 1
    assert found.nearest_x(0.5, -1) is None
    assert found.nearest(6) == 1


def test_a_clock_goes_both_ways_between_steps_and_beyond() -> None:
    clock = Clock()
    assert not clock
    clock.follow([(10, 100.0), (20, 200.0), (30, 500.0)])
    assert clock
    assert [clock.time_of(step) for step in (10, 15, 25, 30)] == [100, 150, 350, 500]
    assert [clock.step_at(time) for time in (100, 150, 350, 500)] == [10, 15, 25, 30]
    assert clock.time_of(32) == 540, "at the pace so far"
    assert clock.time_of(5) == 0
    assert clock.origin == 100


def test_a_clock_that_was_set_back_never_falls() -> None:
    clock = Clock()
    source = [(1, 100.0), (2, 200.0), (3, 50.0), (4, 60.0), (5, 300.0)]
    clock.follow(source)
    times = [clock.time_of(step) for step in (1, 2, 3, 4, 5)]
    assert times == sorted(times)
    assert all(math.isfinite(clock.step_at(time)) for time in (0, 150, 200, 201, 900))


def test_a_clock_follows_a_resumed_run() -> None:
    clock = Clock()
    source = [(1.0, 100.0), (2.0, 200.0), (3.0, 300.0)]
    clock.follow(source)
    del source[1:]
    source += [(2.0, 900.0), (3.0, 1000.0), (4.0, 1100.0)]
    clock.follow(source)
    assert [clock.time_of(step) for step in (1, 2, 3, 4)] == [100, 900, 1000, 1100]
