"""What a language model is made of: its layers, their matrices, and how many parameters each part has."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class Linear(NamedTuple):
    """A matrix that hidden states are multiplied with."""

    name: str
    """The last part of its name, as LoRA targets it."""
    inputs: int
    outputs: int
    bias: bool = False
    count: int = 1  # type: ignore[assignment]  # stands in for the method of tuples
    """How often it stands in the layer."""
    experts: int = 0
    """Above 0: one fused parameter of so many matrices, as Transformers 5 keeps experts (and routers, as one). That is
    no ``nn.Linear``: bitsandbytes passes it by, and LoRA reaches it through ``formerly`` alone."""
    active: int = 0
    """Experts that a token goes through."""
    subclassed: bool = False
    """A subclass of ``nn.Linear`` (llama4's router, all of falcon's): LoRA takes it, bitsandbytes passes it by."""
    formerly: tuple[str, ...] = ()
    """Of a fused parameter: the linears it was made of, by whose names PEFT (0.21, ``transformers_weight_conversion``)
    takes it as a target. Adapters then have the rank once for each of them, in every expert."""

    @property
    def parameters(self) -> int:
        """All of them: weights and biases, of every expert, as often as it stands there."""
        return self.matrices * self.outputs * (self.inputs + self.bias)

    @property
    def matrices(self) -> int:
        """How many matrices of this size there are."""
        return self.count * (self.experts or 1)

    @property
    def active_parameters(self) -> int:
        """Those that one token is computed with."""
        return self.parameters * self.active // self.experts if self.experts else self.parameters

    @property
    def module(self) -> bool:
        """Whether it is an ``nn.Linear`` (or GPT-2's ``Conv1D``), which LoRA can stand beside."""
        return not self.experts

    @property
    def quantized(self) -> bool:
        """Whether bitsandbytes replaces it, where weights are quantised."""
        return self.module and not self.subclassed

    def lora_parameters(self, rank: int) -> int:
        """Parameters of adapters of this rank beside it; 0 for a fused parameter that PEFT does not know."""
        fused = 1 if self.module else len(self.formerly)
        return fused * self.matrices * rank * (self.inputs + self.outputs)


Activation = Literal["torch", "python"]
"""Whether the activation of a feed-forward is one kernel of torch's, or written out in steps (``gelu_new``)."""


class Layer(NamedTuple):
    """One layer of the stack."""

    linears: tuple[Linear, ...]
    other: int
    """Parameters in no linear: norms, sinks, convolutions."""
    window: int | None = None
    """Tokens that attention looks back at most; None where it sees all."""
    attention: bool = True
    """False for a layer of linear attention, which keeps a state instead of keys and values."""
    normed: int = 0
    """Numbers a token that go through norms."""
    layer_norm: bool = False
    """Whether they are layer norms: under autocast these give float32, where RMS norms give what they were given."""
    rotation_joins: bool = False
    """Whether queries and keys are put together of rotated and other parts. Attention's output is then laid out as
    they are, head by head, and copied for the output projection."""
    activation: Activation = "torch"
    dropped: int = 0
    """Numbers a token that the model's own dropout goes through before they are added to the stream."""

    @property
    def fused(self) -> int:
        """Weights of its fused experts, biases left out."""
        return sum(one.inputs * one.outputs * one.matrices for one in self.linears if one.experts > 1)

    def experts_with_adapters(self, targets: Collection[str] | None) -> int:
        """Weights of fused experts that adapters are added to; ``targets`` as in :meth:`Architecture.lora_parameters`.

        PEFT adds an adapter of such a parameter to its numbers, and backward needs the sum.
        """
        fused = (one for one in self.linears if one.experts > 1 and one.formerly)
        asked = (one for one in fused if targets is None or set(one.formerly) <= set(targets))
        return sum(one.inputs * one.outputs * one.matrices for one in asked)

    @property
    def parameters(self) -> int:
        """All of the layer's."""
        return sum(linear.parameters for linear in self.linears) + self.other


class Architecture(NamedTuple):
    """A model as Transformers builds it from its ``config.json``."""

    model_type: str
    hidden_size: int
    intermediate_size: int
    """Of the dense feed-forward; where every layer has experts, of one expert."""
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context_length: int
    tied: bool
    """Whether the output projection is the embedding."""
    layers: tuple[tuple[int, Layer], ...]
    """Runs of equal layers in their order: how many, and which."""
    embeddings: int
    """Parameters of the input embeddings, those of positions too."""
    head: int
    """Parameters of the output projection, or of the classifier of an encoder; 0 where it is tied."""
    other: int
    """Parameters in no layer, embedding, head or vision tower: the final norm, and ``outside`` but for the tower's."""
    dtype: str
    """Type the weights are published in."""
    vision: int = 0
    """Parameters of a vision tower and its projector, where they are loaded with the text model."""
    outside: tuple[Linear, ...] = ()
    """Linears in no layer, the head left out. They are counted in ``other``, and in ``vision``."""
    capped_scores: bool = False
    """Whether attention caps its scores, for which torch has no kernel: all of them are computed (gemma 2)."""
    capped_logits: bool = False
    """Whether the head's output is capped."""
    known: bool = True
    """False for an architecture never seen: everything is estimated from its numbers."""

    @lru_cache(maxsize=64)  # noqa: B019 - immutable, and few
    def to_classify(self) -> Architecture:
        """The model as Transformers builds it to classify rows: a few numbers a class in place of an output projection.

        Of encoders ``head`` is the classifier already.
        """
        projects = self.tied or 2 * self.head > self.embeddings
        return self._replace(tied=False, head=0) if projects else self

    @property
    def depth(self) -> int:
        """Number of layers."""
        return sum(count for count, _ in self.layers)

    @property
    def parameters(self) -> int:
        """All of the model's; what is tied counts once."""
        layers = sum(count * layer.parameters for count, layer in self.layers)
        return self.embeddings + layers + self.head + self.other + self.vision

    @property
    def active_parameters(self) -> int:
        """Those that one token is computed with: all but the experts it does not go through."""
        return self.parameters - sum(
            count * (linear.parameters - linear.active_parameters) for count, linear in self.linears()
        )

    @property
    def quantized_parameters(self) -> int:
        """Weights that bitsandbytes stores in fewer bits (the biases beside them stay as they are)."""
        return sum(
            count * linear.matrices * linear.inputs * linear.outputs
            for count, linear in self.linears()
            if linear.quantized
        )

    def parameters_by_module(self) -> dict[str, int]:
        """Parameters of all modules of one name; fused experts stand as ``experts.NAME``."""
        found: dict[str, int] = {"embeddings": self.embeddings}
        for count, linear in self.linears():
            name = f"experts.{linear.name}" if linear.experts > 1 else linear.name
            found[name] = found.get(name, 0) + count * linear.parameters
        found["head"] = self.head
        found["other"] = self.parameters - sum(found.values())
        return found

    def lora_parameters(self, rank: int, targets: Collection[str] | None = None) -> int:
        """Parameters of adapters of this rank beside the linears called ``targets``; None: all that PEFT calls linear.

        That is every linear but the head; in some families experts and routers as well, and there PEFT passes by the
        linears that have the names the experts' had (shared experts, dense layers).
        """
        taken = {name for _, linear in self.linears() for name in linear.formerly}
        found = 0
        for count, linear in self.linears():
            names = set(linear.formerly) if not linear.module else {linear.name} - taken
            if names if targets is None else names & set(targets):
                found += count * linear.lora_parameters(rank)
        if targets is not None and "lm_head" in targets:
            found += rank * (self.hidden_size + self.vocabulary)
        return found

    @property
    def adapted_experts(self) -> bool:
        """Whether LoRA on all linears adapts the fused experts too (for which PEFT wants a dropout of 0)."""
        return any(linear.formerly for _, linear in self.linears())

    def linears(self) -> Iterator[tuple[int, Linear]]:
        """Every linear but the head, with the number of equal layers that have it."""
        for count, layer in self.layers:
            for linear in layer.linears:
                yield count, linear
        for linear in self.outside:
            yield 1, linear
