"""Fused experts in 4 bits: the numbers, gradients and adapters of plain ones, and nothing kept from forward on."""

from __future__ import annotations

import copy
from typing import Any

import bitsandbytes.functional
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import AutoModelForCausalLM, GptOssConfig, MixtralConfig, PretrainedConfig, Qwen3MoeConfig

from engine.quantized_experts import Packed4bitWeight, Packing, has_experts, quantize_experts
from engine.waiting_experts import fused_experts

SMALL: dict[str, Any] = {
    "vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "num_experts_per_tok": 2,
}  # fmt: skip
FAMILIES: dict[str, PretrainedConfig] = {
    "mixtral": MixtralConfig(**SMALL, num_local_experts=4),
    "qwen3_moe": Qwen3MoeConfig(**SMALL, moe_intermediate_size=64, num_experts=4, head_dim=16),
    "gpt_oss": GptOssConfig(**SMALL, num_local_experts=4, head_dim=16),
}
WAYS = ("eager", "grouped_mm", "batched_mm")


def model_of(family: str, way: str = "grouped_mm") -> Any:
    shape = copy.deepcopy(FAMILIES[family])
    shape._experts_implementation = way
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(shape, dtype=torch.bfloat16).requires_grad_(False)


def in_4_bits(model: Any, storage: torch.dtype = torch.uint8) -> Any:
    quantize_experts(model, torch.device("cpu"), Packing("nf4", torch.bfloat16, True, storage))
    return model


def as_numbers(model: Any) -> Any:
    """The same model with plain experts that have the numbers of quantised ones."""
    for module, name in list(fused_experts(model)):
        weight = getattr(module, name)
        packed, state = bitsandbytes.functional.quantize_4bit(weight.data, quant_type="nf4", compress_statistics=True)
        weight.data = bitsandbytes.functional.dequantize_4bit(packed, state)
    return model


def computed(model: Any) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of what went into the first layer."""
    embedded = model.get_input_embeddings()(torch.arange(24).reshape(2, 12)).detach().requires_grad_(True)
    logits = model(inputs_embeds=embedded, use_cache=False).logits
    logits.float().logsumexp(-1).mean().backward()
    return logits.detach(), embedded.grad


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_bits_are_those_of_plain_experts(family: str, way: str) -> None:
    assert has_experts(FAMILIES[family])
    plain = as_numbers(model_of(family, way))
    packed = in_4_bits(model_of(family, way), torch.float32)
    assert not list(fused_experts(packed))
    for one, other in zip(computed(packed), computed(plain), strict=True):
        assert torch.equal(one, other)


def test_they_take_four_bits_and_their_scales() -> None:
    model = model_of("mixtral")
    numbers = sum(getattr(module, name).numel() for module, name in fused_experts(model))
    in_4_bits(model)
    packed = [module for module in model.modules() if isinstance(module, Packed4bitWeight)]
    assert sum(one.weight.numel() * one.weight.element_size() for one in packed) == numbers // 2


@pytest.mark.parametrize("recomputes", [False, True])
@pytest.mark.parametrize("way", ["eager", "grouped_mm"])
def test_no_numbers_are_kept_for_backward(way: str, recomputes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[StorageWeakRef] = []
    numbers_of = Packed4bitWeight.forward

    def noted(packed: Packed4bitWeight) -> Tensor:
        numbers = numbers_of(packed)
        made.append(StorageWeakRef(numbers.untyped_storage()))
        return numbers

    monkeypatch.setattr(Packed4bitWeight, "forward", noted)
    model = in_4_bits(model_of("mixtral", way)).train()
    if recomputes:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    embedded = model.get_input_embeddings()(torch.arange(24).reshape(2, 12)).detach().requires_grad_(True)
    loss = model(inputs_embeds=embedded, use_cache=False).logits.float().logsumexp(-1).mean()
    assert len(made) == 4
    assert all(one.expired() for one in made)
    loss.backward()
    assert len(made) <= 12, "those of a layer are made once more for backward, and once where it recomputes"
    assert sum(not one.expired() for one in made) <= 2, "of the layer that came last"
    assert not list(fused_experts(model)), "what a layer had while it computed is gone"


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_adapters_learn_as_beside_plain_experts(family: str) -> None:
    found = {}
    for name, made in (("plain", as_numbers), ("packed", lambda model: model)):
        adapted = with_adapters(made(model_of(family)))
        if name == "packed":
            in_4_bits(adapted)
        loss = adapted(torch.arange(24).reshape(2, 12), use_cache=False).logits.float().logsumexp(-1).mean()
        loss.backward()
        found[name] = {name: one.grad for name, one in adapted.named_parameters() if one.requires_grad}
    beside_experts = [name for name in found["plain"] if ".experts." in name]
    assert len(beside_experts) == 2 * 2 * 2, "both parameters of both layers, A and B"
    for name in found["plain"]:
        assert torch.equal(found["plain"][name], found["packed"][name]), name
        assert found["packed"][name].abs().sum() > 0, name


def with_adapters(model: Any) -> Any:
    adapted: Any = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # zeros would hide whether A learns
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return adapted


def test_convolutions_are_no_experts() -> None:
    assert not list(fused_experts(nn.Conv1d(4, 8, 3)))
