"""The audits must find what is wrong: each kind of damage is done on purpose."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

from engine.audit import AuditFailure, WeightWatch, audit_adapter, begun_checksums, loaded_checksums
from engine.audit.adapter import saved_name
from engine.audit.weights import CHUNK, checksum
from engine.model import _keep_4bit_weights_plain
from engine.parameters import trainable


def small() -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, tie_word_embeddings=False,
        )
    )  # fmt: skip


def adapted(**lora: object) -> torch.nn.Module:
    """As before the first step."""
    torch.manual_seed(0)
    return get_peft_model(small(), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **lora))


def audit(folder: Path, model: torch.nn.Module, updates: int) -> str:
    return audit_adapter(folder, trainable(model), updates, begun_checksums(adapted()))


def learn(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            if "lora_B" in name:
                parameter.normal_()


@pytest.mark.parametrize(
    "lora", [{}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}], ids=["lora", "dora", "head"]
)
def test_a_sound_adapter_passes(lora: dict, tmp_path: Path) -> None:
    model = adapted(**lora)
    learn(model)
    model.save_pretrained(tmp_path)
    assert "equal to memory" in audit(tmp_path, model, updates=3)


def damage_value(tensors: dict[str, torch.Tensor]) -> None:
    tensors[next(iter(tensors))].view(-1)[0] += 1


def damage_missing(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[next(iter(tensors))]


def damage_empty(tensors: dict[str, torch.Tensor]) -> None:
    tensors.clear()


def damage_foreign(tensors: dict[str, torch.Tensor]) -> None:
    tensors["base_model.model.inner." + next(iter(tensors))] = torch.zeros(1)


def damage_shape(tensors: dict[str, torch.Tensor]) -> None:
    key = next(iter(tensors))
    tensors[key] = tensors[key].T.contiguous()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_value, "not what is in memory"), (damage_missing, "are missing"), (damage_empty, "is empty"),
        (damage_foreign, "none of this model's"), (damage_shape, "has shape"),
    ],
)  # fmt: skip
def test_a_damaged_adapter_fails(damage, words: str, tmp_path: Path) -> None:
    model = adapted()
    learn(model)
    model.save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    damage(tensors)
    save_file(tensors, file)
    with pytest.raises(AuditFailure, match=words):
        audit(tmp_path, model, updates=3)


@pytest.mark.parametrize("init", [True, "pissa", "olora"])
def test_an_adapter_that_learnt_nothing_fails_after_the_first_step(init: bool | str, tmp_path: Path) -> None:
    """Also where adapters begin as a part of the weights, and no half is zero."""
    model = adapted(init_lora_weights=init)
    begun = begun_checksums(model)
    model.save_pretrained(tmp_path)
    audit_adapter(tmp_path, trainable(model), 0, begun)
    with pytest.raises(AuditFailure, match="nothing was learnt"):
        audit_adapter(tmp_path, trainable(model), 1, begun)
    learn(model)
    model.save_pretrained(tmp_path)
    audit_adapter(tmp_path, trainable(model), 1, begun)


def test_saved_names_are_those_peft_writes() -> None:
    assert saved_name("base_model.model.a.lora_A.default.weight") == "base_model.model.a.lora_A.weight"
    assert saved_name("base_model.model.head.modules_to_save.default.weight") == "base_model.model.head.weight"


def quantised() -> torch.nn.Module:
    """A model of 4-bit layers with adapters, as loading gives it."""
    folder = Path(tempfile.mkdtemp())
    torch.manual_seed(0)
    small().save_pretrained(folder)
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    base = LlamaForCausalLM.from_pretrained(folder, quantization_config=settings, device_map={"": "cpu"})
    shutil.rmtree(folder)
    _keep_4bit_weights_plain(base)
    return get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))


def computed(model: torch.nn.Module, watch: WeightWatch) -> str | None:
    watch.arm()
    model(input_ids=torch.arange(8).view(1, -1)).logits.sum().backward()
    return watch.verify()


def packed(model: torch.nn.Module) -> torch.Tensor:
    weight: torch.Tensor = model.base_model.model.model.layers[1].mlp.up_proj.base_layer.weight
    return weight


def flip_a_packed_byte(model: torch.nn.Module) -> None:
    packed(model).data.view(-1)[5] ^= 1


def flip_a_scale(model: torch.nn.Module) -> None:
    packed(model).quant_state.absmax.view(-1)[0] ^= 1


def flip_an_embedding(model: torch.nn.Module) -> None:
    model.get_input_embeddings().weight.data.view(-1).view(torch.uint8)[7] ^= 1


def test_frozen_weights_are_seen_while_they_are_computed_with() -> None:
    model = quantised()
    loaded = loaded_checksums(model)
    linear = sum(name.endswith(".absmax of absmax") for name in loaded)
    assert linear == 14
    detail = computed(model, WeightWatch(model, loaded))
    assert detail == f"{len(loaded)} frozen tensors computed with as loaded, byte for byte, on 1 rank"


def test_of_weights_that_are_to_be_cast_scales_stay_as_they_are() -> None:
    """As DeepSpeed casts a model to fp16: every parameter of numbers, and nothing else."""
    model = quantised()
    loaded = loaded_checksums(model, frozen_dtype=torch.float16)
    for parameter in model.parameters():
        parameter.data = parameter.data.half() if parameter.is_floating_point() else parameter.data
    now = loaded_checksums(model)
    assert any(name.endswith("absmax of absmax") for name in loaded)
    assert {name for name in loaded if loaded[name] != now[name]} == set()


@pytest.mark.parametrize("damage", [flip_a_packed_byte, flip_a_scale, flip_an_embedding])
def test_one_changed_frozen_byte_fails(damage) -> None:
    model = quantised()
    watch = WeightWatch(model, loaded_checksums(model))
    computed(model, watch)
    damage(model)
    with pytest.raises(AuditFailure, match="1 of"):
        computed(model, watch)


def test_a_watch_that_saw_nothing_fails() -> None:
    model = adapted()
    watch = WeightWatch(model, loaded_checksums(model))
    watch.arm()
    with pytest.raises(AuditFailure, match="no module"):
        watch.verify()


def test_the_checksum_knows_places() -> None:
    tensor = torch.arange(100, dtype=torch.float32)
    assert checksum(tensor) == checksum(tensor.clone())
    assert checksum(tensor) != checksum(tensor.flip(0))
    words = torch.arange(100)
    assert checksum(words) != checksum(words.flip(0)), "the same words in other places"


@pytest.mark.parametrize("size", [1, 9, 64, 2 * CHUNK + 5])
def test_the_checksum_knows_every_bit(size: int) -> None:
    """Also the highest of a word, which a product with an even number would lose, and bytes that fill no word."""
    data = torch.arange(size, dtype=torch.int64).to(torch.uint8)
    before = checksum(data)
    for place in {0, 7, 15, 31, CHUNK + 7, size - 1} & set(range(size)):
        for bit in (1, 128):
            data[place] ^= bit
            assert checksum(data) != before
            data[place] ^= bit
    assert checksum(data) == before


def test_the_checksum_is_of_the_bytes_wherever_they_lie() -> None:
    data = torch.arange(4099, dtype=torch.int64).to(torch.uint8)
    for offset in (1, 8):
        assert checksum(torch.cat([data[:offset], data])[offset:]) == checksum(data)
