"""Proof, before the first step, that rows packed into one sequence do not see each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
"""Difference between a packed row and the same row alone, as a share of what the row before would make of it. Rounding
came to 0.04 at most (SmolLM2 135M and the demo's model in bf16, nf4 and int8), families that mix rows to over 0.6."""


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
        packed, mixed = differences(answers, _beginning(rows[0]), _beginning(rows[1 % len(rows)]))
    if packed > MOST * mixed:
        attention = strategy.unwrapped.config.get_text_config()._attn_implementation
        raise BadInput(
            f"data.packing: with {attention} attention this model mixes the rows of a sequence (answers differ by"
            f" {packed:.2g} from those to a row alone, and by {mixed:.2g} if nothing keeps rows apart). Set"
            " data.packing=false."
        )


def differences(
    answers: Callable[[dict[str, torch.Tensor]], torch.Tensor], first: Sequenced, second: Sequenced
) -> tuple[float, float]:
    """Mean distance of the logits of a row behind another from those of the row alone: (packed, as one document).

    ``answers`` gives the logits of a batch, (1, tokens, vocabulary).
    """
    both = in_sequence({name: [first[name], second[name]] for name in ("input_ids", "labels")})
    packed = collate_packed([both], 0, in_one_line=True)
    alone, apart, mixed = (
        answers(batch)[0, -len(second["input_ids"]) :].float()
        for batch in ({"input_ids": torch.tensor([second["input_ids"]])}, packed, {"input_ids": packed["input_ids"]})
    )
    return float((apart - alone).abs().mean()), float((mixed - alone).abs().mean())


def _beginning(row: dict[str, Any]) -> Sequenced:
    return {name: list(row[name][:TOKENS]) for name in ("input_ids", "labels")}
