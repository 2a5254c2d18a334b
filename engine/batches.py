"""Which rows a rank sees at which step, and how rows become tensors."""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from engine.tokens import IGNORED

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence


class BatchPlan:
    """The order of the data: a pure function of the step, so that a run resumes anywhere without replaying.

    The rows form an endless stream, one permutation after another, an epoch each. Step ``s`` takes the
    ``global_batch_size`` rows from position ``s * global_batch_size`` on, whatever the number of ranks: as long as
    micro batch x accumulation x ranks stays the same, so do the rows of every step.
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
    ) -> None:
        self.seed = seed
        self.rows = rows
        self.micro_batch_size = micro_batch_size
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.world_size = world_size
        self.rank = rank
        self.shuffle = shuffle
        self.global_batch_size = micro_batch_size * gradient_accumulation_steps * world_size
        self.steps_per_epoch = rows / self.global_batch_size
        """Optimizer steps a pass over the data takes; a fraction where batches go across epochs."""

    def indices(self, step: int) -> list[list[int]]:
        """Rows of this rank's micro batches at an optimizer step, steps counted from 0."""
        everyone = self._stream(step * self.global_batch_size, self.global_batch_size)
        micro, mine = self.micro_batch_size, self.rank * self.micro_batch_size
        starts = range(mine, self.global_batch_size, micro * self.world_size)
        return [everyone[start : start + micro] for start in starts]

    def _stream(self, position: int, count: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            epoch, offset = divmod(position + len(found), self.rows)
            order = _order(self.seed, epoch, self.rows, self.shuffle)
            found += order[offset : offset + count - len(found)].tolist()
        return found


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
    dataset: Any, plan: BatchPlan, pad_token_id: int, start_step: int, total_steps: int, num_workers: int
) -> Generator[list[dict[str, Tensor]]]:
    """The micro batches of each optimizer step from ``start_step`` up to ``total_steps``.

    With ``num_workers`` above 0 as many processes read ahead; they end when the iterator is dropped or the rank dies.
    No number is drawn from torch's global generator.
    """
    loader = DataLoader(
        dataset,
        batch_sampler=_MicroBatches(plan, start_step, total_steps),
        collate_fn=functools.partial(collate, pad_token_id=pad_token_id),
        num_workers=num_workers,
        generator=torch.Generator(),
    )
    batches = iter(loader)
    for _ in range(start_step, total_steps):
        yield [next(batches) for _ in range(plan.gradient_accumulation_steps)]


class _MicroBatches:
    """Row indices, one list a micro batch, as torch's DataLoader wants them."""

    def __init__(self, plan: BatchPlan, start_step: int, total_steps: int) -> None:
        self.plan = plan
        self.steps = range(start_step, total_steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            yield from self.plan.indices(step)

    def __len__(self) -> int:
        return len(self.steps) * self.plan.gradient_accumulation_steps
