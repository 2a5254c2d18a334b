"""How many tokens' logits are held at once: the engine takes the loss by it, and the memory plan counts on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.choices import Compute, Loss, Method, StrategyName, Task

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig

CHUNK_BYTES = 128 << 20
"""Of a chunk's logits in float32; the loss takes about three times as much while it computes (its gradients too)."""
HEAD = "lm_head"
"""What nearly all models call their head."""


def chunk_tokens(config: RunConfig, compute: Compute, vocabulary: int, hidden_size: int) -> int | None:
    """Tokens whose logits are held at once; None where all of them are.

    A head that is trained has a gradient as large as the logits of ``hidden_size`` tokens, to which each chunk adds:
    smaller chunks save nothing more. ``compute`` is what precision comes to on the hardware.
    """
    wanted = config.training.loss
    if wanted is Loss.FULL or config.model.task is Task.SEQUENCE_CLASSIFICATION:
        return None
    if not isinstance(wanted, Loss):
        return wanted
    if wanted is Loss.AUTO and why_full(config, compute):
        return None
    tokens = max(1, CHUNK_BYTES // (4 * max(vocabulary, 1)))
    return max(tokens, hidden_size) if trains_head(config) else tokens


def why_full(config: RunConfig, compute: Compute) -> str:
    """Why the loss must be taken of all logits at once, as far as a configuration tells; empty where it need not."""
    lora = config.method.lora
    adapted = config.method.name is not Method.FULL and (trains_head(config) or HEAD in lora.target_modules)
    if adapted and config.strategy.name is StrategyName.ZERO3:
        return "zero3 would gather the adapters of the head for every chunk"
    if compute is Compute.FP16 and (adapted or config.method.name is Method.FULL):
        return "gradients of a head that is trained overflow in fp16 where they are not scaled"
    return ""


def trains_head(config: RunConfig) -> bool:
    """Whether the head's own weight is trained, in whole or in rows of new tokens."""
    if config.method.name is Method.FULL:
        return True
    return HEAD in config.method.lora.modules_to_save or bool(config.model.new_tokens)
