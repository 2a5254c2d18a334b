"""Packed rows as tensors: several rows in one sequence, each a document that sees itself alone.

What tells documents apart are positions that begin anew: of them Transformers builds the mask of sdpa and eager
attention (5.23 masking_utils.py ``find_packed_sequence_indices``), and FlashAttention finds where documents begin
(modeling_flash_attention_utils.py ``_is_packed_sequence``). Both look at positions only where no attention mask is
given. ``engine.isolation`` proves it for the model at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from engine.tokens import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    Sequenced = dict[str, list[int]]


class PackedRows:
    """A dataset of packed sequences, by the lists of rows they are made of."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __getitem__(self, places: Sequence[int]) -> Sequenced:
        return in_sequence(self.rows[list(places)])


def in_sequence(rows: dict[str, list[list[int]]]) -> Sequenced:
    """Rows, by columns, one after another.

    They become input_ids; labels, none for the first token of a row, which nothing of its own precedes; position_ids,
    from 0 in every row.
    """
    return {
        "input_ids": [token for tokens in rows["input_ids"] for token in tokens],
        "labels": [label for labels in rows["labels"] for label in (IGNORED, *labels[1:])],
        "position_ids": [position for tokens in rows["input_ids"] for position in range(len(tokens))],
    }


def collate_packed(sequences: Sequence[Sequenced], pad_token_id: int, *, in_one_line: bool) -> dict[str, Tensor]:
    """Packed sequences as one batch of input_ids, labels and position_ids, each (sequences, tokens).

    They are padded on the right to the longest; each token of padding is a document at position 0, without a label.
    ``in_one_line`` puts them one after another instead, (1, tokens of all), which needs no padding: FlashAttention
    tells documents apart in a batch of one alone.
    """
    longest = max(len(sequence["input_ids"]) for sequence in sequences)
    fillers = {"input_ids": pad_token_id, "labels": IGNORED, "position_ids": 0}

    def together(name: str) -> Tensor:
        lines = [sequence[name] for sequence in sequences]
        if in_one_line:
            lines = [[value for line in lines for value in line]]
        else:
            lines = [line + [fillers[name]] * (longest - len(line)) for line in lines]
        return torch.tensor(lines, dtype=torch.long)

    return {name: together(name) for name in fillers}


def count_tokens(batch: dict[str, Tensor]) -> int:
    """Tokens of rows in a batch, packed or not; padding is not counted."""
    if "attention_mask" in batch:
        return int(batch["attention_mask"].sum())
    # Every row has a token to learn behind its first: positions 0 and 1 once. Padding is at 0 alone.
    positions = batch["position_ids"]
    return int((positions > 0).sum() + (positions == 1).sum())
