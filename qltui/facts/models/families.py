"""How Transformers (5.23) builds each family of models: one entry per ``model_type``, in terms of the rules of parts.

Where an entry is silent it is built like llama. ``tests/engine/test_architecture_counts.py`` compares every entry with
the model that Transformers builds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.facts.models.encoders import ENCODERS
from qltui.facts.models.family import (
    CHUNKED,
    FULL,
    LINEAR,
    SLIDING,
    Family,
    after_first,
    all_but_every,
    all_heads,
    either,
    every_few,
    from_layer,
    interleaved,
    positions,
    sliding,
)
from qltui.facts.models.parts import (
    MIXTRAL_EXPERTS,
    QKVO,
    QWEN_EXPERTS,
    delta_net,
    dense,
    grouped_query,
    latent_attention,
    mixture,
)
from qltui.facts.models.shape import Linear

if TYPE_CHECKING:
    from qltui.facts.models.config_json import ConfigJson


TIED = {"tie_word_embeddings": True}
MIXTRAL = mixture("intermediate_size", formerly=MIXTRAL_EXPERTS)


def _narrow_embedding(config: ConfigJson) -> int:
    return config.number("word_embed_proj_dim", config.hidden)


def _opt_projections(config: ConfigJson) -> tuple[Linear, ...]:
    narrow, hidden = _narrow_embedding(config), config.hidden
    if narrow == hidden:
        return ()
    return (Linear("project_out", hidden, narrow), Linear("project_in", narrow, hidden))


def _opt_final_norms(config: ConfigJson) -> int:
    return int(config.flag("do_layer_norm_before") and not config.flag("_remove_final_layer_norm"))


def _falcon_norms(config: ConfigJson) -> int:
    if not config.flag("parallel_attn"):
        return 2
    return config.number("num_ln_in_parallel_attn", 2 if config.flag("new_decoder_architecture") else 1)


def _falcon_kv_heads(config: ConfigJson) -> int:
    if config.flag("new_decoder_architecture"):
        return config.grouped_heads
    return 1 if config.flag("multi_query") else config.heads


def _bigcode_kv_heads(config: ConfigJson) -> int:
    return 1 if config.flag("multi_query") else config.heads


def _latent_head_dim(config: ConfigJson) -> int:
    return config.number("qk_nope_head_dim") + config.number("qk_rope_head_dim")


LLAMA = Family()
MISTRAL = Family(
    grouped_query(), dense(), layer_type=sliding, defaults={"num_key_value_heads": 8, "sliding_window": 4096}
)
QWEN = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28, "max_position_embeddings": 32768}
QWEN_MOE = QWEN | {"decoder_sparse_step": 1}
QWEN_NEXT = QWEN_MOE | {
    "head_dim": 256,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
}
QWEN3_ATTENTION = grouped_query(bias="attention_bias", norm="head")
QWEN_NEXT_ATTENTION = grouped_query(bias="attention_bias", norm="head", gated=True)
SHARED_EXPERT = mixture(shared_size="shared_expert_intermediate_size", shared_gate="shared_expert_gate")
LINEAR_BUT_EVERY_FOURTH = all_but_every(4, LINEAR, "full_attention_interval")
GEMMA = TIED | {"head_dim": 256}
GEMMA3 = Family(
    grouped_query(bias="attention_bias", norm="head"),
    dense(),
    layer_type=all_but_every(6),
    norms=4,
    defaults=GEMMA
    | {  # the numbers of its smaller models are left to these, even vocabulary and heads
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "sliding_window": 4096,
        "max_position_embeddings": 131072,
    },
)
GLM_ATTENTION = grouped_query(bias="attention_bias", out_bias=False)
GLM_FEED_FORWARD = dense(("gate_up_proj", "down_proj"), fused=True)
GLM_DEFAULTS = {"attention_bias": True, "head_dim": 128}
ROUTED = mixture(formerly=QWEN_EXPERTS, shared_count="n_shared_experts")
DEEPSEEK = Family(
    latent_attention,
    dense(bias="mlp_bias"),
    mixture(formerly=QWEN_EXPERTS, shared_count="n_shared_experts", shared_bias="mlp_bias"),
    after_first,
    kv_heads=all_heads,
    head_dim=_latent_head_dim,
    defaults={"kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128}
    | {"v_head_dim": 128, "n_shared_experts": 2, "num_experts_per_tok": 2},
)
GPT2_NAMES = ("c_attn", "c_proj")
WIDE = {"wide_by_default": True}

FAMILIES = {
    **ENCODERS,
    "arcee": Family(feed_forward=dense(("up_proj", "down_proj"), bias="mlp_bias")),
    "bloom": Family(
        grouped_query(("query_key_value", "dense"), bias=True),
        dense(("dense_h_to_4h", "dense_4h_to_h"), bias=True),
        kv_heads=all_heads,
        norm_width=2,
        final_norms=2,
        activation="bloom_gelu",
        defaults=TIED | WIDE | {"max_position_embeddings": 2048},
    ),
    "cohere": Family(
        grouped_query(bias="attention_bias", norm="all", norm_if="use_qk_norm"), dense(), norms=1, defaults=TIED
    ),
    "cohere2": Family(
        grouped_query(bias="attention_bias"),
        dense(),
        layer_type=all_but_every(4),
        norms=1,
        defaults=TIED | {"sliding_window": 4096},
    ),
    "deepseek_v2": DEEPSEEK,
    "deepseek_v3": DEEPSEEK._replace(
        experts=ROUTED,
        feed_forward=dense(),
        defaults=DEEPSEEK.defaults | {"first_k_dense_replace": 3, "n_shared_experts": 1, "num_experts_per_tok": 8},
    ),
    "ernie4_5": Family(grouped_query(bias="use_bias"), dense(bias="use_bias"), defaults=TIED | {"head_dim": 128}),
    "exaone4": Family(
        grouped_query(norm="head"), dense(), layer_type=all_but_every(4), defaults={"sliding_window": 4096}
    ),
    "falcon": Family(
        grouped_query(("query_key_value", "dense"), bias="bias", subclassed=True),
        dense(("dense_h_to_4h", "dense_4h_to_h"), bias="bias", subclassed=True),
        kv_heads=_falcon_kv_heads,
        norms=_falcon_norms,
        norm_width=2,
        defaults=TIED | WIDE | {"multi_query": True, "parallel_attn": True, "max_position_embeddings": 2048},
    ),
    "gemma": Family(grouped_query(bias="attention_bias"), dense(), defaults=GEMMA),
    "gemma2": Family(
        grouped_query(bias="attention_bias"),
        dense(),
        layer_type=all_but_every(2),
        norms=4,
        defaults=GEMMA | {"sliding_window": 4096, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
    ),
    "gemma3": GEMMA3,
    "gemma3_text": GEMMA3,
    "glm": Family(GLM_ATTENTION, GLM_FEED_FORWARD, rotation_joins=True, defaults=GLM_DEFAULTS),
    "glm4": Family(GLM_ATTENTION, GLM_FEED_FORWARD, rotation_joins=True, norms=4, defaults=GLM_DEFAULTS),
    "glm4_moe": Family(
        grouped_query(bias="attention_bias", out_bias=False, norm="head", norm_if="use_qk_norm"),
        dense(),
        ROUTED,
        after_first,
        defaults={"first_k_dense_replace": 1, "n_shared_experts": 1},
        rotation_joins=True,
    ),
    "gpt2": Family(
        grouped_query(GPT2_NAMES, bias=True),
        dense(("c_fc", "c_proj"), bias=True),
        kv_heads=all_heads,
        norm_width=2,
        embedding_rows=positions,
        activation="gelu_new",
        defaults=TIED | WIDE | {"resid_pdrop": 0.1},
    ),
    "gpt_bigcode": Family(
        grouped_query(GPT2_NAMES, bias=True),
        dense(("c_fc", "c_proj"), bias=True),
        kv_heads=_bigcode_kv_heads,
        norm_width=2,
        embedding_rows=positions,
        defaults=TIED | WIDE | {"multi_query": True, "resid_pdrop": 0.1},
    ),
    "gpt_neox": Family(
        grouped_query(("query_key_value", "dense"), bias="attention_bias"),
        dense(("dense_h_to_4h", "dense_4h_to_h"), bias=True),
        kv_heads=all_heads,
        norm_width=2,
        defaults={"attention_bias": True},
        rotation_joins=True,
    ),
    "gpt_oss": Family(
        grouped_query(bias="attention_bias", sinks=True),
        experts=mixture("intermediate_size", bias=True, router="router"),
        layer_type=all_but_every(2),
        defaults={"attention_bias": True, "head_dim": 64, "sliding_window": 128, "max_position_embeddings": 131072},
    ),
    "gptj": Family(
        grouped_query(("q_proj", "k_proj", "v_proj", "out_proj")),
        dense(("fc_in", "fc_out"), bias=True),
        kv_heads=all_heads,
        norms=1,
        norm_width=2,
        head_bias=True,
        activation="gelu_new",
        defaults=WIDE,
        rotation_joins=True,
    ),
    "granite": LLAMA,
    "granitemoe": Family(experts=mixture("intermediate_size", router="router")),
    "internlm3": LLAMA._replace(defaults={"head_dim": 128, "num_key_value_heads": 2}),
    "llama": LLAMA,
    "llama4": Family(  # the text model, which is what is loaded as a causal language model
        feed_forward=dense(size="intermediate_size_mlp"),
        experts=mixture("intermediate_size", router="router", router_linear=True, shared_size="intermediate_size"),
        sparse=interleaved,
        layer_type=all_but_every(4, CHUNKED, "no_rope_layer_interval"),
        defaults={
            "attention_chunk_size": 8192,
            "head_dim": 128,
            "interleave_moe_layer_step": 1,
            "num_experts_per_tok": 1,
        },
    ),
    "minimax_m2": Family(grouped_query(norm="all"), experts=MIXTRAL, rotation_joins=True),
    "ministral": MISTRAL,
    "ministral3": MISTRAL._replace(defaults={"num_key_value_heads": 8, "head_dim": 128}),
    "mistral": MISTRAL,
    "mixtral": MISTRAL._replace(experts=MIXTRAL, defaults={"num_key_value_heads": 8, "num_experts_per_tok": 2}),
    "olmo": Family(grouped_query(bias="attention_bias"), dense(), norm_width=0),
    "olmo2": Family(grouped_query(bias="attention_bias", norm="all"), dense()),
    "olmo3": Family(
        grouped_query(bias="attention_bias", norm="all"),
        dense(),
        layer_type=all_but_every(4),
        defaults={"sliding_window": 4096},
    ),
    "olmoe": Family(
        grouped_query(bias="attention_bias", norm="all"), experts=mixture("intermediate_size", formerly=QWEN_EXPERTS)
    ),
    "opt": Family(
        grouped_query(("k_proj", "v_proj", "q_proj", "out_proj"), bias="enable_bias"),
        dense(("fc1", "fc2"), bias="enable_bias"),
        kv_heads=all_heads,
        norm_width=either("layer_norm_elementwise_affine", 2, 0),
        final_norms=_opt_final_norms,
        embedding_rows=lambda config: positions(config) + 2,
        embedding_width=_narrow_embedding,
        outside=_opt_projections,
        defaults=TIED | {"do_layer_norm_before": True, "enable_bias": True, "layer_norm_elementwise_affine": True},
    ),
    "phi": Family(
        grouped_query((*QKVO[:3], "dense"), bias=True, norm="head", norm_if="qk_layernorm", norm_width=2),
        dense(("fc1", "fc2"), bias=True),
        norms=1,
        norm_width=2,
        head_bias=True,
        activation="gelu_new",
        rotation_joins=True,
    ),
    "phi3": Family(grouped_query(("qkv_proj", "o_proj")), GLM_FEED_FORWARD, layer_type=sliding, rotation_joins=True),
    "phimoe": Family(
        experts=mixture("intermediate_size", router="router", router_linear=True),
        norm_width=2,
        head_bias="lm_head_bias",
        layer_type=sliding,
    ),
    "qwen2": Family(grouped_query(bias=True, out_bias=False), dense(), layer_type=from_layer, defaults=QWEN),
    "qwen2_moe": Family(
        grouped_query(bias="qkv_bias", out_bias=False),
        dense(),
        SHARED_EXPERT,
        every_few,
        layer_type=from_layer,
        defaults=QWEN_MOE | {"qkv_bias": True},
    ),
    "qwen3": Family(QWEN3_ATTENTION, dense(), layer_type=from_layer, defaults=QWEN | {"head_dim": 128}),
    "qwen3_5_moe_text": Family(
        QWEN_NEXT_ATTENTION,
        dense(),
        SHARED_EXPERT,
        linear_attention=delta_net(split=True),
        layer_type=LINEAR_BUT_EVERY_FOURTH,
        defaults=QWEN_NEXT,
        rotation_joins=True,
    ),
    "qwen3_5_text": Family(
        QWEN_NEXT_ATTENTION,
        dense(),
        linear_attention=delta_net(split=True),
        layer_type=LINEAR_BUT_EVERY_FOURTH,
        defaults=QWEN_NEXT,
        rotation_joins=True,
    ),
    "qwen3_moe": Family(
        QWEN3_ATTENTION, dense(), mixture(formerly=QWEN_EXPERTS), every_few, layer_type=sliding, defaults=QWEN_MOE
    ),
    "qwen3_next": Family(
        QWEN_NEXT_ATTENTION,
        dense(),
        mixture(formerly=QWEN_EXPERTS, shared_size="shared_expert_intermediate_size", shared_gate="shared_expert_gate"),
        every_few,
        delta_net(split=False),
        layer_type=LINEAR_BUT_EVERY_FOURTH,
        defaults=QWEN_NEXT,
        rotation_joins=True,
    ),
    "seed_oss": Family(
        grouped_query(bias="attention_bias", out_bias="attention_out_bias"),
        defaults={"attention_bias": True, "head_dim": 128, "num_key_value_heads": 8},
    ),
    "smollm3": Family(layer_type=lambda config, layer: SLIDING if (layer + 1) % 4 == 0 else FULL, defaults=TIED),
    "stablelm": Family(
        grouped_query(bias="use_qkv_bias", out_bias=False, norm="all", norm_if="qk_layernorm"),
        dense(),
        norms=either("use_parallel_residual", 1, 2),
        norm_width=2,
        rotation_joins=True,
    ),
    "starcoder2": Family(
        grouped_query(bias="use_bias"),
        dense(("c_fc", "c_proj"), bias="use_bias"),
        norm_width=2,
        layer_type=sliding,
        defaults=TIED | {"use_bias": True},
    ),
}
