"""What lengths of rows come to: the longest, what is cut, padding, and the time of a step."""

from __future__ import annotations

import random
from itertools import product
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import RunConfig
from engine.config.packing import pack
from engine.config.run_config import build
from qltui.advice.lengths import ESTIMATED, MOST_QUANTILES, Lengths, of_rows, of_samples

tokens = st.lists(st.integers(1, 5000), min_size=1, max_size=1000)


def lengths(*values: int, measured: bool = True) -> Lengths:
    return of_rows(values, len(values), shortest=min(values), longest=max(values), measured=measured)


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_padded_length_is_the_mean_over_all_draws(rows: int) -> None:
    values = (3, 3, 7, 20, 50)
    expected = fmean(max(min(one, 30) for one in drawn) for drawn in product(values, repeat=rows))
    assert lengths(*values).padded(30, rows) == pytest.approx(expected)
    mean = fmean(min(one, 30) for one in values)
    assert lengths(*values).padding(30, rows) == pytest.approx(1 - mean / expected)


def test_many_rows_are_told_by_as_many_means_as_are_kept() -> None:
    drawn = random.Random(1)
    values = [round(drawn.lognormvariate(5, 0.8)) + 1 for _ in range(20_000)]
    found = lengths(*values)
    assert len(found.quantiles) == MOST_QUANTILES
    assert found.mean(10**9) == pytest.approx(fmean(values), rel=1e-3)
    for rows in (4, 32):
        simulated = fmean(max(drawn.choices(values, k=rows)) for _ in range(20_000))
        assert found.padded(10**9, rows) == pytest.approx(simulated, rel=0.02)


@given(tokens, st.integers(8, 6000), st.integers(1, 64), st.integers(1, 8), st.integers(1, 16))
def test_lengths_stand_in_order(values: list[int], longest: int, rows: int, ranks: int, unwaited: int) -> None:
    found = lengths(*values)
    most = min(max(values), longest) + 1e-6
    assert found.mean(longest) == pytest.approx(found.padded(longest, 1))
    assert found.mean(longest) <= found.padded(longest, rows) + 1e-6
    assert found.padded(longest, rows) <= found.pace(longest, rows, ranks, unwaited) + 1e-6
    assert found.pace(longest, rows, ranks, unwaited) <= found.padded(longest, rows * ranks) + 1e-6 <= most + 1e-6
    assert found.pace(longest, rows, ranks, 1) == pytest.approx(found.padded(longest, rows * ranks))
    assert 0 <= found.padding(longest, rows) < 1
    assert sorted(found.quantiles) == list(found.quantiles)


@given(tokens, st.floats(0.01, 1))
def test_what_is_enough_for_a_share_cuts_no_more_than_the_rest(values: list[int], share: float) -> None:
    found = lengths(*values)
    assert found.cut(found.enough_for(share)) <= 1 - share + 1e-9
    assert found.enough_for(1) >= max(found.quantiles)


def test_the_longest_row_is_that_of_the_data_unless_more_may_come() -> None:
    assert lengths(10, 300).longest_row(2048) == 300
    assert lengths(10, 3000).longest_row(2048) == 2048
    beginning = of_rows([10, 300], 10_000, shortest=None, longest=None, measured=True)
    assert (beginning.longest_row(2048), beginning.rows, beginning.read) == (2048, 10_000, 2)


def test_rows_are_the_same_only_where_all_are_known_to_be() -> None:
    assert lengths(700, 700).are_same(2048)
    assert lengths(3000, 9000).are_same(2048), "all are cut"
    assert not lengths(2000, 9000).are_same(2048)
    assert not lengths(700, 700, measured=False).are_same(2048)
    assert not of_rows([3000], 9, shortest=None, longest=None, measured=True).are_same(2048)


def test_estimates_add_their_error() -> None:
    assert (lengths(5).error, lengths(5, measured=False).error) == (0, ESTIMATED)


def packing(length: int, *, packed: bool = True) -> RunConfig:
    return build({"model.path": "m", "data.path": "d", "data.max_length": length, "data.packing": packed})


def test_packed_rows_come_to_the_sequences_that_packing_makes() -> None:
    drawn = random.Random(2)
    values = [min(2048, round(drawn.lognormvariate(5.5, 0.9)) + 2) for _ in range(30_000)]
    rows = lengths(*values)
    sequences = pack(values, range(len(values)), 2048)
    found = of_samples(rows, packing(2048))
    assert found.rows == pytest.approx(len(sequences), rel=0.03)
    assert found.rows * found.mean(2048) == pytest.approx(sum(values), rel=0.03)
    assert found.longest_row(2048) == 2048
    assert found.padding(2048, 4) < 0.03 < 0.5 < rows.padding(2048, 4)
    assert of_samples(rows, packing(2048, packed=False)) is rows
    few = of_samples(lengths(20, 30, 40), packing(100))
    assert (few.rows, few.quantiles) == (1, (90.0,))
