"""What ``qltui.facts.architecture`` says of a model, against the model that Transformers builds of its config.json."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import bitsandbytes as bnb
import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
)
from transformers.integrations.bitsandbytes import replace_with_bnb_linear
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.base import get_keys_to_not_convert

from engine.model import classifier_head
from qltui.facts.architecture import Architecture, find, of_config
from qltui.facts.models.families import FAMILIES
from qltui.facts.models.known import FILE, config_of

ENCODERS = ("bert", "deberta-v2", "distilbert", "modernbert", "roberta", "xlm-roberta")

SMALL = {
    "vocab_size": 160,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
}
"""Numbers of every small model; no two products of them are alike."""

GPT2 = {"vocab_size": 160, "n_embd": 48, "n_layer": 3, "n_head": 6, "n_positions": 96}
RELATIVE = {"relative_attention": True, "pos_att_type": "p2c|c2p"}
FALCON = {"vocab_size": 160, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6}
EXPERTS = {"num_experts": 7, "num_experts_per_tok": 3, "moe_intermediate_size": 20}
LOCAL = {"num_local_experts": 7, "num_experts_per_tok": 3}
SHARED = EXPERTS | {"shared_expert_intermediate_size": 28}
LATENT = {"kv_lora_rank": 14, "qk_rope_head_dim": 6, "qk_nope_head_dim": 10, "v_head_dim": 9}
ROUTED = {"n_routed_experts": 7, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "n_shared_experts": 2}
GROUPS = {"n_group": 1, "topk_group": 1}
DELTA = {
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 12,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "head_dim": 16,
}
TIES = ({"tie_word_embeddings": True}, {"tie_word_embeddings": False})
BIASES = ({}, {"attention_bias": True})

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "arcee": [{}, {"attention_bias": True, "mlp_bias": True}],
    "bert": [{"type_vocab_size": 3}, {"id2label": {"0": "a", "1": "b", "2": "c"}}],
    "bloom": [{"vocab_size": 160, "hidden_size": 48, "n_layer": 3, "n_head": 6, "tie_word_embeddings": False}],
    "cohere": [*BIASES, {"use_qk_norm": True}],
    "cohere2": [*BIASES, {"sliding_window_pattern": 3}],
    "deberta-v2": [
        {},
        RELATIVE | {"share_att_key": True, "position_biased_input": False, "norm_rel_ebd": "layer_norm"},
        RELATIVE | {"position_buckets": 12, "conv_kernel_size": 3, "type_vocab_size": 2},
        RELATIVE | {"max_relative_positions": 20, "pos_att_type": ["c2p"], "norm_rel_ebd": "none"},
    ],
    "deepseek_v2": [
        LATENT | ROUTED | {"q_lora_rank": 12, "first_k_dense_replace": 1},
        LATENT | ROUTED | {"q_lora_rank": None, "first_k_dense_replace": 0, "attention_bias": True, "mlp_bias": True},
    ],
    "deepseek_v3": [
        LATENT | ROUTED | GROUPS | {"q_lora_rank": 12, "first_k_dense_replace": 2},
        LATENT | ROUTED | GROUPS | {"q_lora_rank": None, "attention_bias": True},
    ],
    "distilbert": [{"vocab_size": 160, "dim": 48, "hidden_dim": 80, "n_layers": 3, "n_heads": 6, "num_labels": 4}],
    "ernie4_5": [{}, {"use_bias": True}],
    "exaone4": [{}, {"sliding_window": 32}],
    "falcon": [
        FALCON | {"multi_query": True},
        FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2, "bias": True, "ffn_hidden_size": 80},
        FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
        FALCON | {"multi_query": False, "parallel_attn": False, "tie_word_embeddings": False},
    ],
    "gemma": [{}, {"head_dim": 24, "tie_word_embeddings": False}],
    "gemma2": [{}, {"head_dim": 24, "attention_bias": True}],
    "gemma3_text": [{}, {"head_dim": 24, "sliding_window": 32, "sliding_window_pattern": 3}],
    "glm": [{}, {"attention_bias": False, "head_dim": 24}],
    "glm4": [{}, {"attention_bias": False}],
    "glm4_moe": [ROUTED | GROUPS, ROUTED | GROUPS | {"use_qk_norm": True, "attention_bias": True, "head_dim": 24}],
    "gpt2": [GPT2, GPT2 | {"n_inner": 70, "tie_word_embeddings": False}],
    "gpt_bigcode": [GPT2, GPT2 | {"multi_query": False}],
    "gpt_neox": [{}, {"attention_bias": False, "tie_word_embeddings": True}],
    "gpt_oss": [LOCAL, LOCAL | {"head_dim": 24, "attention_bias": False}],
    "gptj": [GPT2 | {"rotary_dim": 4}],
    "granite": [*BIASES, *TIES],
    "granitemoe": [LOCAL, LOCAL | {"attention_bias": True, "tie_word_embeddings": True}],
    "internlm3": [{}, {"head_dim": 24, "num_key_value_heads": 3}],
    "llama": [*BIASES, *TIES, {"mlp_bias": True, "head_dim": 24}],
    "llama4_text": [
        LOCAL | {"intermediate_size_mlp": 100, "head_dim": 24},
        LOCAL | {"intermediate_size_mlp": 100, "interleave_moe_layer_step": 2, "attention_bias": True},
        LOCAL | {"intermediate_size_mlp": 100, "moe_layers": [0, 3]},
    ],
    "minimax_m2": [LOCAL | {"head_dim": 24}],
    "ministral": [{"head_dim": 24}],
    "ministral3": [{}, {"head_dim": 24}],
    "mistral": [{}, {"head_dim": 24, "sliding_window": None}],
    "mixtral": [LOCAL, LOCAL | {"head_dim": 24, "sliding_window": 32}],
    "modernbert": [
        {},
        {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True},
        {"global_attn_every_n_layers": 2, "local_attention": 32},
    ],
    "olmo": [*BIASES],
    "olmo2": [*BIASES],
    "olmo3": [*BIASES],
    "olmoe": [EXPERTS, EXPERTS | {"attention_bias": True}],
    "opt": [
        {"ffn_dim": 80},
        {"ffn_dim": 80, "word_embed_proj_dim": 32, "do_layer_norm_before": False},
        {"ffn_dim": 80, "enable_bias": False, "layer_norm_elementwise_affine": False, "tie_word_embeddings": False},
    ],
    "phi": [{}, {"qk_layernorm": True}],
    "phi3": [{}, {"sliding_window": 32, "tie_word_embeddings": True}],
    "phimoe": [LOCAL, LOCAL | {"attention_bias": True, "lm_head_bias": True}],
    "qwen2": [{}, {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 3}],
    "qwen2_moe": [SHARED, SHARED | {"qkv_bias": False, "decoder_sparse_step": 2, "mlp_only_layers": [1]}],
    "qwen3": [*BIASES, *TIES, {"head_dim": 24}],
    "qwen3_5_moe_text": [SHARED | DELTA],
    "qwen3_5_text": [DELTA, DELTA | {"full_attention_interval": 2, "tie_word_embeddings": True}],
    "qwen3_moe": [EXPERTS | {"head_dim": 24}, EXPERTS | {"decoder_sparse_step": 2, "attention_bias": True}],
    "qwen3_next": [SHARED | DELTA, SHARED | DELTA | {"mlp_only_layers": [0], "attention_bias": True}],
    "roberta": [{"num_labels": 5}],
    "seed_oss": [{"head_dim": 24}, {"attention_bias": False, "attention_out_bias": True, "mlp_bias": True}],
    "smollm3": [*BIASES, {"use_sliding_window": True, "sliding_window": 32, "tie_word_embeddings": False}],
    "stablelm": [{}, {"use_qkv_bias": True, "qk_layernorm": True, "use_parallel_residual": True}],
    "starcoder2": [{}, {"use_bias": False, "tie_word_embeddings": False}],
    "xlm-roberta": [{"vocab_size": 170}],
}
"""By family, what its small models have beside ``SMALL``; every key that changes what is built is tried."""

CASES = [
    pytest.param(family, variant, id=f"{family}-{number}")
    for family, variants in VARIANTS.items()
    for number, variant in enumerate(variants)
]


def small(family: str, variant: dict[str, Any]) -> dict[str, Any]:
    """A config.json of a small model; families with keys of their own give all of them."""
    whole = family in ("bloom", "distilbert", "falcon", "gpt2", "gpt_bigcode", "gptj")
    # the padding token's row must be in the vocabulary
    return {"model_type": family, "pad_token_id": 0} | ({} if whole else SMALL) | variant


def built(config: dict[str, Any]) -> Any:
    """The model of this config.json, without memory for its weights."""
    kind = AutoModelForSequenceClassification if config["model_type"] in ENCODERS else AutoModelForCausalLM
    rest = {key: value for key, value in config.items() if key != "model_type"}
    with torch.device("meta"):
        return kind.from_config(CONFIG_MAPPING[config["model_type"]](**rest))


def head_names(model: Any) -> set[str]:
    """Names of the modules that are the head: the output projection, or what an encoder has on top of its base."""
    head = model.get_output_embeddings()
    return {
        name
        for name, module in model.named_modules()
        if (head is not None and module is head) or (head is None and name.partition(".")[0] in classifier_head(model))
    }


def linears(model: Any) -> Counter[tuple[Any, ...]]:
    """(name, inputs, outputs, has a bias, is a subclass) of every linear but the head."""
    found: Counter[tuple[Any, ...]] = Counter()
    heads = head_names(model)
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, Conv1D)) and name not in heads:
            inputs, outputs = module.weight.shape if isinstance(module, Conv1D) else reversed(module.weight.shape)
            subclassed = type(module) not in (nn.Linear, Conv1D)
            found[name.rpartition(".")[2], inputs, outputs, module.bias is not None, subclassed] += 1
    return found


def fused_experts(model: Any) -> Counter[tuple[Any, ...]]:
    """(name, matrices, parameters) of every fused parameter and every router; biases belong to them."""
    found: Counter[tuple[Any, ...]] = Counter()
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if last == "experts":
            for key, weight in module.named_parameters(recurse=False):
                if not key.endswith("_bias"):
                    bias = getattr(module, f"{key}_bias", None)
                    found[key, weight.shape[0], weight.numel() + (0 if bias is None else bias.numel())] += 1
        elif last in ("gate", "router") and not isinstance(module, nn.Linear):
            found[last, 1, parameters([module])] += 1
    return found


def told_linears(told: Architecture) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for count, layer in told.layers:
        for linear in layer.linears:
            if not linear.experts:
                found[linear.name, linear.inputs, linear.outputs, linear.bias, linear.subclassed] += (
                    count * linear.count
                )
    for linear in told.outside:
        found[linear.name, linear.inputs, linear.outputs, linear.bias, linear.subclassed] += linear.count
    return found


def told_experts(told: Architecture) -> Counter[tuple[Any, ...]]:
    return Counter(
        {
            (linear.name, linear.experts, linear.parameters): sum(
                count for count, layer in told.layers if linear in layer.linears
            )
            for _, one in told.layers
            for linear in one.linears
            if linear.experts
        }
    )


def parameters(modules: Any) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def windows(told: Architecture) -> list[int | None]:
    return [layer.window for count, layer in told.layers for _ in range(count)]


def check_whole(told: Architecture, model: Any) -> None:
    assert told.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert told_linears(told) == linears(model)
    assert told_experts(told) == fused_experts(model)


def check_modules(told: Architecture, model: Any) -> None:
    check_whole(told, model)
    assert told.embeddings == parameters(module for module in model.modules() if isinstance(module, nn.Embedding))
    heads = head_names(model)
    if not told.tied:
        top = {name for name in heads if name.rpartition(".")[0] not in heads}
        assert told.head == parameters(module for name, module in model.named_modules() if name in top)
    assert told.tied == bool(model.get_output_embeddings() is not None and model.config.tie_word_embeddings)
    by_module = told.parameters_by_module()
    assert sum(by_module.values()) == told.parameters
    assert min(by_module.values()) >= 0


@pytest.mark.parametrize(("family", "variant"), CASES)
def test_small_models_of_every_family(family: str, variant: dict[str, Any]) -> None:
    config = small(family, variant)
    told, model = of_config(config), built(config)
    assert told.known
    check_modules(told, model)
    made = model.config
    assert (told.hidden_size, told.heads, told.vocabulary, told.depth) == (
        made.hidden_size,
        made.num_attention_heads,
        made.vocab_size,
        made.num_hidden_layers,
    )
    if getattr(made, "layer_types", None):
        assert [window is not None for window in windows(told)] == [
            kind in ("sliding_attention", "chunked_attention")
            and bool(getattr(made, "sliding_window", None) or getattr(made, "attention_chunk_size", None))
            for kind in made.layer_types
        ]
        assert [layer.attention for count, layer in told.layers for _ in range(count)] == [
            kind != "linear_attention" for kind in made.layer_types
        ]
    # a file saved by Transformers says every number, under the names of today
    assert of_config(json.loads(json.dumps(made.to_dict()))) == told


def test_every_family_is_tried() -> None:
    assert {name.removesuffix("_text") if name != "gemma3_text" else name for name in VARIANTS} | {"gemma3"} == {
        name.removesuffix("_text") if name != "gemma3_text" else name for name in FAMILIES
    }


def adapters(config: dict[str, Any], targets: str | list[str]) -> int:
    """Parameters of the adapters that PEFT adds, told of an encoder's head as the engine tells it."""
    model, classifies = built(config), config["model_type"] in ENCODERS
    task = TaskType.SEQ_CLS if classifies else TaskType.CAUSAL_LM
    whole = classifier_head(model) if classifies else None
    with torch.device("meta"):
        adapted = get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type=task, modules_to_save=whole))
    return sum(parameter.numel() for name, parameter in adapted.named_parameters() if ".lora_" in name)


