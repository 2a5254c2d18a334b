"""Layers shared out over GPUs so that the fullest takes least."""

from __future__ import annotations

from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.config import RunConfig
from engine.config.layer_split import Ends, LayerSize, layers_by_device, split
from engine.config.reading import read

COSTS = st.lists(st.integers(1, 50), min_size=1, max_size=9).map(tuple)


def fullest(costs: tuple[int, ...], first: int, last: int, counts: tuple[int, ...]) -> int:
    sums, place = [], 0
    for count in counts:
        sums.append(sum(costs[place : place + count]))
        place += count
    sums[0] += first
    sums[-1] += last
    return max(sums)


@given(COSTS, st.integers(0, 80), st.integers(0, 80), st.integers(1, 4))
def test_no_other_cut_has_a_smaller_fullest_device(costs: tuple[int, ...], first: int, last: int, devices: int) -> None:
    counts = split(costs, first, last, devices)
    assert len(counts) == devices
    assert sum(counts) == len(costs)
    cuts = combinations_with_replacement(range(len(costs) + 1), devices - 1)
    ways = [tuple(b - a for a, b in zip((0, *cut), (*cut, len(costs)), strict=True)) for cut in cuts]
    assert fullest(costs, first, last, counts) == min(fullest(costs, first, last, way) for way in ways)


def config(tmp_path: Path, **values: Any) -> RunConfig:
    given = {"model": "m", "data": "d.jsonl", "strategy": "pipeline", "method": "qlora", "training.loss": "full"}
    given |= values
    return read(given, where="test", base=tmp_path)


LAYERS = [LayerSize(47_000_000, 4096, 37_000)] * 16
ENDS = Ends(65_000_000, 65_000_000, 32_000, 2048, tied=False)


def test_what_layers_keep_counts_and_recomputing_ones_keep_little(tmp_path: Path) -> None:
    long = {"data.max_length": 8192, "training.gradient_checkpointing": "none"}
    assert layers_by_device(config(tmp_path, **long), LAYERS, ENDS, 2, 2) == (10, 6), (
        "the loss, as much as four layers, is on the second"
    )
    tied = ENDS._replace(head=0, tied=True)
    assert layers_by_device(config(tmp_path, **long), LAYERS, tied, 2, 2) == (6, 10), "there it is on the first"
    short = {"data.max_length": 256, "training.gradient_checkpointing": "all"}
    assert layers_by_device(config(tmp_path, **short), LAYERS, ENDS, 2, 2) == (10, 6)
    in_chunks = layers_by_device(config(tmp_path, **long, **{"training.loss": "auto"}), LAYERS, ENDS, 2, 2)
    assert in_chunks == (8, 8), "of the loss little is left"
    some = {"data.max_length": 2048, "training.gradient_checkpointing": 8}
    first, second = layers_by_device(config(tmp_path, **some), LAYERS, ENDS, 2, 2)
    assert first > 10 > second, "the eight that recompute are the first ones"


def test_a_classifier_has_no_loss_over_a_vocabulary(tmp_path: Path) -> None:
    given = {"data.max_length": 1024, "model.task": "sequence_classification"}
    classified = layers_by_device(config(tmp_path, **given), LAYERS, ENDS._replace(head=0), 2, 2)
    assert classified[0] < classified[1], "embeddings are on the first, nothing on the second"
