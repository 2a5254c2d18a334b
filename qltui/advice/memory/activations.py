"""What forward keeps for backward, and what the loss takes.

Formulas count the tensors that torch's autograd saves in Transformers' decoder layers under autocast, counted with
``torch.autograd.graph.saved_tensors_hooks``; per token of the micro batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from engine.config.choices import Attention, Compute, StrategyName, Task
from engine.config.loss_chunks import chunk_tokens, trains_head

if TYPE_CHECKING:
    from qltui.advice.memory.held import Job
    from qltui.facts.architecture import Architecture, Layer, Linear

FLOAT32 = 4
SAME_INPUT = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj"), "attention"),
    **dict.fromkeys(("gate_proj", "up_proj", "w1", "w3"), "feed-forward"),
}
"""Linear layers that read one input, by what begins with it; every other one has its own."""
GATES = ("gate_proj", "gate_up_proj", "w1")
"""Linear layers that give the gate of a feed-forward."""
FUSED = ("qkv_proj", "query_key_value", "Wqkv")
"""Linear layers that give queries, keys and values in one tensor, which the values keep as a whole."""
FUSED_WITHOUT_ROTATION = "c_attn"
"""One whose queries and keys are not rotated, and so are no tensors of their own."""
OUTPUTS = ("o_proj", "out_proj", "dense", "c_proj")
"""Names of attention's output projection."""
WRITTEN_OUT = 12
"""Bytes for each number that an activation written out in steps keeps under CUDA's autocast, which takes its powers in
float32: its input and ``tanh`` so, and one more factor, besides half its input as it comes (transformers 5.23
activations.py ``NewGELUActivation``)."""
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


class Kept(NamedTuple):
    """What each of some layers keeps that does not recompute, in bytes."""

    layers: int
    a_token: int
    weights: int
    """However few tokens there are: 16-bit copies of its weights."""


class Keeping(NamedTuple):
    """All that what a layer keeps depends on."""

    architecture: Architecture
    full: bool
    autocast: bool
    """Whether operations choose their type: weights trained in float32, or adapters beside frozen ones."""
    quantized: bool
    compute: Compute
    adapters: Adapters
    sequence: int
    padded: bool
    eager: bool

    @property
    def width(self) -> int:
        """Bytes of a number computed with."""
        return 4 if self.compute is Compute.FP32 else 2

    @property
    def casts_inputs(self) -> bool:
        """Whether each linear layer makes a 16-bit copy of its input for itself.

        PEFT casts the input for each adapter of a plain layer, and leaves it as it is under a quantised one; trained in
        full under autocast, the stream between layers is float32.
        """
        return self.compute is not Compute.FP32 and self.autocast and not self.quantized

    @property
    def widens(self) -> bool:
        """Whether what DoRA's layers give is float32, as their magnitudes are; beside plain layers PEFT casts it back.

        Measured on 2 x H200 against the cells of ``qltui/facts/verified.json``, without dropout.
        """
        return self.adapters.dora and self.quantized and self.autocast and self.compute is not Compute.FP32


def layers_bytes(job: Job) -> list[Kept]:
    """In the order of the model."""
    lora = job.config.method.lora
    adapters = Adapters(lora.rank, lora.dropout > 0, lora.use_dora, job.targets)
    eager = job.config.model.attention is Attention.EAGER or job.architecture.capped_scores
    return _layers_bytes(
        Keeping(
            job.architecture, job.full, job.autocast, job.quantized, job.compute, adapters, job.sequence, job.padded,
            eager,
        )
    )  # fmt: skip


@lru_cache(maxsize=64)
def _layers_bytes(keeping: Keeping) -> list[Kept]:
    return [
        Kept(count, _layer_bytes(keeping, layer), _weights(keeping, layer))
        for count, layer in keeping.architecture.layers
    ]


def _layer_bytes(keeping: Keeping, layer: Layer) -> int:
    return (
        _norms(keeping, layer)
        + _attention(keeping, layer)
        + _feed_forward(keeping, layer)
        + _linear_inputs(keeping, layer)
        + layer.dropped  # a byte each: dropped or not
    )


def _norms(keeping: Keeping, layer: Layer) -> int:
    """A norm computes in float32 and keeps its input so; trained, what it is multiplied with as well."""
    multiplied = FLOAT32 if keeping.autocast else keeping.width
    return layer.normed * (FLOAT32 + (multiplied if keeping.full and not layer.layer_norm else 0))


