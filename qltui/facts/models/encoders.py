"""Encoders, as Transformers (5.23) builds them for the classification of sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.facts.models.family import FULL, SLIDING, Family, all_heads, either, nothing, positions
from qltui.facts.models.parts import Part, dense, grouped_query
from qltui.facts.models.shape import Linear

if TYPE_CHECKING:
    from qltui.facts.models.config_json import ConfigJson


def _labels(config: ConfigJson) -> int:
    named = config.get("id2label")
    return len(named) if isinstance(named, dict) and named else config.number("num_labels", 2)


def _plain_classifier(config: ConfigJson) -> int:
    return _labels(config) * (config.hidden + 1)


def _deep_classifier(config: ConfigJson) -> int:
    return config.hidden * (config.hidden + 1) + _plain_classifier(config)


def _positions_and_types(config: ConfigJson) -> int:
    return positions(config) + config.number("type_vocab_size", 2)


def _pooler(config: ConfigJson) -> tuple[Linear, ...]:
    return (Linear("dense", config.hidden, config.hidden, True),)


def _deberta_attention(config: ConfigJson) -> Part:
    plain = grouped_query(("query_proj", "key_proj", "value_proj", "dense"), bias=True)(config)
    if not config.flag("relative_attention") or config.flag("share_att_key"):
        return plain
    wanted = str(config.get("pos_att_type"))  # of "c2p|p2c", or of a list of the two
    names = [name for kind, name in (("c2p", "pos_key_proj"), ("p2c", "pos_query_proj")) if kind in wanted]
    return Part((*plain.linears, *(Linear(name, config.hidden, config.hidden, True) for name in names)))


def _deberta_rows(config: ConfigJson) -> int:
    rows = config.count("type_vocab_size")
    if config.get("position_biased_input") is not False:
        rows += positions(config)
    if config.flag("relative_attention"):
        farthest = [config.get(key) for key in ("position_buckets", "max_relative_positions")]
        told = [number for number in farthest if isinstance(number, int) and number > 0]
        rows += 2 * (told[0] if told else positions(config))
    return rows


def _deberta_norms(config: ConfigJson) -> int:
    relative = 1 if "layer_norm" in str(config.get("norm_rel_ebd")).lower() else 0
    return 1 + relative + (1 if config.optional("conv_kernel_size") else 0)


def _deberta_convolution(config: ConfigJson) -> int:
    kernel = config.count("conv_kernel_size")
    groups = config.number("conv_groups", 1)
    return config.hidden * (config.hidden // groups * kernel + 1) if kernel else 0


def _modernbert_type(config: ConfigJson, layer: int) -> str:
    return SLIDING if layer % config.number("global_attn_every_n_layers", 3) else FULL


def _modernbert_classifier(config: ConfigJson) -> int:
    biases = config.flag("classifier_bias") + config.flag("norm_bias")
    return config.hidden * (config.hidden + 1 + biases) + _plain_classifier(config)


BERT = Family(
    grouped_query(("query", "key", "value", "dense"), bias=True),
    dense(("dense", "dense"), bias=True),
    kv_heads=all_heads,
    norm_width=2,
    embedding_rows=_positions_and_types,
    outside=_pooler,
    classifier=_plain_classifier,
    defaults={"max_position_embeddings": 512},
)
ROBERTA = BERT._replace(outside=nothing, classifier=_deep_classifier)

ENCODERS = {
    "bert": BERT,
    "deberta-v2": Family(
        _deberta_attention,
        dense(("dense", "dense"), bias=True),
        kv_heads=all_heads,
        norm_width=2,
        final_norms=_deberta_norms,
        embedding_rows=_deberta_rows,
        rest=_deberta_convolution,
        classifier=_deep_classifier,
        defaults={"max_position_embeddings": 512},
    ),
    "distilbert": Family(
        grouped_query(("q_lin", "k_lin", "v_lin", "out_lin"), bias=True),
        dense(("lin1", "lin2"), bias=True),
        kv_heads=all_heads,
        norm_width=2,
        embedding_rows=positions,
        classifier=_deep_classifier,
        defaults={"max_position_embeddings": 512},
    ),
    "modernbert": Family(
        grouped_query(("Wqkv", "Wo"), bias="attention_bias"),
        dense(("Wi", "Wo"), bias="mlp_bias", fused=True),
        kv_heads=all_heads,
        layer_type=_modernbert_type,
        norm_width=either("norm_bias", 2, 1),
        first_has_one_norm_less=True,
        final_norms=2,
        classifier=_modernbert_classifier,
        defaults={"sliding_window": 128, "max_position_embeddings": 8192},
    ),
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
}
