"""Which rows share a sequence where ``data.packing`` is set: best fit within windows. Imports no torch.

Of a window of rows, those that are long beside a sequence are placed first, the longest first; each goes to the
sequence with the least room that is enough, or begins a new one. Short rows then fill the gaps in the order they came
in. A window holds about :data:`WINDOW` sequences, so that rows travel with neighbours of their epoch's order, and no
search is long. Within a window sequences stand where their first placed row stood: at random if the rows did.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

WINDOW = 128
"""Sequences that the rows of a window fill, about."""
LONG = 1 / 16
"""Share of a sequence above which a row is placed by its length."""


def pack(lengths: Sequence[int], order: Iterable[int], room: int) -> list[list[int]]:
    """Rows in ``order``, by their places in ``lengths``, as sequences of at most ``room`` tokens.

    Every row is in exactly one of them, and stands there in its order; no row may be longer than ``room``.
    """
    return [sequence for window in _windows(lengths, order, room) for sequence in _best_fit(lengths, window, room)]


def _windows(lengths: Sequence[int], order: Iterable[int], room: int) -> Iterator[list[int]]:
    window: list[int] = []
    tokens = 0
    for row in order:
        window.append(row)
        tokens += lengths[row]
        if tokens >= WINDOW * room:
            yield window
            window, tokens = [], 0
    if window:
        yield window


def _best_fit(lengths: Sequence[int], window: list[int], room: int) -> list[list[int]]:
    long = room * LONG
    places = sorted(range(len(window)), key=lambda place: -max(lengths[window[place]], long))  # equals keep their order
    sequences: list[list[int]] = []  # places in the window, as they were placed
    left: list[tuple[int, int]] = []  # (tokens of room, sequence), ascending
    for place in places:
        tokens = lengths[window[place]]
        best = bisect_left(left, (tokens, -1))
        if best < len(left):
            free, sequence = left.pop(best)
            sequences[sequence].append(place)
        else:
            free, sequence = room, len(sequences)
            sequences.append([place])
        insort(left, (free - tokens, sequence))
    sequences.sort(key=lambda placed: placed[0])
    return [[window[place] for place in sorted(placed)] for placed in sequences]
