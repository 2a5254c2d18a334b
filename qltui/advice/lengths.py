"""How long the rows of a data set are, and what follows for a run: its longest row, what is cut, and padding.

A micro batch is padded to its longest row (``engine/batches.py``), so that what it takes is the expected maximum of as
many rows as it has. Where rows are packed it counts the sequences that they come to.
"""

from __future__ import annotations

import random
from functools import lru_cache
from itertools import pairwise
from math import ceil, sqrt
from typing import TYPE_CHECKING, NamedTuple

from engine.config.packing import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from engine.config import RunConfig

MOST_QUANTILES = 256
ESTIMATED = 0.3
"""Share by which the mean of estimated lengths may be wrong."""
PACKED = 4096
"""Rows that are packed to see what sequences all of them come to, at most."""


class Lengths(NamedTuple):
    """Tokens of rows, before any is cut."""

    rows: int
    """To train on in an epoch; estimated from the file's size where only its beginning was read."""
    read: int
    """Rows that were looked at."""
    quantiles: tuple[float, ...]
    """Ascending; each stands for the same share of the rows."""
    shortest: int | None
    longest: int | None
    """Of all rows; None where only the beginning of them was read, and others may come."""
    measured: bool
    """Whether the model's tokenizer counted them; else they are estimated, ``longest`` at the most it may be."""
    doubt: float = ESTIMATED
    """Share by which estimated ones may be wrong."""

    @property
    def error(self) -> float:
        """Share by which their mean may be wrong."""
        return 0.0 if self.measured else self.doubt

    def longest_row(self, max_length: int) -> int:
        """Tokens of the longest row that comes, cut at ``max_length``; that many where not all rows are known."""
        return max_length if self.longest is None else min(self.longest, max_length)

    def are_same(self, max_length: int) -> bool:
        """Whether every row is known to come equally long: all of one length, or none too short to be cut."""
        if not self.measured or self.shortest is None:
            return False
        return min(self.shortest, max_length) == self.longest_row(max_length)

    def cut(self, max_length: int) -> float:
        """Share of the rows that are longer than ``max_length``."""
        return sum(one > max_length for one in self.quantiles) / len(self.quantiles)

    def enough_for(self, share: float) -> int:
        """Tokens that this share of the rows have at most."""
        return ceil(self.quantiles[ceil(share * len(self.quantiles)) - 1])

    def mean(self, max_length: int) -> float:
        """Tokens of a row as it comes, cut at ``max_length``."""
        return _expected_longest(self.quantiles, max_length, 1)

    def padded(self, max_length: int, rows: int) -> float:
        """Tokens that each of ``rows`` drawn at random takes once they are padded to the longest of them."""
        return _expected_longest(self.quantiles, max_length, rows)

    def padding(self, max_length: int, rows: int) -> float:
        """Share of what is computed that is padding, in micro batches of ``rows``."""
        return max(0.0, 1 - self.mean(max_length) / self.padded(max_length, rows))

    def pace(self, max_length: int, rows: int, ranks: int, unwaited: int) -> float:
        """Tokens of a row that set the time of a step, in which every rank waits for the slowest.

        Of ``unwaited`` micro batches of ``rows`` that ranks compute before they wait, long ones and short ones make up
        for each other.
        """
        own, slowest = self.padded(max_length, rows), self.padded(max_length, rows * ranks)
        return own + (slowest - own) / sqrt(unwaited)


def of_rows(
    tokens: Iterable[float], rows: int, *, shortest: int | None, longest: int | None, measured: bool
) -> Lengths:
    """Lengths from those of some rows, which stand for ``rows``; at least one."""
    ordered = sorted(tokens)
    return Lengths(rows, len(ordered), _quantiles(ordered), shortest, longest, measured)


def of_samples(lengths: Lengths, config: RunConfig) -> Lengths:
    """Lengths of what micro batches count: rows, or the sequences they are packed into."""
    return _packed(lengths, config.data.max_length) if config.data.packing else lengths


@lru_cache(maxsize=64)
def _packed(lengths: Lengths, room: int) -> Lengths:
    """Of the sequences that rows are packed into, which is tried with rows of these lengths."""
    count, kinds = min(lengths.rows, PACKED), len(lengths.quantiles)
    rows = [min(max(round(lengths.quantiles[place * kinds // count]), 1), room) for place in range(count)]
    order = random.Random(0).sample(range(count), count)
    sequences = sorted(sum(rows[row] for row in sequence) for sequence in pack(rows, order, room))
    number = max(1, round(lengths.rows * len(sequences) / count))
    return lengths._replace(rows=number, quantiles=_quantiles(sequences), shortest=None, longest=None)


def _quantiles(ordered: Sequence[float]) -> tuple[float, ...]:
    """At most :data:`MOST_QUANTILES` means of equally large parts."""
    count = min(len(ordered), MOST_QUANTILES)
    borders = [place * len(ordered) // count for place in range(count + 1)]
    parts = (ordered[start:end] for start, end in pairwise(borders))
    return tuple(sum(part) / len(part) for part in parts)


@lru_cache(maxsize=256)
def _expected_longest(quantiles: tuple[float, ...], max_length: int, rows: int) -> float:
    """The longest of ``rows`` is below a quantile if all of them are: that is the share below it, to their power."""
    count = len(quantiles)
    expected = below = 0.0
    for place, tokens in enumerate(quantiles, 1):
        now_below = (place / count) ** rows
        expected += min(tokens, max_length) * (now_below - below)
        below = now_below
    return expected
