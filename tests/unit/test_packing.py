"""Rows put together into sequences."""

from __future__ import annotations

import random
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from engine.config.packing import WINDOW, pack

ROOM = 64
rows = st.lists(st.integers(2, ROOM), min_size=1, max_size=400)


@given(rows, st.randoms(use_true_random=False))
def test_every_row_is_in_one_sequence_and_none_is_too_long(lengths: list[int], chance: random.Random) -> None:
    order = list(range(len(lengths)))
    chance.shuffle(order)
    sequences = pack(lengths, order, ROOM)
    assert sorted(row for sequence in sequences for row in sequence) == list(range(len(lengths)))
    place = {row: number for number, row in enumerate(order)}
    for sequence in sequences:
        assert sequence, "an empty sequence would be a batch of nothing"
        assert sum(lengths[row] for row in sequence) <= ROOM
        assert sequence == sorted(sequence, key=lambda row: place[row])


@given(st.lists(st.integers(2, ROOM), min_size=1, max_size=WINDOW))
def test_at_most_one_sequence_of_a_window_is_half_empty(lengths: list[int]) -> None:
    sequences = pack(lengths, range(len(lengths)), ROOM)
    assert sum(2 * sum(lengths[row] for row in sequence) <= ROOM for sequence in sequences) <= 1


def test_a_row_goes_where_it_fits_best() -> None:
    assert pack([30, 50, 14], [0, 1, 2], 64) == [[0], [1, 2]], "30 leaves room for 14 as well, but more of it"


def test_rows_travel_with_neighbours_and_sequences_stand_about_in_order() -> None:
    chance = random.Random(0)
    lengths = [chance.randint(2, ROOM) for _ in range(10 * WINDOW)]
    sequences = pack(lengths, range(len(lengths)), ROOM)
    span = max(max(sequence) - min(sequence) for sequence in sequences)
    assert span <= WINDOW * ROOM / 33 * 1.2, "a window of rows of 33 tokens on average"
    halves = [sum(sum(lengths[row] for row in one) for one in part) for part in (sequences[::2], sequences[1::2])]
    assert abs(halves[0] / halves[1] - 1) < 0.05, "sequences are not sorted by how full they are"
    longest = [max(lengths[row] for row in sequence) for sequence in sequences[: WINDOW // 2]]
    assert longest != sorted(longest, reverse=True), "those that begin with long rows do not come first"


def test_little_is_left_empty() -> None:
    chance = random.Random(0)
    lengths = [min(2048, round(chance.lognormvariate(5.5, 0.9)) + 2) for _ in range(20_000)]
    sequences = pack(lengths, range(len(lengths)), 2048)
    assert sum(lengths) / (2048 * len(sequences)) > 0.98


def test_it_is_known_without_torch() -> None:
    script = "import sys, engine.config.packing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
