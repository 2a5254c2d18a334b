"""Weights that waited on the host and were quantised later are those that Transformers quantise as they load."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import PropertyMock, patch

import pytest
import torch
from accelerate.utils import set_seed
from support import small_tokenizers
from torch import Tensor, nn
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

from engine.config.reading import read
from engine.model import load_model
from engine.parameters import cast
from engine.strategy import Strategy, make_strategy
from engine.train import describe
from engine.waiting_linear import settle, waiting

CPU = torch.device("cpu")
DORA = {"method.lora.use_dora": True}
CASES: dict[str, dict[str, Any]] = {
    "qlora": {"method": "qlora"},
    "int8": {"method": "int8"},
    "qlora-dora": {"method": "qlora", **DORA},
    "int8-dora": {"method": "int8", **DORA},
    "fp4": {"method": "qlora", "method.quantization.type": "fp4"},
    "plain scales": {"method": "qlora", "method.quantization.double_quantization": False},
    "stored as float32": {"method": "qlora", "method.quantization.storage": "float32"},
    "gaussian": {"method": "qlora", "method.lora.init": "gaussian"},
    "new tokens": {"method": "qlora", "model.new_tokens": ["<new>"]},
    "head trained whole": {"method": "qlora", "method.lora.modules_to_save": ["lm_head"]},
    "classes": {"method": "qlora", "model.task": "sequence_classification"},
    "classes of int8": {"method": "int8", "model.task": "sequence_classification"},
}
"""Beside names, fields of a run."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models by the type of their file; and one whose linear layers are transposed, in another than is computed in."""
    sizes = {"vocab_size": 280, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    llama = LlamaConfig(**sizes, intermediate_size=192, num_key_value_heads=1)
    gpt2 = GPT2Config(vocab_size=280, n_embd=128, n_layer=2, n_head=2, n_positions=64)
    torch.manual_seed(0)
    models = {
        "float32": LlamaForCausalLM(llama), "float16": LlamaForCausalLM(llama).half(),
        "bfloat16": LlamaForCausalLM(llama).bfloat16(), "gpt2": GPT2LMHeadModel(gpt2).half(),
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("bases")
    for name, model in models.items():
        model.save_pretrained(folder / name)
        small_tokenizers.byte_level(pad_token="<s>").save_pretrained(folder / name)
    return {name: folder / name for name in models}


def load(base: Path, values: dict[str, Any], *, by_block: bool) -> Any:
    """The model as a run of one rank loads it; ``by_block`` with its weights waiting."""
    config = read({"model": str(base), "data": "none.jsonl"}, where="test", base=base, assignments=values)
    strategy = make_strategy(config, tracking_folder="")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(config.model.new_tokens)
    labels = ["a", "b", "c"] if "model.task" in values else None
    set_seed(0)
    with patch.object(Strategy, "quantizes_by_block", PropertyMock(return_value=by_block)):
        return load_model(config, strategy, tokenizer, labels)


def same_in_the_end(base: Path, values: dict[str, Any]) -> None:
    expected, found = (load(base, values, by_block=by_block) for by_block in (False, True))
    assert waiting(found) and not waiting(expected)
    assert describe(found) == describe(expected)
    settle(found, CPU)
    assert not waiting(found)
    assert [type(module) for module in found.modules()] == [type(module) for module in expected.modules()]
    by_name, others = tensors(found), tensors(expected)
    assert by_name.keys() == others.keys()
    assert any("state" in name or "SCB" in name for name in by_name)
    for name, tensor in by_name.items():
        other = others[name]
        assert tensor.dtype == other.dtype, name
        assert torch.equal(tensor.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)), name


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter, and all that quantised ones are dequantised with."""
    found: dict[str, Any] = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for name, module in model.named_modules():
        own = vars(module)
        if own.get("quant_state") is not None:
            found |= {f"{name}.state.{key}": value for key, value in own["quant_state"].as_dict(packed=True).items()}
        if getattr(own.get("state"), "SCB", None) is not None:
            found[f"{name}.SCB"] = own["state"].SCB
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_bits_are_the_same(name: str, bases: dict[str, Path]) -> None:
    same_in_the_end(bases["bfloat16"], CASES[name])


@pytest.mark.parametrize("base", ["float32", "float16", "gpt2"])
@pytest.mark.parametrize("method", ["qlora", "int8"])
def test_weights_are_cast_before_they_are_quantised(method: str, base: str, bases: dict[str, Path]) -> None:
    same_in_the_end(bases[base], {"method": method})


@pytest.mark.parametrize("method", ["qlora", "int8"])
@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
def test_what_waits_is_mapped_from_its_file(stored: str, method: str, bases: dict[str, Path]) -> None:
    """In the type it has there, whatever is computed in: a cast would be a copy of the model on every rank."""
    layers = waiting(load(bases[stored], {"method": method}, by_block=True))
    assert len(layers) == 14
    for layer in layers:
        assert layer.plain.dtype is getattr(torch, stored)
        assert is_mapped(layer.plain.data_ptr(), bases[stored] / "model.safetensors")


@pytest.mark.parametrize("task", ["causal_lm", "sequence_classification"])
@pytest.mark.parametrize("stored", ["float32", "bfloat16", "gpt2"])
def test_what_is_trained_in_full_is_cast_by_block(stored: str, task: str, bases: dict[str, Path]) -> None:
    """Read as it is stored, with new rows and a head of random numbers: the bits are those of weights cast at once."""
    values = {"method": "full", "model.task": task, "model.new_tokens": ["<new>"]}
    expected = load(bases[stored], values, by_block=False)
    with patch.object(Strategy, "casts_by_block", True):
        found = load(bases[stored], values, by_block=False)
    assert describe(found, torch.float32) == describe(expected)
    layer: Any = next(module for module in found.modules() if type(module).__name__ in ("Linear", "Conv1D"))
    assert layer.weight.dtype is (torch.float16 if stored == "gpt2" else getattr(torch, stored))
    assert is_mapped(layer.weight.data_ptr(), bases[stored] / "model.safetensors")
    cast(found, torch.float32)
    by_name, others = tensors(found), tensors(expected)
    assert by_name.keys() == others.keys()
    assert all(torch.equal(tensor, others[name]) for name, tensor in by_name.items())


def is_mapped(address: int, file: Path) -> bool:
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, path = line.split(maxsplit=5)
        start, end = (int(one, 16) for one in span.split("-"))
        if start <= address < end:
            return path == str(file)
    return False


def test_transformers_load_as_ever_afterwards(bases: dict[str, Path]) -> None:
    before = dict(AUTO_QUANTIZER_MAPPING)
    load(bases["bfloat16"], {"method": "qlora"}, by_block=True)
    assert before == AUTO_QUANTIZER_MAPPING
    assert not waiting(load(bases["bfloat16"], {"method": "qlora"}, by_block=False))


def test_checkpoints_that_are_quantised_already_wait_for_nothing(bases: dict[str, Path], tmp_path: Path) -> None:
    model = load(bases["bfloat16"], {"method": "qlora"}, by_block=False).unload()
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(bases["bfloat16"]).save_pretrained(tmp_path)
    expected, found = (load(tmp_path, {"method": "qlora"}, by_block=by_block) for by_block in (False, True))
    assert not waiting(found)
    others = tensors(expected)
    assert all(torch.equal(tensor, others[name]) for name, tensor in tensors(found).items())
