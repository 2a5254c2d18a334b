"""What the memory plan says a layer keeps for backward, against what torch's autograd saves in small real models."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from engine.config import Compute
from engine.config.reading import read
from qltui.advice.memory import Job
from qltui.advice.memory.activations import Kept, layers_bytes
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
    "gpt2": {"n_embd": 320, "n_head": 5, "n_positions": 512, "attn_pdrop": 0.0, "embd_pdrop": 0.0},
}
"""Widths that tell parts apart."""
ROWS, TOKENS = 2, (96, 192)
DORA = {"method.lora.use_dora": True}
DROPPED = DORA | {"method.lora.dropout": 0.1}


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "gpt2"])
def test_adapters_beside_frozen_layers(family: str, tmp_path: Path) -> None:
    counted = a_token_and_a_layer(family, "lora", {})
    assert planned(family, "lora", {}, tmp_path).a_token == pytest.approx(counted[0], rel=0.01)


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_trained_in_full(family: str, tmp_path: Path) -> None:
    counted = a_token_and_a_layer(family, "full", {})
    assert planned(family, "full", {}, tmp_path).a_token == pytest.approx(counted[0], rel=0.02)


@pytest.mark.parametrize(
    ("family", "method", "values"),
    [
        ("llama", "lora", DORA), ("llama", "lora", DROPPED),
        ("llama", "qlora", {}), ("llama", "qlora", DORA), ("llama", "qlora", DROPPED), ("phi3", "qlora", DROPPED),
        ("gpt2", "qlora", {}),
    ],
)  # fmt: skip
def test_as_cuda_computes(
    family: str, method: str, values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quantised layers, dropout, and what CUDA's autocast takes to float32 are not the CPU's own way."""
    compute_as_cuda(monkeypatch)
    a_token, a_layer = a_token_and_a_layer(family, method, values)
    kept = planned(family, method, values, tmp_path)
    assert kept.a_token == pytest.approx(a_token, rel=0.005)
    of_weights = DORA.items() <= values.items() and values != DORA
    assert (kept.weights > 0) is of_weights
    adapters = 2**18  # their 16-bit copies, which the plan has elsewhere
    assert kept.weights <= a_layer <= kept.weights + adapters


def compute_as_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout with a mask of a byte, powers and layer norms in float32, and PEFT seeing that there is autocast."""
    dtype_of, power, norm = torch.is_autocast_enabled, torch.pow, torch.nn.functional.layer_norm

    def drop(module: torch.nn.Dropout, inputs: Tensor) -> Tensor:
        return torch.native_dropout(inputs, module.p, True)[0] if module.training and module.p else inputs

    def norm_in_float32(inputs: Tensor, shape: Any, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
        return norm(inputs.float(), shape, weight.float(), bias.float(), eps)

    def power_in_float32(base: Any, exponent: Any) -> Tensor:
        return power(base.float() if isinstance(base, Tensor) else base, exponent)

    monkeypatch.setattr(torch.nn.Dropout, "forward", drop)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *device: dtype_of(*device) if device else True)
    monkeypatch.setattr(torch, "pow", power_in_float32)
    monkeypatch.setattr(torch.nn.functional, "layer_norm", norm_in_float32)


def planned(family: str, method: str, more: dict[str, Any], folder: Path) -> Kept:
    """What the plan says a layer keeps."""
    values: dict[str, Any] = {
        "model.path": "some/model", "data.path": "rows.jsonl", "method.name": method, "strategy.name": "single",
        "data.max_length": TOKENS[0], **more,
    }  # fmt: skip
    if method != "full":
        values["method.lora.rank"] = RANK
    config = read(values, where="test", base=folder)
    architecture = of_config(numbers(family, layers=2))
    job = Job(config=config, architecture=architecture, compute=Compute.BF16, world_size=1, same_lengths=True)
    return layers_bytes(job)[-1]


def a_token_and_a_layer(family: str, method: str, values: dict[str, Any]) -> tuple[float, float]:
    """Bytes that one more layer adds: for each token, and whatever their number."""
    short, long = (
        saved(family, method, values, 3, tokens) - saved(family, method, values, 2, tokens) for tokens in TOKENS
    )
    a_token = (long - short) / (ROWS * (TOKENS[1] - TOKENS[0]))
    return a_token, short - a_token * ROWS * TOKENS[0]


class Held:
    """A tensor for as long as autograd's graph needs it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def saved(family: str, method: str, values: dict[str, Any], layers: int, tokens: int) -> int:
    """Bytes that autograd keeps after a forward pass under autocast, weights aside."""
    config = AutoConfig.for_model(**numbers(family, layers))
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32 if method == "full" else torch.bfloat16)
    if method == "qlora":
        quantise(model)
    if method != "full":
        dora, dropout = values.get("method.lora.use_dora", False), values.get("method.lora.dropout", 0.0)
        lora = LoraConfig(
            r=RANK, target_modules="all-linear", task_type="CAUSAL_LM", use_dora=dora, lora_dropout=dropout
        )
        model = get_peft_model(model, lora)
        for parameter in model.parameters():
            parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: weakref.WeakSet[Held] = weakref.WeakSet()

    def keep(tensor: Tensor) -> Held:
        held = Held(tensor)
        kept.add(held)
        return held

    ids = torch.randint(3, 500, (ROWS, tokens))
    model.train()
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda held: held.tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        output = model(input_ids=ids, use_cache=False)
    storages = {held.tensor.untyped_storage().data_ptr(): held.tensor.untyped_storage().nbytes() for held in kept}
    assert output.logits.requires_grad  # and with it the graph is still there
    return sum(size for place, size in storages.items() if place not in weights)


def quantise(model: Any) -> None:
    """Every linear layer of the stack in 4 bit, as Transformers loads them."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if name == "lm_head" or not isinstance(layer, (torch.nn.Linear, Conv1D)):
                continue
            weight = layer.weight.data.T.contiguous() if isinstance(layer, Conv1D) else layer.weight.data
            packed = Linear4bit(
                weight.shape[1], weight.shape[0], layer.bias is not None, torch.bfloat16, quant_type="nf4"
            )
            packed.weight = Params4bit(weight, requires_grad=False, quant_type="nf4")
            packed.bias = layer.bias
            setattr(parent, name, packed.to("cpu"))
    model.is_loaded_in_4bit = True
    model.requires_grad_(False)


def numbers(family: str, layers: int) -> dict[str, Any]:
    """Values of a config.json."""
    depth = {"n_layer" if family == "gpt2" else "num_hidden_layers": layers}
    return {"model_type": family, "vocab_size": 512, "tie_word_embeddings": False, **depth, **FAMILIES[family]}
