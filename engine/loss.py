"""The loss, in float32 whatever the model computes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn import functional

from engine.tokens import IGNORED

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    SummedLoss = Callable[[Any, dict[str, torch.Tensor]], torch.Tensor]


def summed_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy summed over the targets of a batch (a float32 scalar).

    ``batch``: input_ids, attention_mask and, where rows have them, token_type_ids, each (rows, tokens); labels (rows,
    tokens), ``IGNORED`` where no loss is taken, or (rows,) with a class each. Summed rather than averaged, so that
    dividing by the targets of all ranks and micro batches weighs each alike.
    """
    return _cross_entropy(logits_of(model, batch), batch["labels"])


def logits_of(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the model answers: (rows, tokens, vocabulary), or (rows, classes)."""
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    logits: torch.Tensor = model(**inputs, use_cache=False).logits
    return logits


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if labels.dim() == 2:  # each token is predicted by those before it
        logits, labels = logits[:, :-1], labels[:, 1:]
    return cross_entropy(logits.float().reshape(-1, logits.shape[-1]), labels.reshape(-1))


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Summed over (targets,) ``labels`` that are not ``IGNORED``, of (targets, vocabulary) ``logits``; in float32."""
    return functional.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")


def loss_and_hits(model: Any, batch: dict[str, torch.Tensor]) -> tuple[float, float]:
    """(summed loss, rows whose class was found) of a batch with a class for each row."""
    logits = logits_of(model, batch)
    hits = (logits.argmax(-1) == batch["labels"]).sum()
    return float(_cross_entropy(logits, batch["labels"])), float(hits)


def count_targets(batch: dict[str, torch.Tensor]) -> float:
    """How many targets the summed loss is over."""
    labels = batch["labels"][:, 1:] if batch["labels"].dim() == 2 else batch["labels"]
    return float((labels != IGNORED).sum())
