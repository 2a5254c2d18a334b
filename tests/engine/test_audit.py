"""The audits must find what is wrong: each kind of damage is done on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from engine.audit import AuditFailure, audit_adapter, audit_weights, checksum, frozen_checksums, saved_name
from engine.model import trainable


def adapted(**lora: object) -> torch.nn.Module:
    torch.manual_seed(0)
    base = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64,
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            tie_word_embeddings=False,
        )
    )
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **lora))
    with torch.no_grad():  # as after some training
        for name, parameter in trainable(model).items():
            if "lora_B" in name:
                parameter.normal_()
    return model


@pytest.mark.parametrize(
    "lora", [{}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}], ids=["lora", "dora", "head"]
)
def test_a_sound_adapter_passes(lora: dict, tmp_path: Path) -> None:
    model = adapted(**lora)
    model.save_pretrained(tmp_path)
    assert "equal to memory" in audit_adapter(tmp_path, model, updates=3)


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
    model.save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    damage(tensors)
    save_file(tensors, file)
    with pytest.raises(AuditFailure, match=words):
        audit_adapter(tmp_path, model, updates=3)


def test_an_adapter_that_learnt_nothing_fails_after_the_first_step(tmp_path: Path) -> None:
    model = adapted()
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            if "lora_B" in name:
                parameter.zero_()
    model.save_pretrained(tmp_path)
    audit_adapter(tmp_path, model, updates=0)
    with pytest.raises(AuditFailure, match="nothing was learnt"):
        audit_adapter(tmp_path, model, updates=1)


def test_saved_names_are_those_peft_writes() -> None:
    assert saved_name("base_model.model.a.lora_A.default.weight") == "base_model.model.a.lora_A.weight"
    assert saved_name("base_model.model.head.modules_to_save.default.weight") == "base_model.model.head.weight"


def test_one_changed_frozen_byte_fails() -> None:
    model = adapted()
    before = frozen_checksums(model)
    assert audit_weights(before, model).startswith(f"{len(before)} frozen tensors")
    frozen = next(parameter for parameter in model.parameters() if not parameter.requires_grad)
    frozen.data.view(-1).view(torch.uint8)[5] ^= 1
    with pytest.raises(AuditFailure, match="1 of"):
        audit_weights(before, model)


def test_the_checksum_knows_places() -> None:
    tensor = torch.arange(100, dtype=torch.float32)
    assert checksum(tensor) == checksum(tensor.clone())
    assert checksum(tensor) != checksum(tensor.flip(0))
