"""The loss, in float32 whatever the model computes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn import functional

from engine.tokens import IGNORED

if TYPE_CHECKING:
    import torch


def summed_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy summed over the target tokens of a batch (a float32 scalar).

    ``batch``: input_ids, attention_mask and labels, each (rows, tokens); labels are ``IGNORED`` where no loss is taken.
    Summed rather than averaged, so that dividing by the tokens of all ranks and micro batches weighs each token alike.
    """
    output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    logits = output.logits[:, :-1].float()
    targets = batch["labels"][:, 1:]
    return functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=IGNORED, reduction="sum"
    )
