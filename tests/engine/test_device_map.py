"""Which GPU gets which part of a model under pipeline, seen on models without numbers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import check_device_map
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MixtralConfig,
    PretrainedConfig,
)

from engine.config import RunConfig
from engine.config.reading import read
from engine.errors import BadInput
from engine.strategy.device_map import layers_of, spread
from qltui.advice.memory.stages import split_of
from qltui.facts.architecture import of_config

SMALL: dict[str, Any] = {
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 12, "num_attention_heads": 4,
    "num_key_value_heads": 4, "head_dim": 16,
}  # fmt: skip
FAMILIES: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SMALL),
    "tied": GemmaConfig(**SMALL),
    "gpt2": GPT2Config(vocab_size=512, n_embd=64, n_layer=12, n_head=4),
    "experts": MixtralConfig(**SMALL, num_local_experts=4, num_experts_per_tok=2),
}
PLENTY = [1 << 40] * 3


def config(tmp_path: Path, **values: Any) -> RunConfig:
    given = {"model": "m", "data": "d.jsonl", "strategy": "pipeline", "method": "lora", "data.max_length": 64, **values}
    return read(given, where="test", base=tmp_path)


def on_meta(shape: PretrainedConfig, kind: Any = AutoModelForCausalLM) -> Any:
    with torch.device("meta"):
        return kind.from_config(shape)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", [AutoModelForCausalLM, AutoModelForSequenceClassification])
def test_every_part_has_a_gpu_and_layers_keep_their_order(family: str, kind: Any, tmp_path: Path) -> None:
    model = on_meta(FAMILIES[family], kind)
    places = spread(model, config(tmp_path), PLENTY, 2)
    check_device_map(model, places)
    names = {module: name for name, module in model.named_modules()}
    of_layers = [places[names[layer]] for layer in layers_of(model)]
    assert len(of_layers) == 12
    assert set(of_layers) == {0, 1, 2}
    assert all(one <= other for one, other in pairwise(of_layers))
    assert places[names[model.get_input_embeddings()]] == 0


def test_the_head_is_on_the_last_gpu_but_where_it_shares_its_weight(tmp_path: Path) -> None:
    assert spread(on_meta(FAMILIES["llama"]), config(tmp_path), PLENTY, 2)["lm_head"] == 2
    tied = spread(on_meta(FAMILIES["tied"]), config(tmp_path), PLENTY, 2)
    assert tied["lm_head"] == tied["model.embed_tokens"] == 0
    assert tied["model.norm"] == 2


@pytest.mark.parametrize("method", ["lora", "qlora", "int8"])
@pytest.mark.parametrize("recomputed", ["none", "all", 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_plan_counts_on_the_same_cut(family: str, recomputed: str | int, method: str, tmp_path: Path) -> None:
    run = config(tmp_path, **{"method": method, "training.gradient_checkpointing": recomputed})
    model = on_meta(FAMILIES[family])
    places = spread(model, run, PLENTY, 2)
    names = {module: name for name, module in model.named_modules()}
    of_layers = [places[names[layer]] for layer in layers_of(model)]
    counted = split_of(run, of_config(FAMILIES[family].to_dict()), len(PLENTY), 2)
    assert [of_layers.count(gpu) for gpu in range(len(PLENTY))] == list(counted)


def test_weights_that_no_gpu_holds_are_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"GPU 1 of 2 would hold .* use more GPUs, qlora"):
        spread(on_meta(FAMILIES["llama"]), config(tmp_path), [1 << 40, 1 << 10], 2)
