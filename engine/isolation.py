"""Proof, before the first step, that rows packed into one sequence do not see each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from engine.errors import BadInput
from engine.evaluate import evaluating
from engine.loss import logits_of
from engine.packed_rows import collate_packed, in_sequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.packed_rows import Sequenced
    from engine.session import Session

TOKENS = 64
"""Of each of the two rows that are compared, at most."""
MOST = 0.3
"""Share of what the row before would make of a row, up to which it may differ from the same row alone. Rounding came to
0.17 at most (SmolLM2 135M and the demo's model in bf16, nf4 and int8), families that mix rows to all of it."""
ROUNDING = 3
"""As many times what rounding alone makes of a row is no sign: of a model that has learnt nothing it may be all."""


class Differences(NamedTuple):
    """Mean distances of logits from those of the same row alone."""

    packed: float
    """Of a row behind another."""
    mixed: float
    """The same where nothing keeps the rows apart."""
    rounding: float
    """Of the row before it, which sees no other whatever comes."""

    @property
    def mixes(self) -> bool:
        """Whether packed rows see each other."""
        return self.packed > max(MOST * self.mixed, ROUNDING * self.rounding)


def reads_in_one_line(model: Any) -> bool:
    """Whether the model's attention tells documents apart only where a batch is one line of tokens."""
    return "flash" in str(model.config.get_text_config()._attn_implementation)


def check_isolation(session: Session) -> None:
    """Compare the model's answers to a packed row with those to the row alone; nothing where rows are not packed.

    Every rank takes part with the same rows: gathering sharded weights takes all of them.

    Raises:
        BadInput: the row before makes a difference.
    """
    if not session.config.data.packing:
        return
    strategy, rows = session.strategy, session.rows.train

    def answers(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with strategy.autocast():
            return logits_of(strategy.unwrapped, {name: one.to(session.device) for name, one in batch.items()})

    with session.reporter.phase("prepare", "rows packed and alone compared"), torch.no_grad(), evaluating(session):
        found = differences(answers, _beginning(rows[0]), _beginning(rows[1 % len(rows)]))
    if found.mixes:
        attention = strategy.unwrapped.config.get_text_config()._attn_implementation
        raise BadInput(
            f"data.packing: with {attention} attention this model mixes the rows of a sequence (answers differ by"
            f" {found.packed:.2g} from those to a row alone, and by {found.mixed:.2g} if nothing keeps rows apart). Set"
            " data.packing=false."
        )


def differences(
    answers: Callable[[dict[str, torch.Tensor]], torch.Tensor], first: Sequenced, second: Sequenced
) -> Differences:
    """Compare ``second`` behind ``first`` with itself alone.

    ``answers`` gives the logits of a batch, (1, tokens, vocabulary). Where an attention mask is given,
    Transformers looks for no documents, and nothing keeps rows apart.
    """
    both = in_sequence({name: [first[name], second[name]] for name in ("input_ids", "labels")})
    packed = collate_packed([both], 0, in_one_line=True)
    mixed = {**packed, "attention_mask": torch.ones_like(packed["input_ids"])}
    before, behind = (answers({"input_ids": torch.tensor([row["input_ids"]])})[0].float() for row in (first, second))
    apart, together = (answers(batch)[0].float() for batch in (packed, mixed))
    end = len(before)
    return Differences(
        packed=_distance(apart[end:], behind),
        mixed=_distance(together[end:], behind),
        rounding=_distance(apart[:end], before),
    )


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().mean())


def _beginning(row: dict[str, Any]) -> Sequenced:
    return {name: list(row[name][:TOKENS]) for name in ("input_ids", "labels")}
