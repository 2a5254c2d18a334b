"""What forward keeps for backward, and what the loss takes.

Formulas count the tensors that torch's autograd saves in Transformers' decoder layers under autocast, counted with
``torch.autograd.graph.saved_tensors_hooks``; per token of the micro batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from engine.config.run_config import Compute, StrategyName, Task

if TYPE_CHECKING:
    from qltui.advice.memory.held import Job
    from qltui.facts.architecture import Architecture, Layer

FLOAT32 = 4
SAME_INPUT = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj", "qkv_proj", "query_key_value", "c_attn", "Wqkv"), "attention"),
    **dict.fromkeys(("gate_proj", "up_proj", "gate_up_proj", "w1", "w3"), "feed-forward"),
}
"""Linear layers that read one input, by what begins with it; every other one has its own."""
WRAPPED = (StrategyName.SINGLE, StrategyName.DDP, StrategyName.PIPELINE)
"""Strategies whose model Accelerate wraps: it casts the logits to float32 (accelerate utils/operations.py
``ConvertOutputsToFp32``)."""


class Adapters(NamedTuple):
    """Of a LoRA configuration what activations depend on."""

    rank: int
    dropout: bool
    dora: bool
    targets: tuple[str, ...] | None
    """Names of the layers that have one; None for all linear ones."""


class Keeping(NamedTuple):
    """All that what a layer keeps depends on."""

    architecture: Architecture
    full: bool
    quantized: bool
    compute: Compute
    adapters: Adapters
    sequence: int

    @property
    def width(self) -> int:
        """Bytes of a number computed with."""
        return 4 if self.compute is Compute.FP32 else 2


def layers_bytes(job: Job) -> list[tuple[int, int]]:
    """(how many layers, bytes a token that each keeps which does not recompute), in the order of the model."""
    lora = job.config.method.lora
    adapters = Adapters(lora.rank, lora.dropout > 0, lora.use_dora, job.targets)
    return _layers_bytes(Keeping(job.architecture, job.full, job.quantized, job.compute, adapters, job.sequence))


@lru_cache(maxsize=64)
def _layers_bytes(keeping: Keeping) -> list[tuple[int, int]]:
    return [(count, _layer_bytes(keeping, layer)) for count, layer in keeping.architecture.layers]


def _layer_bytes(keeping: Keeping, layer: Layer) -> int:
    saved = _norms(keeping, layer) + _attention(keeping)
    saved += 3 * keeping.width * _feed_forward(layer, keeping.architecture)
    return saved + _linear_inputs(keeping, layer)


def _norms(keeping: Keeping, layer: Layer) -> int:
    """A norm computes in float32 and keeps its input so; trained, what it is multiplied with as well."""
    widths = min(layer.other, 8 * keeping.architecture.hidden_size)
    return FLOAT32 * widths * (2 if keeping.full else 1)


def _attention(keeping: Keeping) -> int:
    """Queries, keys, values, the output, and a float32 sum a head (flash and memory-efficient kernels alike).

    In float32 no kernel of torch's takes fewer keys than queries: torch computes all scores and keeps them, and keys
    and values repeated.
    """
    architecture, width = keeping.architecture, keeping.width
    query = architecture.heads * architecture.head_dim
    keys = architecture.kv_heads * architecture.head_dim
    if keeping.compute is Compute.FP32 and architecture.kv_heads < architecture.heads:
        return width * (4 * query + architecture.heads * keeping.sequence)
    return width * (2 * query + 2 * keys) + FLOAT32 * architecture.heads


def _feed_forward(layer: Layer, architecture: Architecture) -> int:
    """Width of the gate: it, its activation and the other branch are kept for their product."""
    inner = [linear.outputs for linear in layer.linears if linear.inputs == architecture.hidden_size]
    widest = max((one for one in inner), default=architecture.intermediate_size)
    active = max((linear.active for linear in layer.linears), default=0)
    return max(widest, active * architecture.intermediate_size)


def _linear_inputs(keeping: Keeping, layer: Layer) -> int:
    """Inputs kept for the gradients of adapters, or of the weights themselves, and what adapters compute on the way."""
    adapters = keeping.adapters
    adapted = [linear for linear in layer.linears if keeping.full or _is_adapted(adapters, linear.name)]
    everything = sum(linear.inputs for linear in adapted)
    # PEFT casts the input for each adapter of a plain layer, and leaves it as it is under a quantised one; trained in
    # full under autocast, each layer casts its own. Dropout makes a new tensor for each in any case.
    shared = (keeping.quantized or keeping.compute is Compute.FP32) and (keeping.full or not adapters.dropout)
    if shared:
        distinct = {SAME_INPUT.get(linear.name, linear.name): linear.inputs for linear in adapted}
        saved = keeping.width * sum(distinct.values())
    else:
        saved = keeping.width * everything
    if keeping.full:
        return saved
    saved += keeping.width * adapters.rank * len(adapted)
    if adapters.dropout:
        saved += everything  # a byte for each number: dropped or not
    if adapters.dora:
        saved += 2 * FLOAT32 * sum(linear.outputs for linear in adapted)  # outputs before and after their norm
    return saved


def _is_adapted(adapters: Adapters, name: str) -> bool:
    return adapters.targets is None or name in adapters.targets


def boundary_bytes(job: Job) -> int:
    """Bytes a token that a layer which recomputes keeps: its input."""
    autocast_stream = job.full and job.strategy not in (StrategyName.ZERO1, StrategyName.ZERO2, StrategyName.ZERO3)
    return job.architecture.hidden_size * (FLOAT32 if autocast_stream else job.width)


def logits_bytes(job: Job) -> tuple[int, int]:
    """(at the end of forward, at the beginning of backward) bytes a token, for the head's output and the loss.

    Forward: what the head gives, its float32 copy, and log-probabilities; where Accelerate wraps the model, one more
    copy. Backward: log-probabilities and two gradients of them.
    """
    vocabulary = job.architecture.vocabulary
    if job.config.model.task is Task.SEQUENCE_CLASSIFICATION:
        return 0, 0
    wrapped = job.strategy in WRAPPED and job.compute is not Compute.FP32
    head = FLOAT32 if wrapped else job.width
    return vocabulary * (head + 2 * FLOAT32), vocabulary * 3 * FLOAT32


def final_norm_bytes(job: Job) -> int:
    """Bytes a token of what follows the layers."""
    return FLOAT32 * job.architecture.hidden_size * (2 if job.full else 1)