@pytest.mark.parametrize("family", sorted(VARIANTS))
def test_what_lora_on_all_linears_adapts(family: str) -> None:
    config = small(family, VARIANTS[family][-1])
    assert of_config(config).lora_parameters(4) == adapters(config, "all-linear") > 0


@pytest.mark.parametrize(
    ("family", "targets"),
    [
        ("llama", ["q_proj", "v_proj"]),
        ("llama", ["down_proj", "lm_head"]),
        ("mixtral", ["q_proj", "down_proj"]),  # PEFT knows its experts as w1, w2, w3
        ("mixtral", ["w1", "w2", "w3"]),
        ("qwen3_moe", ["q_proj", "gate_proj", "up_proj", "down_proj"]),
        ("qwen3_moe", ["down_proj"]),
        ("deepseek_v3", ["gate", "o_proj"]),
        ("qwen2_moe", ["gate_proj", "up_proj", "down_proj"]),  # shared experts alone
        ("gpt_oss", ["q_proj", "o_proj"]),
        ("llama4_text", ["router"]),
        ("bert", ["query", "value"]),
        ("roberta", ["query", "key"]),
        ("distilbert", ["q_lin", "v_lin"]),
    ],
)
def test_what_lora_on_some_linears_adapts(family: str, targets: list[str]) -> None:
    config = small(family, VARIANTS[family][0])
    assert of_config(config).lora_parameters(4, targets) == adapters(config, targets) > 0


