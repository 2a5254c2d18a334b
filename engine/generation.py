"""Answers of a model in training or after it, and what generating one needs to know of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from engine.templates import stop_token_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.session import Session


def answer_ends(model: Any, tokenizer: Any) -> list[int]:
    """Tokens an answer ends with: as the tokenizer and its chat template say, and the model's generation config."""
    configured: Any = model.generation_config.eos_token_id
    more = configured if isinstance(configured, list) else [configured]
    return sorted({*stop_token_ids(tokenizer), *(token for token in more if token is not None)})


@torch.no_grad()
def write_answers(session: Session, prompts: Sequence[Sequence[int]]) -> list[str]:
    """What the model in training writes after each of these prompts, given as tokens, always taking the likeliest.

    Where parameters are sharded, all ranks take part, each with prompts of its own.
    """
    model, tokenizer = session.strategy.unwrapped, session.tokenizer
    longest = max(map(len, prompts))
    # Generation goes on from the right end, so prompts are padded on the left.
    padding = [longest - len(prompt) for prompt in prompts]
    pad = tokenizer.pad_token_id
    input_ids = torch.tensor([[pad] * gap + list(prompt) for gap, prompt in zip(padding, prompts, strict=True)])
    mask = torch.tensor([[0] * gap + [1] * (longest - gap) for gap in padding])
    with session.strategy.autocast():
        output = model.generate(
            input_ids=input_ids.to(session.device),
            attention_mask=mask.to(session.device),
            max_new_tokens=session.config.training.answer_max_tokens,
            do_sample=False,
            use_cache=True,
            synced_gpus=session.strategy.shards_parameters,
            pad_token_id=pad,
            eos_token_id=answer_ends(model, tokenizer),
        )
    return list(tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True))
