"""The model as the method wants it, with the traps of the libraries under us."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import small_tokenizers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from engine.config import RunConfig
from engine.config.reading import read
from engine.errors import BadInput
from engine.model import load_model
from engine.parameters import trainable
from engine.strategy import make_strategy


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base")
    config = LlamaConfig(
        vocab_size=280, hidden_size=128, intermediate_size=128, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    small_tokenizers.byte_level(pad_token="<s>").save_pretrained(folder)
    return folder


def config(base: Path, **settings: object) -> RunConfig:
    return read({"model": str(base), "data": "none.jsonl"}, where="test", base=base, assignments=settings)


def load(config: RunConfig, labels: list[str] | None = None) -> Any:
    """The model as a run of one rank loads it."""
    strategy = make_strategy(config, tracking_folder="")
    tokenizer = AutoTokenizer.from_pretrained(config.model.path)
    tokenizer.add_tokens(config.model.new_tokens)
    return load_model(config, strategy, tokenizer, labels)


@pytest.mark.parametrize("method", ["full", "lora", "qlora", "int8"])
def test_only_what_is_trained_has_gradients(method: str, base: Path) -> None:
    model = load(config(base, method=method))
    names = trainable(model)
    assert names
    assert all("lora_" in name for name in names) == (method != "full")
    assert all(parameter.dtype == torch.float32 for parameter in names.values())
    loss = model(input_ids=torch.arange(16).view(1, -1)).logits.float().square().mean()
    loss.backward()
    assert all(parameter.grad is not None for parameter in names.values())


@pytest.mark.parametrize("quantization", ["nf4", "fp4"])
def test_gradients_are_the_same_after_an_evaluation(quantization: str, base: Path) -> None:
    """bitsandbytes repacks 4-bit weights in eval mode on some CPUs, and gradients then stop at them in silence."""
    settings = {"method.quantization.type": quantization}
    model = load(config(base, **settings))
    ids = torch.arange(16).view(1, -1)

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model.train()
        model(input_ids=ids).logits.float().square().mean().backward()
        return {name: parameter.grad.clone() for name, parameter in trainable(model).items()}

    before = gradients()
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)
    after = gradients()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(gradient.count_nonzero() for gradient in before.values())


@pytest.mark.parametrize(("wanted", "layers"), [("none", 0), ("all", 3), (2, 2)])
def test_as_many_layers_are_checkpointed_as_wanted(wanted: object, layers: int, base: Path) -> None:
    settings = {"training.gradient_checkpointing": wanted}
    model = load(config(base, **settings))
    blocks = [module for module in model.modules() if type(module).__name__ == "LlamaDecoderLayer"]
    assert sum(bool(block.gradient_checkpointing) for block in blocks) == layers


def test_adapters_on_no_module_are_refused(base: Path) -> None:
    settings = {"method.lora.target_modules": ["query_proj"]}
    with pytest.raises(BadInput, match=r"method\.lora\.target_modules.*query_proj"):
        load(config(base, **settings))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    LlamaConfig().save_pretrained(tmp_path)
    small_tokenizers.byte_level().save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=r"model\.path"):
        load(config(tmp_path))


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_checkpoint_that_lacks_weights_is_refused(method: str, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if "layers.1.mlp.up_proj" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"has no weights for model\.layers\.1\.mlp\.up_proj \(1 tensors"):
        load(config(tmp_path / "model", method=method))
