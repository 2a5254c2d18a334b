"""Curves to dots: nothing that matters is lost on the way."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qltui.ui.plotting import Points, View, log_ticks, tick_text, ticks, trace, view_of

NAN = float("nan")


def points(values: list[float], begin: int = 1) -> Points:
    curve = Points()
    curve.follow([(begin + index, value) for index, value in enumerate(values)])
    return curve


def dots(grid: list[bytearray]) -> int:
    return sum(bits.bit_count() for row in grid for bits in row)


def test_a_single_spike_among_many_points_reaches_the_top() -> None:
    values = [1.0] * 20_000
    values[12_345] = 9.0
    curve = points(values)
    view = view_of([(curve.x, curve.y)])
    assert view
    top = trace(curve.x, curve.y, view, 60, 10)[0]
    assert [column for column, bits in enumerate(top) if bits] == [round(12_345 / 19_999 * 119) // 2]


def test_a_value_that_is_no_number_leaves_a_gap_of_its_width() -> None:
    whole, broken = points([1.0] * 21), points([1.0] * 8 + [NAN, float("inf"), float("-inf")] + [1.0] * 10)
    assert broken.gaps == [9, 10, 11]
    view = View(1, 21, 0, 2)
    unbroken_row = trace(whole.x, whole.y, view, 20, 1)[0]
    broken_row = trace(broken.x, broken.y, view, 20, 1, broken.gaps)[0]
    assert all(unbroken_row)
    assert not any(broken_row[8:10])
    assert all(broken_row[:7])


def test_points_far_apart_are_joined() -> None:
    curve = points([0.0, 4.0])
    grid = trace(curve.x, curve.y, View(1, 2, 0, 4), 10, 4)
    assert all(any(row[column] for row in grid) for column in range(10))


def test_nothing_and_one_point() -> None:
    assert view_of([([], [])]) is None
    assert view_of([(points([NAN]).x, points([NAN]).y)]) is None
    one = points([3.0])
    view = view_of([(one.x, one.y)])
    assert view
    assert view.left < 1 < view.right
    assert view.bottom < 3 < view.top
    assert dots(trace(one.x, one.y, view, 10, 3)) == 1


def test_a_growing_series_is_taken_over_once() -> None:
    source = [(1.0, 5.0)]
    curve = Points()
    assert curve.follow(source)
    assert not curve.follow(source)
    source.append((2.0, 4.0))
    assert curve.follow(source)
    assert (curve.x, curve.y) == ([1, 2], [5, 4])


def test_a_thinned_series_is_read_afresh() -> None:
    source = [(float(x), float(x)) for x in range(10)]
    curve = Points()
    curve.follow(source)
    del source[:4:2]
    assert curve.follow(source)
    assert curve.x == [1, 3, 4, 5, 6, 7, 8, 9]


def test_steps_done_again_after_a_resume_replace_the_old_ones() -> None:
    curve = Points()
    curve.follow([(1, 9.0), (2, 8.0), (3, NAN), (4, 6.0), (2, 5.0), (3, 4.0)])
    assert (curve.x, curve.y, curve.gaps) == ([1, 2, 3], [9, 5, 4], [])


def test_the_smoothed_curve_has_no_bias_at_its_start() -> None:
    assert points([7.0] * 5).smooth == pytest.approx([7.0] * 5)


def test_a_logarithmic_view_leaves_out_what_has_no_logarithm() -> None:
    curve = points([100.0, 0.0, -5.0, 1.0])
    view = view_of([(curve.x, curve.y)], log=True)
    assert view
    assert view.bottom < 0 < 2 < view.top
    assert dots(trace(curve.x, curve.y, view, 20, 5)) > 0


@given(
    low=st.floats(-1e9, 1e9, allow_nan=False),
    span=st.floats(1e-6, 1e9, allow_nan=False),
    most=st.integers(1, 6),
)
def test_ticks_are_few_and_within(low: float, span: float, most: int) -> None:
    high = low + span
    if not low < high:
        return
    found = ticks(low, high, most)
    assert len(found) <= most
    slack = span * 1e-6 + abs(low) * 1e-9
    assert all(low - slack <= value <= high + slack for value in found)


@given(values=st.lists(st.one_of(st.floats(), st.just(NAN)), max_size=60), columns=st.integers(2, 40))
def test_any_values_can_be_drawn(values: list[float], columns: int) -> None:
    usable = [value if abs(value) < 1e300 or not math.isfinite(value) else NAN for value in values]
    curve = points(usable)
    for log in (False, True):
        view = view_of([(curve.x, curve.y)], log)
        if view:
            assert dots(trace(curve.x, curve.y, view, columns, 4, curve.gaps)) > 0


def test_labels_say_no_more_than_needful() -> None:
    assert [tick_text(value, 0.5) for value in (0.5, 1.0)] == ["0.5", "1.0"]
    assert tick_text(1200) == "1,200"
    assert tick_text(2e-5) == "2e-5"
    assert log_ticks(-1, 1, 4) == [0.1, 1, 10]
