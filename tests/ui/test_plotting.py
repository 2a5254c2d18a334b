"""Curves to dots: nothing that matters is lost on the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qltui.runs.axes import MOST, View, fitted, level_ticks, log_ticks, tick_text, ticks, time_text, time_ticks
from qltui.runs.curves import Curve
from qltui.ui.plotting import Tracer, cells_of, columns_of, edges_of

NAN = float("nan")


def points(values: list[float], begin: int = 1) -> Curve:
    curve = Curve()
    curve.follow([(begin + index, value) for index, value in enumerate(values)])
    return curve


def view_of(curve: Curve, log: bool = False) -> View | None:
    """All of a curve."""
    if not curve.x:
        return None
    return fitted(curve.x[0], curve.x[-1], [curve.extremes(0, len(curve), log)], log)


def drawn(curve: Curve, view: View, columns: int, rows: int) -> list[bytearray]:
    return Tracer().trace(curve.x, curve.y, edges_of(view, columns * 2), view, rows, curve.gaps, curve.extremes)


def dots(grid: list[bytearray]) -> int:
    return sum(bits.bit_count() for row in grid for bits in row)


def test_a_single_spike_among_many_points_reaches_the_top() -> None:
    values = [1.0] * 20_000
    values[12_345] = 9.0
    curve = points(values)
    view = view_of(curve)
    assert view
    top = drawn(curve, view, 60, 10)[0]
    assert [column for column, bits in enumerate(top) if bits] == [round(12_345 / 19_999 * 119) // 2]


@given(
    st.lists(st.lists(st.sampled_from([0.5, 1.0, 2.0, 40.0, -1.0, NAN]), max_size=30), min_size=2, max_size=12),
    st.integers(1, 90), st.booleans(), st.data(),
)  # fmt: skip
def test_a_curve_that_grows_is_drawn_as_one_that_was_there(
    parts: list[list[float]], ahead: int, log: bool, data: st.DataObject
) -> None:
    tracers, curve, source = (Tracer(), Tracer()), Curve(), []
    for part in parts:
        end = source[-1][0] if source else 0
        begin = data.draw(st.sampled_from([end + 1, end + 1, end + 4, max(end - 3, 1)]), "a resumed run goes back")
        source += [(begin + number, value) for number, value in enumerate(part)]
        curve.follow(source)
        right = 20 * (1 + len(curve) // 20) + ahead
        view = View(data.draw(st.sampled_from([1, 1, 1, 8])), right, -2, data.draw(st.sampled_from([3, 3, 3, 50])), log)
        edges = edges_of(view, 40)
        xs, ys = curve.smoothed(0, len(curve), 0.85, 16)
        for tracer, points, bounds in ((tracers[0], (curve.x, curve.y), curve.extremes), (tracers[1], (xs, ys), None)):
            wanted = Tracer().trace(*points, edges, view, 5, curve.gaps, bounds)
            assert tracer.trace(*points, edges, view, 5, curve.gaps, bounds) == wanted


def test_a_value_that_is_no_number_leaves_a_gap_of_its_width() -> None:
    whole, broken = points([1.0] * 21), points([1.0] * 8 + [NAN, float("inf"), float("-inf")] + [1.0] * 10)
    assert broken.gaps == [9, 10, 11]
    view = View(1, 21, 0, 2)
    unbroken_row = drawn(whole, view, 20, 1)[0]
    broken_row = drawn(broken, view, 20, 1)[0]
    assert all(unbroken_row)
    assert not any(broken_row[8:10])
    assert all(broken_row[:7])


def test_points_far_apart_are_joined() -> None:
    curve = points([0.0, 4.0])
    grid = drawn(curve, View(1, 2, 0, 4), 10, 4)
    assert all(any(row[column] for row in grid) for column in range(10))


def test_nothing_and_one_point() -> None:
    assert fitted(0, 1, []) is None
    assert view_of(points([NAN])) is None
    one = points([3.0])
    view = view_of(one)
    assert view
    assert view.left < 1 < view.right
    assert view.bottom < 3 < view.top
    assert dots(drawn(one, view, 10, 3)) == 1


def test_a_logarithmic_view_leaves_out_what_has_no_logarithm() -> None:
    curve = points([100.0, 0.0, -5.0, 1.0])
    view = view_of(curve, log=True)
    assert view
    assert view.bottom < 0 < 2 < view.top
    assert dots(drawn(curve, view, 20, 5)) > 0


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
    curve = points([value if not MOST < abs(value) < float("inf") else NAN for value in values])
    for log in (False, True):
        view = view_of(curve, log)
        if view:
            assert dots(drawn(curve, view, columns, 4)) > 0


def test_labels_say_no_more_than_needful() -> None:
    assert [tick_text(value, 0.5) for value in (0.5, 1.0)] == ["0.5", "1.0"]
    assert tick_text(1200) == "1,200"
    assert tick_text(2e-5) == "2e-5"
    assert log_ticks(-1, 1, 4) == [0.1, 1, 10]


def test_a_line_goes_on_over_the_edges_of_what_is_shown() -> None:
    curve = points([0.0, 10.0], begin=0)
    curve.follow([(0, 0.0), (100, 10.0)])
    grid = drawn(curve, View(40, 60, 0, 10), 10, 5)
    assert all(any(row[column] for row in grid) for column in range(10)), "though no point is inside"
    assert not any(grid[0])
    assert not any(grid[-1])


def test_a_gap_at_the_edge_is_not_drawn_over() -> None:
    curve = Curve()
    curve.follow([(0, 1.0), (50, NAN), (100, 1.0)])
    assert dots(drawn(curve, View(40, 60, 0, 2), 10, 2)) == 0


def test_scattered_points_and_gaps_fall_into_their_cells() -> None:
    curve = points([1.0, 9.0, NAN, 5.0], begin=0)
    edges = edges_of(View(0, 3, 0, 10), 4)
    assert cells_of(curve, edges, View(0, 3, 0, 10), 11) == {(0, 9), (1, 1), (3, 5)}
    assert columns_of(curve.gaps, edges) == {2}


def test_times_are_round_and_short() -> None:
    assert time_ticks(0, 7000, 4) == [0, 1800, 3600, 5400]
    assert time_ticks(0, 150, 4) == [0, 60, 120]
    assert [time_text(time) for time in (0, 45, 150, 3600, 90_000, -5)] == [
        "0",
        "45s",
        "2:30",
        "1:00:00",
        "1d 01h",
        "-5s",
    ]


@given(low=st.floats(-1e7, 1e7), span=st.floats(1, 1e8), most=st.integers(1, 6))
def test_time_ticks_are_few_and_within(low: float, span: float, most: int) -> None:
    found = time_ticks(low, low + span, most)
    assert len(found) <= most
    assert all(low - 1e-6 * span <= time <= low + span * (1 + 1e-6) for time in found)


def test_heights_are_round_in_their_unit() -> None:
    values, step = level_ticks(View(0, 1, 0, 10 * 2**30), 2**30, 4)
    assert values == [0, 5 * 2**30, 10 * 2**30]
    assert step == 5
    assert tick_text(0, 1e-4) == "0"


def test_a_time_has_three_digits_at_most() -> None:
    assert [time_text(time) for time in (20.8958, 0.12345, 59.99)] == ["20.9s", "0.123s", "60s"]


def test_curves_of_lines_that_lie_on_each_other_are_drawn_over_the_values_of_all() -> None:
    from qltui.runs.axes import fitted
    from qltui.ui.widgets.chart_drawing import Way, framed, plot
    from qltui.ui.widgets.chart_lines import Followed, Line

    lines = []
    for name, shift in (("a", 0.0), ("b", 0.3)):
        line = Line(name, [(float(x), shift + (1.0 if x % 2 else -1.0)) for x in range(200)], name)
        lines.append(Followed(line))
        lines[-1].follow(line, name)
    view = fitted(0.0, 199.0, [line.curve.extremes(0, 200) for line in lines], False)
    parts = [part for row in plot(lines, view, framed(view, 60, 12), Way(False, 0.95)) for part in row.parts]
    assert min(parts.count("line-0"), parts.count("line-1")) > 20  # more than the marks alone