def _attention(keeping: Keeping, layer: Layer) -> int:
    """Queries, keys, values, the output, and a float32 sum a head (flash and memory-efficient kernels alike).

    Where rows are padded, or a window ends before a row does, there is a mask: of it each layer keeps a 16-bit copy,
    and keys and values are repeated for every query (transformers 5.23 integrations/sdpa_attention.py
    ``use_gqa_in_sdpa``). In float32 no kernel of torch's takes fewer keys than queries: torch computes all scores and
    keeps them. The eager way keeps scores in 16 bit, and their softmax in 16 bit and float32.
    """
    architecture, width = keeping.architecture, keeping.width
    query = architecture.heads * architecture.head_dim
    keys = architecture.kv_heads * architecture.head_dim
    names = {linear.name for linear in layer.linears}
    grouped = keys < query
    masked = keeping.padded or (layer.window is not None and layer.window < keeping.sequence)
    scores = architecture.heads * keeping.sequence
    if not layer.attention:
        return width * (2 * query + 2 * keys)
    if keeping.eager:
        return width * 4 * query + scores * (2 * width + FLOAT32)
    if keeping.compute is Compute.FP32 and grouped:
        return width * (4 * query + architecture.heads * keeping.sequence)
    if FUSED_WITHOUT_ROTATION in names:
        values = query + 2 * keys
        rotated = 0
    else:
        in_float32 = keeping.widens or _gives_float32(keeping, layer)  # of which autocast copies part by part
        whole = bool(names & set(FUSED)) and not in_float32
        values = query if masked and grouped else query + 2 * keys if whole else keys
        rotated = query + (query if masked and grouped else keys)
    saved = width * (rotated + values + query) + FLOAT32 * architecture.heads
    return saved + (width * keeping.sequence if masked else 0)


def _feed_forward(keeping: Keeping, layer: Layer) -> int:
    """Gated: gate, its activation and the other branch, for their product. Else what the activation needs."""
    experts = [linear for linear in layer.linears if linear.experts > 1 and linear.name == "down_proj"]
    hidden = keeping.architecture.hidden_size
    ups = {linear.name for linear in layer.linears if linear.inputs == hidden and linear.outputs != hidden}
    inner = sum(linear.active * linear.inputs for linear in experts)
    inner += sum(
        linear.inputs for linear in layer.linears[-1:]
        if linear.module and linear.outputs == hidden
    )  # fmt: skip
    by_dora = keeping.widens and any(_is_adapted(keeping.adapters, name) for name in ups)
    width = FLOAT32 if by_dora or _gives_float32(keeping, layer) else keeping.width
    if ups & set(GATES):
        return 3 * width * inner
    kept = WRITTEN_OUT + width if layer.activation == "python" and keeping.width == 2 else width
    return kept * inner


def _linear_inputs(keeping: Keeping, layer: Layer) -> int:
    """Inputs kept for the gradients of adapters, or of the weights themselves, and what adapters compute on the way.

    That of the output projection is attention's output, which is kept anyway. Dropout makes a new tensor for each
    adapter, and keeps a byte for each number: dropped or not.
    """
    adapters = keeping.adapters
    adapted = [linear for linear in layer.linears if keeping.full or _is_adapted(adapters, linear.name)]
    everything = sum(linear.inputs for linear in adapted)
    own = not keeping.full and adapters.dropout
    wide = _widens_stream(keeping, layer)
    if own or wide or keeping.casts_inputs or (layer.layer_norm and keeping.autocast):
        saved = keeping.width * everything
    else:
        distinct = {(SAME_INPUT.get(linear.name, linear.name), linear.inputs): linear.inputs for linear in adapted}
        saved = keeping.width * sum(distinct.values())
    if not own and (keeping.full or not keeping.casts_inputs):
        saved -= keeping.width * _output_projection(keeping, layer, adapted)
    if keeping.full:
        return saved
    saved += keeping.width * adapters.rank * len(adapted)
    if own:
        saved += everything
    if adapters.dora:  # what the layer gives and what its adapter does, for the gradient of magnitudes
        outputs = sum(linear.outputs for linear in adapted)
        saved += 2 * keeping.width * outputs
        if wide and not own:  # a quantised layer gives what it is given; dropout has PEFT compute it anew, in 16 bit
            of_attention = keeping.architecture.heads * keeping.architecture.head_dim
            given_16_bit = sum(one.outputs for one in adapted if one.name in OUTPUTS and one.inputs == of_attention)
            saved += (FLOAT32 - keeping.width) * (outputs - given_16_bit)
    return saved


def _gives_float32(keeping: Keeping, layer: Layer) -> bool:
    """Whether linear layers behind norms give float32: a quantised one gives what it is given, and layer norms do so
    under CUDA's autocast (bitsandbytes 0.50.2 nn/modules.py ``Linear4bit.forward``)."""
    by_norm = layer.layer_norm and keeping.quantized and keeping.autocast and keeping.compute is not Compute.FP32
    return by_norm or _widens_stream(keeping, layer)


