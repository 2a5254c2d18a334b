"""Which rows a rank sees at which step, and how rows become tensors."""

from __future__ import annotations

import bisect
import functools
import math
import random
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from engine.config.packing import pack
from engine.packed_rows import PackedRows, collate_packed
from engine.tokens import IGNORED

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence


class Packing(NamedTuple):
    """How rows are put together into sequences."""

    lengths: Sequence[int]
    """Tokens by row."""
    room: int
    """Tokens of a sequence at most."""


class BatchPlan:
    """The order of the data: a pure function of the step, so that a run resumes anywhere without replaying.

    Samples form an endless stream, one epoch after another. Step ``s`` takes the ``global_batch_size`` samples from
    position ``s * global_batch_size`` on, whatever the number of ranks: as long as micro batch x accumulation x ranks
    stays the same, so do the rows of every step. A sample is a row, and an epoch a permutation of them; of packed rows
    it is a sequence of several, packed anew for every epoch out of its permutation.
    """

    def __init__(
        self,
        *,
        seed: int,
        rows: int,
        micro_batch_size: int,
        gradient_accumulation_steps: int,
        world_size: int,
        rank: int,
        shuffle: bool,
        packing: Packing | None = None,
    ) -> None:
        self.seed = seed
        self.rows = rows
        self.micro_batch_size = micro_batch_size
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.world_size = world_size
        self.rank = rank
        self.shuffle = shuffle
        self.global_batch_size = micro_batch_size * gradient_accumulation_steps * world_size
        self._packing = packing
        self._begins = [0]  # positions at which epochs of packed rows begin, as far as they were asked for
        self._packed = functools.lru_cache(maxsize=2)(self._pack)

    def indices(self, step: int) -> list[list[Any]]:
        """Samples of this rank's micro batches at an optimizer step, steps counted from 0: rows, or lists of them."""
        everyone = self._stream(step * self.global_batch_size, self.global_batch_size)
        micro, mine = self.micro_batch_size, self.rank * self.micro_batch_size
        starts = range(mine, self.global_batch_size, micro * self.world_size)
        return [everyone[start : start + micro] for start in starts]

    @property
    def packs(self) -> bool:
        """Whether samples are sequences of several rows."""
        return self._packing is not None

    def samples(self, epoch: int) -> int:
        """How many there are in an epoch; of packed rows not the same in every one."""
        return self.rows if self._packing is None else len(self._packed(epoch))

    def steps(self, epochs: float) -> int:
        """Optimizer steps that so many epochs take."""
        if self._packing is None:
            return math.ceil(epochs * self.rows / self.global_batch_size)
        whole, part = int(epochs), epochs % 1
        samples = self._begin(whole) + (part * self.samples(whole) if part else 0)
        return math.ceil(samples / self.global_batch_size)

    def epochs(self, steps: int) -> float:
        """Passes over the data that so many optimizer steps are."""
        epoch, offset = self._find(steps * self.global_batch_size)
        return epoch + offset / self.samples(epoch)

    def _stream(self, position: int, count: int) -> list[Any]:
        found: list[Any] = []
        while len(found) < count:
            epoch, offset = self._find(position + len(found))
            found += self._samples(epoch, offset, offset + count - len(found))
        return found

    def _samples(self, epoch: int, start: int, end: int) -> list[Any]:
        if self._packing is None:
            part: list[int] = _order(self.seed, epoch, self.rows, self.shuffle)[start:end].tolist()
            return part
        return self._packed(epoch)[start:end]

    def _find(self, position: int) -> tuple[int, int]:
        """(epoch, place in it) of a position in the stream."""
        if self._packing is None:
            return divmod(position, self.rows)
        while self._begins[-1] <= position:
            self._begin(len(self._begins))
        epoch = bisect.bisect_right(self._begins, position) - 1
        return epoch, position - self._begins[epoch]

    def _begin(self, epoch: int) -> int:
        """Position at which an epoch begins."""
        if self._packing is None:
            return epoch * self.rows
        while len(self._begins) <= epoch:
            self._begins.append(self._begins[-1] + self.samples(len(self._begins) - 1))
        return self._begins[epoch]

    def _pack(self, epoch: int) -> list[list[int]]:
        assert self._packing is not None
        order = _order(self.seed, epoch, self.rows, self.shuffle).tolist()
        return pack(self._packing.lengths, order, self._packing.room)


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, rows: int, shuffle: bool) -> Tensor:
    if not shuffle:
        return torch.arange(rows)
    # torch's generator looks at 32 bits of a seed alone, so seed and epoch are mixed into as many.
    mixed = random.Random(f"{seed} {epoch}").getrandbits(32)
    return torch.randperm(rows, generator=torch.Generator().manual_seed(mixed))


def collate(rows: Sequence[dict[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
    """Rows as one batch, padded on the right to the longest; padding has label -100, whichever token pads.

    Labels are (rows, tokens); of rows to classify, which have a single label each, (rows,). Rows with token types give
    token_type_ids too, 0 where they are padded.
    """
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(values: list[list[int]], filler: int) -> Tensor:
        return torch.tensor([value + [filler] * (longest - len(value)) for value in values], dtype=torch.long)

    batch = {
        "input_ids": padded([row["input_ids"] for row in rows], pad_token_id),
        "attention_mask": padded([[1] * len(row["input_ids"]) for row in rows], 0),
    }
    if "token_type_ids" in rows[0]:
        batch["token_type_ids"] = padded([row["token_type_ids"] for row in rows], 0)
    if "label" in rows[0]:
        batch["labels"] = torch.tensor([row["label"] for row in rows])
    else:
        batch["labels"] = padded([row["labels"] for row in rows], IGNORED)
    return batch


def micro_batches(
    dataset: Any, plan: BatchPlan, pad_token_id: int, start_step: int, total_steps: int, num_workers: int,
    *, in_one_line: bool = False,
) -> Generator[list[dict[str, Tensor]]]:  # fmt: skip
    """The micro batches of each optimizer step from ``start_step`` up to ``total_steps``.

    ``in_one_line`` is how packed rows are collated (:func:`engine.packed_rows.collate_packed`).
    With ``num_workers`` above 0 as many processes read ahead; they end when the iterator is dropped or the rank dies.
    No number is drawn from torch's global generator.
    """
    collate_samples = functools.partial(collate, pad_token_id=pad_token_id)
    if plan.packs:
        dataset = PackedRows(dataset)
        collate_samples = functools.partial(collate_packed, pad_token_id=pad_token_id, in_one_line=in_one_line)
    loader = DataLoader(
        dataset,
        batch_sampler=_MicroBatches(plan, start_step, total_steps),
        collate_fn=collate_samples,
        num_workers=num_workers,
        generator=torch.Generator(),
    )
    batches = iter(loader)
    for _ in range(start_step, total_steps):
        yield [next(batches) for _ in range(plan.gradient_accumulation_steps)]


class _MicroBatches:
    """Samples, one list a micro batch, as torch's DataLoader wants them."""

    def __init__(self, plan: BatchPlan, start_step: int, total_steps: int) -> None:
        self.plan = plan
        self.steps = range(start_step, total_steps)

    def __iter__(self) -> Iterator[list[Any]]:
        for step in self.steps:
            yield from self.plan.indices(step)

    def __len__(self) -> int:
        return len(self.steps) * self.plan.gradient_accumulation_steps
