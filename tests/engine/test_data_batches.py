"""The order of the data: the same whatever the number of ranks, and from whatever step it is picked up."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import datasets
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batches import BatchPlan, Packing, collate, micro_batches

if TYPE_CHECKING:
    from pathlib import Path

Shape = tuple[int, int, int]


def plan(shape: Shape, rank: int = 0, *, seed: int = 0, rows: int = 10, shuffle: bool = True) -> BatchPlan:
    micro, accumulation, world_size = shape
    return BatchPlan(
        seed=seed, rows=rows, micro_batch_size=micro, gradient_accumulation_steps=accumulation,
        world_size=world_size, rank=rank, shuffle=shuffle,
    )  # fmt: skip


def step_rows(shape: Shape, step: int, **options: Any) -> list[int]:
    """The rows of a step over all ranks and micro batches."""
    return [row for rank in range(shape[2]) for batch in plan(shape, rank, **options).indices(step) for row in batch]


@st.composite
def two_shapes(draw: st.DrawFn) -> tuple[Shape, Shape]:
    """Two ways to make the same global batch of micro batch, accumulation and ranks."""
    total = draw(st.integers(1, 48))

    def shape() -> Shape:
        world_size = draw(st.sampled_from([n for n in range(1, total + 1) if total % n == 0]))
        rest = total // world_size
        micro = draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0]))
        return micro, rest // micro, world_size

    return shape(), shape()


@given(two_shapes(), st.integers(1, 60), st.integers(0, 50), st.integers(0, 2**32 - 1), st.booleans())
def test_a_step_has_the_same_rows_however_it_is_spread(
    shapes: tuple[Shape, Shape], rows: int, step: int, seed: int, shuffle: bool
) -> None:
    one, other = (sorted(step_rows(shape, step, rows=rows, seed=seed, shuffle=shuffle)) for shape in shapes)
    assert one == other


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 60),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_every_row_comes_once_an_epoch(shape: Shape, rows: int, seed: int, shuffle: bool) -> None:
    global_batch = plan(shape, rows=rows).global_batch_size
    stream: list[int] = []
    step = 0
    while len(stream) < 3 * rows:
        found = [plan(shape, rank, rows=rows, seed=seed, shuffle=shuffle).indices(step) for rank in range(shape[2])]
        assert all(len(batches) == shape[1] and {*map(len, batches)} == {shape[0]} for batches in found)
        for batches in zip(*found, strict=True):  # micro batch by micro batch, rank by rank: the order of the stream
            stream += [row for batch in batches for row in batch]
        step += 1
    assert len(stream) == step * global_batch
    for epoch in range(3):
        assert sorted(stream[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


def test_order_changes_with_the_epoch_and_the_seed_but_not_when_unshuffled() -> None:
    def epochs(**options: Any) -> list[list[int]]:
        return [step_rows((10, 1, 1), step, **options) for step in range(2)]

    first, second = epochs(seed=1)
    assert len({tuple(first), tuple(second), *map(tuple, epochs(seed=2))}) == 4
    assert epochs(shuffle=False) == [list(range(10))] * 2


def test_an_epoch_counts_the_part_of_a_step_too() -> None:
    ours = plan((2, 1, 2), rows=10)
    assert (ours.steps(1), ours.steps(2), ours.steps(0.5)) == (3, 5, 2)
    assert [ours.epochs(steps) for steps in (0, 1, 5)] == [0, 0.4, 2]


def packed_plan(
    shape: Shape, lengths: list[int], rank: int = 0, *, seed: int = 0, shuffle: bool = True, room: int = 16
) -> BatchPlan:
    micro, accumulation, world_size = shape
    return BatchPlan(
        seed=seed, rows=len(lengths), micro_batch_size=micro, gradient_accumulation_steps=accumulation,
        world_size=world_size, rank=rank, shuffle=shuffle, packing=Packing(lengths, room),
    )  # fmt: skip


def packed_step(shape: Shape, lengths: list[int], step: int, **options: Any) -> list[list[int]]:
    """The sequences of a step over all ranks and micro batches."""
    ranks = [packed_plan(shape, lengths, rank, **options).indices(step) for rank in range(shape[2])]
    return [sequence for batches in ranks for batch in batches for sequence in batch]


packable = st.lists(st.integers(2, 16), min_size=1, max_size=60)


@settings(deadline=None, max_examples=50)
@given(two_shapes(), packable, st.integers(0, 4), st.integers(0, 2**32 - 1), st.booleans())
def test_a_step_has_the_same_packed_rows_however_it_is_spread(
    shapes: tuple[Shape, Shape], lengths: list[int], step: int, seed: int, shuffle: bool
) -> None:
    one, other = (sorted(packed_step(shape, lengths, step, seed=seed, shuffle=shuffle)) for shape in shapes)
    assert one == other


@settings(deadline=None)
@given(packable, st.integers(0, 2**32 - 1), st.booleans(), st.integers(1, 5))
def test_every_packed_row_comes_once_an_epoch(lengths: list[int], seed: int, shuffle: bool, global_batch: int) -> None:
    ours = packed_plan((global_batch, 1, 1), lengths, seed=seed, shuffle=shuffle)
    stream = [sequence for step in range(ours.steps(3)) for sequence in ours.indices(step)[0]]
    for epoch in range(3):
        sequences, stream = stream[: ours.samples(epoch)], stream[ours.samples(epoch) :]
        assert sorted(row for sequence in sequences for row in sequence) == list(range(len(lengths)))
    assert len(stream) < global_batch, "the last step may go into the next epoch"


@settings(deadline=None)
@given(packable, st.integers(1, 5), st.integers(0, 40))
def test_epochs_of_packed_rows_are_counted_both_ways(lengths: list[int], global_batch: int, steps: int) -> None:
    ours = packed_plan((global_batch, 1, 1), lengths)
    assert ours.steps(1) == -(-ours.samples(0) // global_batch)
    assert steps - 1 <= ours.steps(ours.epochs(steps)) <= steps + 1
    taken = sum(ours.samples(epoch) for epoch in range(int(ours.epochs(steps))))
    assert taken <= steps * global_batch


def test_rows_are_packed_anew_for_every_epoch_unless_unshuffled() -> None:
    lengths = [5, 6, 7, 8, 9, 10, 11] * 3

    def epochs(**options: Any) -> list[list[list[int]]]:
        ours = packed_plan((1, 1, 1), lengths, **options)
        ends = [0, ours.samples(0), ours.samples(0) + ours.samples(1)]
        return [[ours.indices(step)[0][0] for step in range(*part)] for part in pairwise(ends)]

    first, second = epochs(seed=1)
    assert sorted(first) != sorted(second)
    assert epochs(seed=1) == [first, second]
    assert epochs(seed=2)[0] != first
    assert epochs(shuffle=False)[0] == epochs(shuffle=False)[1]


def test_padding_is_on_the_right_and_masked_by_place_not_by_token() -> None:
    batch = collate(
        [{"input_ids": [5, 2], "labels": [-100, 2]}, {"input_ids": [5, 6, 7, 2], "labels": [-100, -100, 7, 2]}], 2
    )
    assert batch["input_ids"].tolist() == [[5, 2, 2, 2], [5, 6, 7, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[-100, 2, -100, -100], [-100, -100, 7, 2]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def numbered(folder: Path, rows: int = 7) -> datasets.Dataset:
    made = datasets.Dataset.from_dict(
        {"input_ids": [[n] * (n + 1) for n in range(rows)], "labels": [[n] for n in range(rows)]}
    )
    made = made.map(lambda row: {"labels": row["input_ids"]})
    made.save_to_disk(str(folder))
    return datasets.load_from_disk(str(folder))


def seen(stream: Any) -> list[list[list[int]]]:
    return [[batch["input_ids"][:, 0].tolist() for batch in batches] for batches in stream]


def test_batches_resume_at_any_step_with_and_without_workers(tmp_path: Path) -> None:
    data, ours = numbered(tmp_path), plan((2, 2, 2), rank=1, rows=7)
    whole = seen(micro_batches(data, ours, 0, 0, 6, 0))
    assert whole == [ours.indices(step) for step in range(6)]
    for start in range(7):
        assert seen(micro_batches(data, ours, 0, start, 6, 0)) == whole[start:]
    assert seen(micro_batches(data, ours, 0, 2, 6, 2)) == whole[2:]


def test_packed_batches_resume_at_any_step_with_and_without_workers(tmp_path: Path) -> None:
    data, lengths = numbered(tmp_path), [n + 1 for n in range(7)]

    def batches(start: int, workers: int = 0) -> list[list[dict[str, list[list[int]]]]]:
        ours = packed_plan((2, 2, 2), lengths, rank=1, room=9)
        found = micro_batches(data, ours, 0, start, 4, workers)
        return [[{name: values.tolist() for name, values in batch.items()} for batch in step] for step in found]

    whole = batches(0)
    for start in range(1, 5):
        assert batches(start) == whole[start:]
    assert batches(1, workers=2) == whole[1:]


def test_batches_leave_torchs_random_numbers_alone(tmp_path: Path) -> None:
    data, before = numbered(tmp_path), torch.get_rng_state()
    list(micro_batches(data, plan((1, 1, 1), rows=7), 0, 0, 3, 1))
    assert torch.equal(torch.get_rng_state(), before)