def _widens_stream(keeping: Keeping, layer: Layer) -> bool:
    """Whether a layer adds float32 to the stream, so that its norms give float32 too."""
    hidden = keeping.architecture.hidden_size
    return keeping.widens and any(
        linear.outputs == hidden and linear.name not in SAME_INPUT and _is_adapted(keeping.adapters, linear.name)
        for linear in layer.linears
    )


def _weights(keeping: Keeping, layer: Layer) -> int:
    """Of weights that are made while a layer computes: experts with their adapters added to them, and DoRA's."""
    if keeping.full:
        return 0
    return keeping.width * layer.experts_with_adapters(keeping.adapters.targets) + _weights_of_dora(keeping, layer)


def _weights_of_dora(keeping: Keeping, layer: Layer) -> int:
    """With dropout DoRA multiplies the dropped input with the weight itself, which is kept for its gradient.

    A quantised weight is dequantised for that, and one that autocast takes to 16 bit is copied (peft 0.21.2
    tuners/lora/dora.py ``DoraLinearLayer.forward`` and variants.py ``DoraLinearVariant.forward``).
    """
    adapters = keeping.adapters
    if not (adapters.dora and adapters.dropout and (keeping.quantized or keeping.casts_inputs)):
        return 0
    adapted = [linear for linear in layer.linears if _is_adapted(adapters, linear.name)]
    return keeping.width * sum(linear.inputs * linear.outputs for linear in adapted)


def _output_projection(keeping: Keeping, layer: Layer, adapted: list[Linear]) -> int:
    """Width of the input of attention's output projection, where it is among ``adapted`` and attention's own output."""
    if not layer.attention or layer.rotation_joins or keeping.eager:
        return 0
    architecture = keeping.architecture
    shape = (architecture.heads * architecture.head_dim, architecture.hidden_size)
    found = any(one.name in OUTPUTS and (one.inputs, one.outputs) == shape for one in adapted)
    return shape[0] if found else 0


def _is_adapted(adapters: Adapters, name: str) -> bool:
    return adapters.targets is None or name in adapters.targets


def boundary_bytes(job: Job) -> int:
    """Bytes a token that a layer which recomputes keeps: its input."""
    return job.architecture.hidden_size * (FLOAT32 if job.full and job.autocast else job.width)


def loss_tokens(job: Job) -> int:
    """Tokens whose logits are held at once (engine/chunked_loss.py)."""
    architecture = job.architecture
    chunk = chunk_tokens(job.config, job.compute, architecture.vocabulary, architecture.hidden_size)
    return min(chunk or job.micro_batch_tokens, job.micro_batch_tokens)


def takes_loss_in_head(job: Job) -> bool:
    """Whether the head is at work, and gathered, while the loss is taken."""
    architecture = job.architecture
    return chunk_tokens(job.config, job.compute, architecture.vocabulary, architecture.hidden_size) is not None


def logits_bytes(job: Job) -> tuple[int, int]:
    """(at the end of forward, at the beginning of backward) bytes for the head's output and the loss.

    Forward: what the head gives, its float32 copy, and log-probabilities; where Accelerate wraps the model, one more
    copy. Backward: log-probabilities and two gradients of them. Chunks are forward and backward at once; of all tokens
    there are then hidden states and gradients of them, and of a head that is trained its gradient so far and a chunk's.
    """
    vocabulary = job.architecture.vocabulary
    if job.config.model.task is Task.SEQUENCE_CLASSIFICATION or not vocabulary:
        return 0, 0
    in_head = takes_loss_in_head(job)
    wrapped = job.strategy in WRAPPED and job.compute is not Compute.FP32 and not in_head
    head = FLOAT32 if wrapped else job.width
    capped = job.width if job.architecture.capped_logits else 0
    at_once, tokens = loss_tokens(job), job.micro_batch_tokens
    forward = vocabulary * (head + 2 * FLOAT32 + capped) * at_once
    backward = vocabulary * (3 * FLOAT32 + capped) * at_once
    if not in_head:
        return forward, backward
    states = 2 * boundary_bytes(job) * tokens
    if at_once == tokens:
        return forward + states, backward + states
    one_gradient = FLOAT32 if not job.full or job.strategy in WRAPPED else job.width
    summed = vocabulary * job.architecture.hidden_size * (FLOAT32 + one_gradient) if trains_head(job.config) else 0
    return max(forward, backward) + states + summed, states + summed


def final_norm_bytes(job: Job) -> int:
    """Bytes a token of what follows the layers."""
    return FLOAT32 * job.architecture.hidden_size * (2 if job.full else 1)
