"""From a ``config.json`` to the architecture that Transformers makes of it."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from qltui.facts.models.config_json import BadConfig, ConfigJson
from qltui.facts.models.families import FAMILIES
from qltui.facts.models.family import CHUNKED, LINEAR, SLIDING, Family, Number
from qltui.facts.models.parts import dense, latent_attention, mixture
from qltui.facts.models.shape import Architecture, Layer
from qltui.facts.models.vision import estimated_tower, siglip_tower

if TYPE_CHECKING:
    from collections.abc import Mapping

RESIDUAL_DROPOUT = "resid_pdrop"
"""Key of the share that dropout takes of what attention and feed-forward give."""
WRITTEN_OUT = ("gelu_new", "gelu_fast", "bloom_gelu")
"""Activations that Transformers computes in steps, each of which keeps something for backward."""
TEXT_ALONE = {"llama4": "llama4", "qwen3_5": "qwen3_5_text", "qwen3_5_moe": "qwen3_5_moe_text"}
"""Models with a vision tower of which a causal language model loads the text part: its family."""


def build(values: Mapping[str, Any]) -> Architecture:
    """The architecture of a model with this ``config.json``.

    Raises:
        BadConfig: a number is missing or cannot be one; the message names its key.
    """
    model_type = _word(values, "model_type", "")
    text = values.get("text_config")
    if not isinstance(text, dict):
        name = model_type.removesuffix("_text") if model_type == "llama4_text" else model_type
        return _decoder(name, values)
    whole = {key: values[key] for key in ("tie_word_embeddings", "dtype", "torch_dtype") if values.get(key) is not None}
    name = TEXT_ALONE.get(model_type) or _word(text, "model_type", model_type)
    decoder = _decoder(name, {**text, **whole}, model_type)
    if model_type in TEXT_ALONE:
        return decoder
    vision = values.get("vision_config") or {}
    if not isinstance(vision, dict):
        raise BadConfig(f"vision_config must hold the numbers of the vision tower, not {vision!r:.40}")
    return _with_tower(decoder, vision, exact=model_type == "gemma3")


def _decoder(name: str, values: Mapping[str, Any], model_type: str = "") -> Architecture:
    """The model whose numbers are ``values``, built as family ``name`` or estimated."""
    family = FAMILIES.get(name) or _estimated(values)
    config = ConfigJson(values, family.defaults, family.kv_heads)
    hidden, vocabulary = config.hidden, config.number("vocab_size")
    layers = _layers(family, config)
    norm = _value(family.norm_width, config) * hidden
    outside = family.outside(config)
    other = _value(family.final_norms, config) * norm + family.rest(config)
    width = family.embedding_width(config)
    tied = config.flag("tie_word_embeddings") and family.classifier is None
    if family.classifier is not None:
        head = family.classifier(config)
    else:
        biased = config.flag(family.head_bias) if isinstance(family.head_bias, str) else family.head_bias
        head = (0 if tied else vocabulary * width) + (vocabulary if biased else 0)
    return Architecture(
        model_type=model_type or name,
        hidden_size=hidden,
        intermediate_size=_inner_width(layers),
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=family.head_dim(config),
        vocabulary=vocabulary,
        context_length=config.number("max_position_embeddings", 2048),
        tied=tied,
        layers=layers,
        embeddings=vocabulary * width + family.embedding_rows(config) * hidden,
        head=head,
        other=other + sum(linear.parameters for linear in outside),
        dtype=_word(values, "dtype", "") or _word(values, "torch_dtype", "float32"),
        outside=outside,
        capped_scores=bool(config.get("attn_logit_softcapping")),
        capped_logits=bool(config.get("final_logit_softcapping")),
        known=name in FAMILIES,
    )


def _layers(family: Family, config: ConfigJson) -> tuple[tuple[int, Layer], ...]:
    """Runs of equal layers; each kind is built once."""
    depth = config.depth
    types = config.words("layer_types", depth) or [family.layer_type(config, layer) for layer in range(depth)]
    kinds = [
        (layer_type, family.experts is not None and family.sparse(config, layer), layer == 0)
        for layer, layer_type in enumerate(types)
    ]
    built = {kind: _layer(family, config, *kind) for kind in dict.fromkeys(kinds)}
    return tuple((len(list(run)), layer) for layer, run in groupby(built[kind] for kind in kinds))


def _layer(family: Family, config: ConfigJson, layer_type: str, sparse: bool, first: bool) -> Layer:
    linear = layer_type == LINEAR and family.linear_attention is not None
    mixer = (family.linear_attention if linear and family.linear_attention else family.attention)(config)
    rest = (family.experts if sparse and family.experts else family.feed_forward)(config)
    norms = _value(family.norms, config) - (first and family.first_has_one_norm_less)
    norm_width = _value(family.norm_width, config)
    return Layer(
        mixer.linears + rest.linears,
        other=mixer.other + rest.other + norms * norm_width * config.hidden,
        window=_window(config, layer_type),
        attention=not linear,
        normed=mixer.normed + rest.normed + norms * config.hidden,
        layer_norm=norm_width != 1,
        rotation_joins=family.rotation_joins,
        activation="python" if _activation(config, family) in WRITTEN_OUT else "torch",
        dropped=2 * config.hidden if config.get(RESIDUAL_DROPOUT) else 0,
    )


def _activation(config: ConfigJson, family: Family) -> Any:
    """Name of the feed-forward's activation."""
    named = (config.get(key) for key in ("hidden_act", "hidden_activation", "activation_function"))
    return next((name for name in named if name), family.activation)