def quantised(model: Any) -> int:
    """Weights that bitsandbytes takes, when Transformers loads the model in 4 bits, an encoder's head left out."""
    left_out = classifier_head(model) if model.config.model_type in ENCODERS else get_keys_to_not_convert(model)
    replaced = replace_with_bnb_linear(model, left_out, BitsAndBytesConfig(load_in_4bit=True))
    found = [module for module in replaced.modules() if isinstance(module, bnb.nn.Linear4bit)]
    return sum(module.in_features * module.out_features for module in found)


@pytest.mark.parametrize("family", sorted(VARIANTS))
def test_what_bitsandbytes_quantises(family: str) -> None:
    config = small(family, VARIANTS[family][-1])
    assert of_config(config).quantized_parameters == quantised(built(config))


TABLE = [
    name
    for name, config in json.loads(FILE.read_bytes()).items()
    if not set(config) <= {"like", "max_position_embeddings", "sliding_window", "dtype"}
]
"""Models of the bundled table, but for those that have the shape of another."""


@pytest.mark.parametrize("name", TABLE)
def test_models_of_the_table_in_their_real_size(name: str) -> None:
    config, told = config_of(name), find(name)
    assert config is not None
    model = built(config)
    assert told.known
    assert told.context_length == model.config.get_text_config().max_position_embeddings
    if told.vision:
        check_whole(told, model)
    else:
        check_modules(told, model)


