"""How pipeline shares layers out over its GPUs: the engine places them by it, and the plan counts on it.

By bytes of weights alone, as Transformers' ``device_map="balanced"`` goes, the GPU without embeddings took two thirds
of the layers, with all that they keep for backward: 0.8 GiB were measured beside 1.8.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from engine.config.choices import Checkpointing, Method, Task
from engine.config.loss_chunks import chunk_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.config.run_config import RunConfig

OF_THE_LOSS = 10
"""Bytes for each number the head gives: itself in 16 bit, in float32, and its log-probability."""


class LayerSize(NamedTuple):
    """What is known of a layer before it is loaded."""

    quantizable: int
    """Numbers of the weights that bitsandbytes quantises."""
    others: int
    """Numbers of all other parameters."""
    features: int
    """Inputs and outputs of its linear modules, added up: about what a token keeps for backward."""


class Ends(NamedTuple):
    """What lies before and after the layers."""

    embeddings: int
    """Numbers of the input embeddings."""
    head: int
    """Numbers of the output projection; 0 where it is the embeddings' weight, beside which it is then placed."""
    vocabulary: int
    hidden_size: int
    tied: bool


def layers_by_device(
    config: RunConfig, layers: Sequence[LayerSize], ends: Ends, devices: int, width: int
) -> tuple[int, ...]:
    """How many layers each device takes, in their order, so that the fullest takes least; it may be none.

    ``width``: bytes of a number computed with. Rows are taken as long as they may be.
    """
    tokens = config.data.max_length * config.training.micro_batch_size
    recomputed = config.training.gradient_checkpointing
    if isinstance(recomputed, Checkpointing):
        recomputed = len(layers) if recomputed is Checkpointing.ALL else 0
    costs = []
    for index, layer in enumerate(layers):
        kept = ends.hidden_size + (0 if index < recomputed else layer.features)
        costs.append(layer_bytes(config, layer, width) + kept * tokens * width)
    at_head = ends.head * width
    if config.model.task is not Task.SEQUENCE_CLASSIFICATION:
        chunk = chunk_tokens(config, config.precision.compute, ends.vocabulary, ends.hidden_size) or tokens
        at_head += ends.vocabulary * min(tokens, chunk) * OF_THE_LOSS
    first = ends.embeddings * width + (at_head if ends.tied else 0)
    return split(tuple(costs), first, 0 if ends.tied else at_head, devices)


def layer_bytes(config: RunConfig, layer: LayerSize, width: int) -> int:
    """Of a layer's weights as the method keeps them."""
    packed = {Method.QLORA: 0.5, Method.INT8: 1.0}.get(config.method.name, width)
    return int(layer.quantizable * packed) + layer.others * width


@lru_cache(maxsize=256)
def split(costs: tuple[int, ...], first: int, last: int, devices: int) -> tuple[int, ...]:
    """Cut a row of costs into ``devices`` runs whose largest sum is least, to a thousandth; the count in each.

    ``first`` and ``last`` are what the first and the last device bear beside them.
    """
    low = max(first, last, *costs, -(-(first + last + sum(costs)) // devices))
    high = low + max(costs)  # short of that no device is left while there is room on one
    while high - low > low >> 10:
        middle = (low + high) // 2
        low, high = (low, middle) if _filled(costs, first, last, devices, middle) else (middle + 1, high)
    counts = _filled(costs, first, last, devices, high)
    assert counts is not None
    return counts


def _filled(costs: tuple[int, ...], first: int, last: int, devices: int, most: int) -> tuple[int, ...] | None:
    """Each device filled up in turn to ``most``; None where something is left over."""
    counts, place = [], 0
    for device in range(devices):
        room = most - (first if device == 0 else 0) - (last if device == devices - 1 else 0)
        begun = place
        while place < len(costs) and costs[place] <= room:
            room -= costs[place]
            place += 1
        if room < 0:
            return None
        counts.append(place - begun)
    return tuple(counts) if place == len(costs) else None
