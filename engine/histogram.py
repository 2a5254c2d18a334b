"""Lengths of rows, summed up for people."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from typing import TYPE_CHECKING

from engine.config.inspection import Bin, Coverage, Lengths, PackedLengths
from engine.config.packing import pack
from engine.errors import BadInput

if TYPE_CHECKING:
    from engine.config.inspection import LengthsRequest

PERCENTAGES = (0, 5, 25, 50, 75, 90, 95, 99, 100)
SHOWN_IN_FULL = 99
"""Per cent of the rows lie within bins of equal width; a few very long ones must not make all others one bin."""


class Measured:
    """What was found of rows, as it is found."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        """In tokens, of rows that can be used."""
        self.first_targets: list[int | None] = []
        """The place of the first token that the loss is taken over, of the same rows; None where there is none."""
        self.unusable = 0
        self.problem: str | None = None
        """Of the first unusable row."""
        self.coverage = Coverage.WHOLE
        self.total_rows: int | None = None

    def refuse(self, problem: str) -> None:
        """Count an unusable row."""
        self.unusable += 1
        self.problem = self.problem or problem


def describe(request: LengthsRequest, source: str, measured: Measured) -> Lengths:
    """The answer to a request.

    Raises:
        BadInput: there is nothing to describe.
    """
    if not measured.lengths:
        raise BadInput(
            f"{source}: none of {measured.unusable:,} rows that were looked at can be used: {measured.problem}."
        )
    max_length = request.config.data.max_length
    in_order = sorted(measured.lengths)
    found = list(zip(measured.lengths, measured.first_targets, strict=True))
    kept = [min(length, max_length) for length, first in found if first is not None and first < max_length]
    micro_batch = request.config.training.micro_batch_size
    return Lengths(
        id=request.id,
        source=source,
        coverage=measured.coverage,
        rows=len(in_order),
        total_rows=measured.total_rows,
        unusable=measured.unusable,
        problem=measured.problem,
        mean=sum(in_order) / len(in_order),
        quantiles={str(percentage): _quantile(in_order, percentage) for percentage in PERCENTAGES},
        bins=_bins(in_order, request.bins),
        max_length=max_length,
        cut=sum(length > max_length for length in in_order),
        lost=sum(length > max_length and (first is None or first >= max_length) for length, first in found),
        padding=_padding(kept, micro_batch),
        packed=_packed(kept, max_length, micro_batch) if request.config.data.packing and kept else None,
    )


def _packed(rows: list[int], room: int, micro_batch: int) -> PackedLengths:
    order = random.Random(0).sample(range(len(rows)), len(rows))
    sequences = [sum(rows[row] for row in sequence) for sequence in pack(rows, order, room)]
    return PackedLengths(
        rows_a_sequence=len(rows) / len(sequences),
        filled=sum(rows) / (room * len(sequences)),
        padding=_padding(sequences, micro_batch),
    )


def _padding(lengths: list[int], together: int) -> float:
    """Share that is padding where as many, drawn at random, are padded to the longest of them."""
    count = len(lengths)
    shares = ((place / count) ** together - ((place - 1) / count) ** together for place in range(1, count + 1))
    longest = sum(share * length for share, length in zip(shares, sorted(lengths), strict=True))
    return max(0.0, 1 - sum(lengths) / count / longest) if longest else 0.0


def _quantile(in_order: list[int], percentage: int) -> int:
    """The least length that so many per cent of the rows do not exceed."""
    return in_order[max(math.ceil(len(in_order) * percentage / 100), 1) - 1]


def _bins(in_order: list[int], most: int) -> list[Bin]:
    width = next(width for width in _widths() if width * most >= _quantile(in_order, SHOWN_IN_FULL))
    count = min(most, max(math.ceil(in_order[-1] / width), 1))
    rows = Counter(min(max(length - 1, 0) // width, count - 1) for length in in_order)
    lasts = [*((index + 1) * width for index in range(count - 1)), max(in_order[-1], count * width)]
    firsts = [0, *(last + 1 for last in lasts)]
    return [Bin(first, last, rows[index]) for index, (first, last) in enumerate(zip(firsts, lasts, strict=False))]


def _widths() -> itertools.chain[int]:
    """1, 2, 5, 10, 20, 50, ..."""
    return itertools.chain.from_iterable((10**power, 2 * 10**power, 5 * 10**power) for power in itertools.count())