VISION = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = SMALL | {"pad_token_id": 0}
TOWERS = {
    "gemma3": {
        "text_config": TEXT | {"head_dim": 24},
        "vision_config": VISION | {"image_size": 56, "patch_size": 14, "vision_use_head": False},
    },
    "llama4": {"text_config": TEXT | LOCAL | {"intermediate_size_mlp": 100}, "vision_config": VISION},
    "qwen3_5": {"text_config": TEXT | DELTA | {"tie_word_embeddings": True}, "vision_config": {}},
}


@pytest.mark.parametrize("family", TOWERS)
def test_models_with_a_vision_tower(family: str) -> None:
    config = {"model_type": family, "tie_word_embeddings": family != "llama4"} | TOWERS[family]
    told, model = of_config(config), built(config)
    assert told.known
    check_whole(told, model)
    assert (told.vision > 0) == any("vision" in name for name, _ in model.named_parameters())
    assert told.lora_parameters(4) == adapters(config, "all-linear")
    assert told.quantized_parameters == quantised(built(config))


@pytest.mark.parametrize(
    ("family", "variant", "off"),
    [
        ("helium", {"head_dim": 8}, 0.01),
        ("dots1", EXPERTS | ROUTED | GROUPS | {"first_k_dense_replace": 1}, 0.01),
        ("flex_olmo", EXPERTS | {"moe_intermediate_size": None}, 0.01),
    ],
)
def test_an_architecture_never_seen_is_estimated(family: str, variant: dict[str, Any], off: float) -> None:
    assert family not in FAMILIES
    config = small(family, variant)
    told = of_config(config)
    assert not told.known
    assert told.parameters == pytest.approx(sum(parameter.numel() for parameter in built(config).parameters()), rel=off)
