"""What the memory plan says a layer keeps for backward, against what torch's autograd saves in small real models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from engine.config import Compute
from engine.config.reading import read
from qltui.advice.memory import Job
from qltui.advice.memory.activations import layers_bytes
from qltui.facts.architecture import of_config

RANK = 8
GATED = {"hidden_size": 320, "intermediate_size": 896, "num_attention_heads": 5}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": GATED | {"num_key_value_heads": 1},
    "qwen2": GATED | {"num_key_value_heads": 5},
    "qwen3": GATED | {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 64},
    "phi3": GATED | {"num_key_value_heads": 5, "pad_token_id": 0},
    "gemma3_text": GATED | {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 64},
    "olmo2": GATED | {"num_key_value_heads": 5},
}
"""Widths that tell parts apart."""
ROWS, TOKENS = 2, (96, 192)


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_beside_frozen_layers(family: str, tmp_path: Path) -> None:
    assert planned(family, "lora", tmp_path) == pytest.approx(a_token_of_a_layer(family, "lora"), rel=0.01)


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_trained_in_full(family: str, tmp_path: Path) -> None:
    assert planned(family, "full", tmp_path) == pytest.approx(a_token_of_a_layer(family, "full"), rel=0.02)


def planned(family: str, method: str, folder: Path) -> int:
    """Bytes a token that the plan says a layer keeps."""
    values: dict[str, Any] = {
        "model.path": "some/model", "data.path": "rows.jsonl", "method.name": method, "strategy.name": "single",
        "data.max_length": TOKENS[0],
    }  # fmt: skip
    if method == "lora":
        values["method.lora.rank"] = RANK
    config = read(values, where="test", base=folder)
    architecture = of_config(numbers(family, layers=2))
    job = Job(config=config, architecture=architecture, compute=Compute.BF16, world_size=1, same_lengths=True)
    return layers_bytes(job)[-1][1]


def a_token_of_a_layer(family: str, method: str) -> float:
    """Bytes that one more token and one more layer add."""
    short, long = ((saved(family, method, 2, tokens) - saved(family, method, 1, tokens)) for tokens in TOKENS)
    return (long - short) / (ROWS * (TOKENS[1] - TOKENS[0]))


def saved(family: str, method: str, layers: int, tokens: int) -> int:
    """Bytes that autograd keeps after a forward pass under autocast, weights aside."""
    config = AutoConfig.for_model(**numbers(family, layers))
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32 if method == "full" else torch.bfloat16)
    if method == "lora":
        model = get_peft_model(model, LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))
        for parameter in model.parameters():
            parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = tensor
        return tensor

    ids = torch.randint(3, 500, (ROWS, tokens))
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        output = model(input_ids=ids, use_cache=False)
    del output
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def numbers(family: str, layers: int) -> dict[str, Any]:
    """Values of a config.json."""
    return {
        "model_type": family, "vocab_size": 512, "num_hidden_layers": layers, "tie_word_embeddings": False,
        **FAMILIES[family],
    }  # fmt: skip