def _window(config: ConfigJson, layer_type: str) -> int | None:
    if layer_type == SLIDING and config.get("use_sliding_window") is not False:
        return config.optional("sliding_window")
    return config.optional("attention_chunk_size") if layer_type == CHUNKED else None


def _inner_width(layers: tuple[tuple[int, Layer], ...]) -> int:
    """What comes into the last matrix of a feed-forward, a dense one if there is any."""
    plain = [layer for _, layer in layers if not any(linear.experts for linear in layer.linears)]
    if plain:
        return plain[0].linears[-1].inputs
    return next(linear.inputs for linear in layers[0][1].linears if linear.experts and linear.name == "down_proj")


def _estimated(values: Mapping[str, Any]) -> Family:
    """What an architecture never seen most likely is: llama with what its keys tell."""
    config = ConfigJson(values, {})
    family = Family(layer_type=lambda config, layer: SLIDING)
    if config.optional("kv_lora_rank"):
        family = family._replace(attention=latent_attention)
    if config.optional("num_experts"):
        size = "moe_intermediate_size" if config.optional("moe_intermediate_size") else "intermediate_size"
        shared = "n_shared_experts" if config.get("n_shared_experts") is not None else ""
        first_dense = config.count("first_k_dense_replace")
        family = family._replace(
            experts=mixture(size, shared_count=shared), sparse=lambda config, layer: layer >= first_dense
        )
    return family._replace(feed_forward=dense(), defaults={"wide_by_default": True})


def _with_tower(decoder: Architecture, vision: Mapping[str, Any], exact: bool) -> Architecture:
    config = ConfigJson(vision, {})
    if not exact:
        parameters = estimated_tower(config) if vision else 0
        return decoder._replace(vision=parameters, known=False)
    parameters, linears = siglip_tower(config, decoder.hidden_size)
    return decoder._replace(vision=parameters, outside=(*decoder.outside, *linears))


def _word(values: Mapping[str, Any], key: str, default: str) -> str:
    value = values.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        raise BadConfig(f"{key} must be a word, not {value!r:.40}")
    return value.removeprefix("torch.")


def _value(number: Number, config: ConfigJson) -> int:
    return number if isinstance(number, int) else number(config)
