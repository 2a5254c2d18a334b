"""Fused experts that wait on the host: put together block by block to the bits that Transformers make at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import small_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GptOssConfig, MixtralConfig, Qwen3MoeConfig
from transformers.core_model_loading import WeightConverter

from engine.audit import LoadedWeights
from engine.config.reading import read
from engine.errors import BadInput
from engine.model import load_model
from engine.quantized_experts import Packing, quantize_experts
from engine.strategy import make_strategy
from engine.waiting_experts import WaitingExperts, experts_wait, fused_experts, names_of_fused, settle_experts
from engine.waiting_linear import read_as_stored

SMALL: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "num_experts_per_tok": 2, "head_dim": 16,
}  # fmt: skip
FAMILIES = {
    "mixtral": MixtralConfig(**SMALL, num_local_experts=4),
    "qwen3_moe": Qwen3MoeConfig(**SMALL, moe_intermediate_size=40, num_experts=4),
    "gpt_oss": GptOssConfig(**SMALL, num_local_experts=4),
}
WIDE = GptOssConfig(**{**SMALL, "vocab_size": 280, "intermediate_size": 64}, num_local_experts=4)
STACKED = ("mixtral", "qwen3_moe")
"""Families whose checkpoints have a matrix for each expert; the others' are fused as the model's parameters are."""
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each family, in bf16."""
    made = {family: tmp_path_factory.mktemp(family) for family in FAMILIES}
    for family, folder in made.items():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(FAMILIES[family], dtype=torch.bfloat16).save_pretrained(folder)
    return made


def waiting(folder: Path, dtype: torch.dtype) -> Any:
    with experts_wait(), read_as_stored(names_of_fused):
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, device_map={"": "cpu"})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("family", FAMILIES)
def test_put_together_they_are_what_transformers_load(
    family: str, dtype: torch.dtype, folders: dict[str, Path]
) -> None:
    model = waiting(folders[family], dtype)
    before = [getattr(module, name) for module, name in fused_experts(model)]
    assert len(before) == 4, "two parameters of two layers"
    for fused in before:
        assert isinstance(fused, WaitingExperts) is (family in STACKED)
        assert fused.untyped_storage().nbytes() <= (4 if family in STACKED else 2 * fused.numel())
    settle_experts(model, CPU, dtype)
    loaded = AutoModelForCausalLM.from_pretrained(folders[family], dtype=dtype)
    expected = dict(loaded.named_parameters())
    assert {name for name, _ in model.named_parameters()} == expected.keys()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad
        assert parameter.dtype is dtype
        assert torch.equal(parameter, expected[name]), name


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_quantised_as_they_come_they_are_what_the_whole_would_be(kind: str, folders: dict[str, Path]) -> None:
    found = waiting(folders["mixtral"], torch.float32)
    whole = AutoModelForCausalLM.from_pretrained(folders["mixtral"], dtype=torch.float32)
    for model in (found, whole):
        quantize_experts(model, CPU, Packing(kind, torch.float32, nested=True))
        assert not list(fused_experts(model))
    tokens = torch.arange(24).reshape(2, 12)
    assert torch.equal(found(tokens).logits, whole(tokens).logits)
    assert all(torch.equal(one, other) for one, other in zip(found.parameters(), whole.parameters(), strict=True))


def test_what_is_no_stack_of_experts_is_loaded_as_ever(folders: dict[str, Path], tmp_path: Path) -> None:
    """One expert is missing: Transformers say so themselves."""
    own = WeightConverter.convert
    model = AutoModelForCausalLM.from_pretrained(folders["mixtral"], dtype=torch.bfloat16)
    model.config.num_local_experts = 5
    model.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="mismatch"):
        waiting(tmp_path, torch.bfloat16)
    assert WeightConverter.convert is own


@pytest.fixture(scope="module")
def mxfp4(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gpt-oss as it is published: the experts in blocks of 32 numbers of four bits with a power of two for each."""
    folder = tmp_path_factory.mktemp("mxfp4")
    AutoModelForCausalLM.from_config(WIDE, dtype=torch.bfloat16).save_pretrained(folder)
    stored = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        if weight.dim() == 3:
            experts, inputs, outputs = weight.shape
            stored[f"{name}_blocks"] = torch.full((experts, outputs, inputs // 32, 16), 0x22, dtype=torch.uint8)
            stored[f"{name}_scales"] = torch.full((experts, outputs, inputs // 32), 120, dtype=torch.uint8)
        else:
            stored[name] = weight
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": kept}
    (folder / "config.json").write_text(json.dumps(config))
    small_tokenizers.byte_level(pad_token="<s>").save_pretrained(folder)
    return folder


def load(folder: Path, method: str) -> Any:
    values = {"model": str(folder), "data": "none.jsonl", "device": "cpu", "method": method}
    config = read({**values, "strategy": "single"}, where="test", base=folder)
    return load_model(config, make_strategy(config, tracking_folder=""), AutoTokenizer.from_pretrained(folder), None)


def test_experts_that_are_published_in_four_bits_are_computed_with_as_numbers(mxfp4: Path) -> None:
    experts = load(mxfp4, "lora").base_model.model.model.layers[0].mlp.experts
    assert experts.gate_up_proj.dtype.is_floating_point
    assert experts.gate_up_proj.unique().tolist() == [2**-7], "1 x 2^(120 - 127)"


@pytest.mark.parametrize("method", ["qlora", "int8"])
def test_they_are_not_quantised_again(method: str, mxfp4: Path) -> None:
    with pytest.raises(BadInput, match=f"stored in mxfp4, which method.name={method} cannot quantise again; take a"):
        load(mxfp4, method)


def test_the_weights_audit_sees_quantised_experts(folders: dict[str, Path]) -> None:
    """Their modules are there only once they are quantised, after the audit was given the model."""
    model = waiting(folders["qwen3_moe"], torch.bfloat16).requires_grad_(False)
    weights = LoadedWeights(model)
    quantize_experts(model, CPU, Packing("nf4", torch.bfloat16, nested=True))
    weights.see(model)
    packed = [name for name in weights.agreed() if ".packed." in name]
    assert len(packed) == 2 * 2 * 3, "two parameters of two layers: bytes, scales, and scales of scales"
