"""Memory while sharded runs load, on CPU ranks: this rank's share and about one block, never the model.

What is counted is memory of a rank's own; what is mapped from the model's file all ranks share.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support import small_tokenizers
from support.rank_scripts import run_as_ranks
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from engine.launch import free_port

ENGINE_TESTS = Path(__file__).parent
RANKS = 2
LAYERS = 20
LOADS = ("fsdp2-lora", "fsdp2-full", "zero3-lora", "zero3-int8", "fsdp2-int8", "fsdp2-int8-whole")
OF_EXPERTS = ("fsdp2-lora-experts", "zero3-qlora-experts")
MIB = 1 << 20
MIXTURE = 125 * MIB
"""The mixture of experts in 16 bit."""
BESIDE = 28 * MIB
"""A block, its adapters, what quantising its largest matrix takes, and what libraries allocate at first use."""


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """By load what it took on each rank."""
    folder = tmp_path_factory.mktemp("loading")
    write_model(folder)
    write_mixture(folder / "experts")
    environment = {
        **os.environ, "WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS), "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (ENGINE_TESTS.parents[1], ENGINE_TESTS.parent))),
        "MALLOC_MMAP_THRESHOLD_": "65536",  # so that what is freed goes back, and only what is held is counted
    }  # fmt: skip
    run_as_ranks(
        ENGINE_TESTS / "ranks" / "loading_rank.py",
        [[str(folder), *LOADS, *OF_EXPERTS]] * RANKS,
        [{**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(RANKS)],
    )
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    return {
        name: [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(RANKS)]
        for name in (*LOADS, *OF_EXPERTS)
    }


def write_model(folder: Path) -> None:
    """Many small layers: what quantising a matrix takes for a moment is small beside the whole."""
    config = LlamaConfig(
        vocab_size=280, hidden_size=512, intermediate_size=2048, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=4, dtype="bfloat16",
    )  # fmt: skip
    with torch.device("meta"):
        weights = LlamaForCausalLM(config).state_dict()
    numbers = torch.randn(512 * 2048, generator=torch.Generator().manual_seed(0)).mul_(0.02).bfloat16()
    config.save_pretrained(folder)
    stored = {name: numbers[: weight.numel()].view(weight.shape).clone() for name, weight in weights.items()}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    small_tokenizers.byte_level(pad_token="<s>").save_pretrained(folder)


def write_mixture(folder: Path) -> None:
    """A mixture of experts in bf16, whose checkpoint has a matrix for each expert."""
    config = Qwen3MoeConfig(
        vocab_size=280, hidden_size=256, intermediate_size=512, moe_intermediate_size=512, num_experts=16,
        num_experts_per_tok=2, num_hidden_layers=10, num_attention_heads=4, num_key_value_heads=4,
    )  # fmt: skip
    Qwen3MoeForCausalLM._from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    small_tokenizers.byte_level(pad_token="<s>").save_pretrained(folder)


@pytest.mark.parametrize("name", LOADS[:-1])
def test_a_rank_takes_its_share_and_a_block(name: str, loads: dict[str, list[dict[str, Any]]]) -> None:
    for rank in loads[name]:
        assert rank["peak"] < rank["share"] + BESIDE < rank["whole"] * 0.85, {key: rank[key] for key in MEASURED}


MEASURED = ("read", "peak", "share", "whole")


@pytest.mark.parametrize("name", LOADS[:-1])
def test_reading_copies_no_weights(name: str, loads: dict[str, list[dict[str, Any]]]) -> None:
    for rank in loads[name]:
        assert rank["read"] < BESIDE, {key: rank[key] for key in MEASURED}


@pytest.mark.parametrize("name", OF_EXPERTS)
def test_experts_are_put_together_a_layer_at_a_time(name: str, loads: dict[str, list[dict[str, Any]]]) -> None:
    """Put together as they are read, which Transformers do by themselves, all would be there in 16 bit."""
    for rank in loads[name]:
        assert rank["read"] < BESIDE, {key: rank[key] for key in MEASURED}
        assert rank["peak"] < rank["share"] + BESIDE < MIXTURE * 0.85, {key: rank[key] for key in MEASURED}


def test_quantised_at_once_the_whole_would_be_there(loads: dict[str, list[dict[str, Any]]]) -> None:
    """What is worked around, and that it would be seen; if this fails, Transformers may quantise and shard by then."""
    for rank in loads["fsdp2-int8-whole"]:
        assert rank["read"] > rank["whole"]


def test_the_weights_are_the_same(loads: dict[str, list[dict[str, Any]]]) -> None:
    for rank in loads["fsdp2-int8"]:
        assert rank["checksums"] == loads["fsdp2-int8-whole"][0]["checksums"] == loads["zero3-int8"][0]["checksums"]
