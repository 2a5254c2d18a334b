"""What tells one family of models from another, and how they choose the type of each layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from qltui.facts.models.config_json import ConfigJson
from qltui.facts.models.parts import Flag, Rule, dense, grouped_query

if TYPE_CHECKING:
    from qltui.facts.models.shape import Linear

FULL, SLIDING, CHUNKED, LINEAR = "full_attention", "sliding_attention", "chunked_attention", "linear_attention"
"""Types of layers, as ``layer_types`` of a config.json names them."""

Number = int | Callable[[ConfigJson], int]


def full(config: ConfigJson, layer: int) -> str:
    """Every layer sees everything."""
    return FULL


def sliding(config: ConfigJson, layer: int) -> str:
    """Every layer sees a window, if there is one."""
    return SLIDING


def from_layer(config: ConfigJson, layer: int) -> str:
    """Layers from ``max_window_layers`` on see a window."""
    return SLIDING if layer >= config.count("max_window_layers") else FULL


def all_but_every(period: int, other: str = SLIDING, key: str = "sliding_window_pattern") -> Callable[..., str]:
    """Each ``period``-th layer (``key`` may say another number) sees everything; the others are of type ``other``."""
    return lambda config, layer: other if (layer + 1) % config.number(key, period) else FULL


def every_layer(config: ConfigJson, layer: int) -> bool:
    """Every layer has experts."""
    return True


def every_few(config: ConfigJson, layer: int) -> bool:
    """Qwen's choice of the layers with experts."""
    if layer in (config.numbers("mlp_only_layers") or ()) or not config.count("num_experts"):
        return False
    return (layer + 1) % config.number("decoder_sparse_step", 1) == 0


def after_first(config: ConfigJson, layer: int) -> bool:
    """DeepSeek's: the first layers are dense."""
    return layer >= config.count("first_k_dense_replace")


def interleaved(config: ConfigJson, layer: int) -> bool:
    """Llama 4's: those listed, or each of so many."""
    chosen = config.numbers("moe_layers")
    return layer in chosen if chosen is not None else (layer + 1) % config.number("interleave_moe_layer_step", 1) == 0


def all_heads(config: ConfigJson) -> int:
    """Keys and values have as many heads as queries."""
    return config.heads


def nothing(config: ConfigJson) -> tuple[Linear, ...]:
    """No linear outside the layers."""
    return ()


class Family(NamedTuple):
    """What differs from llama."""

    attention: Rule = grouped_query(bias="attention_bias")
    feed_forward: Rule = dense(bias="mlp_bias")
    experts: Rule | None = None
    sparse: Callable[[ConfigJson, int], bool] = every_layer
    """Which layers have the experts, where the family has any."""
    linear_attention: Rule | None = None
    kv_heads: Callable[[ConfigJson], int] | None = None
    """How many heads keys and values have, where the file alone does not tell."""
    head_dim: Callable[[ConfigJson], int] = lambda config: config.head_dim
    layer_type: Callable[[ConfigJson, int], str] = full
    """Type of a layer where config.json lists none."""
    norms: Number = 2
    """Norms of the hidden states in a layer."""
    first_has_one_norm_less: bool = False
    final_norms: Number = 1
    """Norms outside the layers."""
    norm_width: Number = 1
    """Parameters of a norm for each hidden unit: 2 with biases, 0 for none at all."""
    embedding_rows: Callable[[ConfigJson], int] = lambda config: 0
    """Rows of other embeddings than the tokens': positions, token types."""
    embedding_width: Callable[[ConfigJson], int] = lambda config: config.hidden
    """Width of the tokens' embedding."""
    head_bias: Flag = False
    outside: Callable[[ConfigJson], tuple[Linear, ...]] = nothing
    """Linears in no layer, the head left out."""
    rest: Callable[[ConfigJson], int] = lambda config: 0
    """Parameters in no layer that are neither norm nor linear nor embedding."""
    classifier: Callable[[ConfigJson], int] | None = None
    """Parameters of an encoder's classification head; None for a decoder."""
    rotation_joins: bool = False
    """Whether queries and keys are put together of rotated and other parts (``torch.cat``)."""
    activation: str = "silu"
    """Of the feed-forward, where the file names none."""
    defaults: dict[str, Any] = {}
    """What the family's class assumes where config.json is silent."""


def positions(config: ConfigJson) -> int:
    """Rows of an embedding of positions."""
    return config.number("max_position_embeddings")


def either(flag: str, then: int, otherwise: int) -> Callable[[ConfigJson], int]:
    """A number that a flag decides."""
    return lambda config: then if config.flag(flag) else otherwise
