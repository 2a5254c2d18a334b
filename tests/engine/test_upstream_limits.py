"""Why some choices are refused before launch or worked around: each limit of a library under us, reproduced.

A test that fails here is good news: the library has learnt it, and the refusal in engine/config/cells.py, or what is
named in the test, can go.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import bitsandbytes
import pytest
import torch
import torch.distributed as distributed
from peft import LoraConfig, get_peft_model
from peft.utils.integrations import dequantize_module_weight
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)
from transformers.quantizers.base import get_keys_to_not_convert

from engine.config import Compute
from engine.config.deepspeed import deepspeed_config
from engine.config.reading import read
from engine.strategy import cpu_ranks

ENCODER = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[object]:
    """A process group of one rank, which FSDP2 shards over as over many."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def quantised(storage: torch.dtype) -> bitsandbytes.nn.Linear4bit:
    torch.manual_seed(0)
    plain = nn.Linear(128, 128, bias=False)
    layer = bitsandbytes.nn.Linear4bit(
        128, 128, bias=False, compute_dtype=torch.float32, quant_type="nf4", quant_storage=storage
    )
    layer.load_state_dict(plain.state_dict())
    layer = layer.to("cpu")
    layer.support_avx512bf16_for_cpu = False
    return layer.requires_grad_(False)


def packed_bytes(layer: nn.Module) -> torch.Tensor:
    weight: torch.Tensor = layer.weight.detach().view(-1).view(torch.uint8).clone()
    return weight


def test_8bit_optimizers_take_no_sharded_parameters(mesh) -> None:
    """bitsandbytes 0.50.2: no sharding strategy for its operators, optim/optimizer.py ``update_step``."""
    layer = fully_shard(nn.Linear(128, 128), mesh=mesh)
    optimizer = bitsandbytes.optim.AdamW8bit(layer.parameters())
    layer(torch.ones(1, 128)).sum().backward()
    with pytest.raises(RuntimeError, match=r"DTensor|sharding strategy"):
        optimizer.step()


def test_a_group_serves_the_devices_it_was_made_for_alone(tmp_path: Path) -> None:
    """torch distributed_c10d.py ``init_process_group``: why engine/strategy/process_group.py makes it before others do.

    NCCL is for GPUs alone, as gloo is here.
    """
    there = {"init_method": f"file://{tmp_path}/store", "rank": 0, "world_size": 1}
    distributed.init_process_group("cuda:gloo", **there)
    try:
        with pytest.raises(RuntimeError, match="No backend type associated with device type cpu"):
            distributed.all_reduce(torch.ones(1))
        with pytest.raises(ValueError, match="initialize the default process group twice"):
            distributed.init_process_group("cpu:gloo,cuda:gloo", **there)
    finally:
        distributed.destroy_process_group()


def test_int8_weights_lose_their_scales_under_fsdp2(mesh) -> None:
    """bitsandbytes 0.50.2 nn/modules.py ``Linear8bitLt.init_8bit_state`` reads them from the parameter's class.

    Why engine/quantized_linear.py makes payload and scales parameters of our own, and other programs are blocked.
    """
    layer = bitsandbytes.nn.Linear8bitLt(128, 128, bias=False, has_fp16_weights=False).to("cpu").requires_grad_(False)
    with pytest.raises((RuntimeError, AttributeError), match=r"CB|requires? gradient"):
        fully_shard(layer, mesh=mesh)(torch.ones(1, 128))


@pytest.mark.parametrize(("storage", "survives"), [(torch.float32, True), (torch.float16, False)])
def test_a_casting_policy_rewrites_packed_bytes_of_another_type(mesh, storage, survives) -> None:
    """torch fsdp/_fully_shard/_fsdp_param.py ``init_dtype_attrs``: floating parameters are cast by value."""
    layer = quantised(storage)
    before = packed_bytes(layer)
    policy = MixedPrecisionPolicy() if survives else MixedPrecisionPolicy(param_dtype=torch.bfloat16)
    fully_shard(layer, mesh=mesh, mp_policy=policy)
    layer.unshard()
    assert torch.equal(packed_bytes(layer), before) == survives


def test_pissa_cannot_decompose_packed_weights() -> None:
    """peft 0.21.2 tuners/lora/layer.py ``pissa_init``."""
    model = nn.Sequential(quantised(torch.uint8))
    with pytest.raises(TypeError, match="float32, float16, or bfloat16"):
        get_peft_model(model, LoraConfig(r=4, target_modules=["0"], init_lora_weights="pissa"))


def test_peft_takes_heads_for_modules_by_the_end_of_their_names() -> None:
    """peft 0.21.2 utils/other.py ``_set_trainable``; tuners/tuners_utils.py adapts them by their whole name."""
    model = DistilBertForSequenceClassification(DistilBertConfig(**ENCODER, hidden_dim=32))
    with pytest.raises(TypeError, match="modules_to_save cannot be applied to modules of type"):
        get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="SEQ_CLS"))


def test_transformers_quantise_the_head_of_an_encoder() -> None:
    """transformers 5.23 quantizers/base.py ``get_keys_to_not_convert`` looks at the last parameter, here a bias."""
    with torch.device("meta"):
        model = BertForSequenceClassification(BertConfig(**ENCODER, intermediate_size=32))
    assert "classifier" not in get_keys_to_not_convert(model)


def int8_layer() -> bitsandbytes.nn.Linear8bitLt:
    layer = bitsandbytes.nn.Linear8bitLt(128, 128, bias=False, has_fp16_weights=False)
    return layer.to("cpu").requires_grad_(False)


def test_dora_on_int8_weights_fails_on_cpu_after_the_first_forward() -> None:
    """peft 0.21.2 utils/integrations.py ``dequantize_module_weight`` puts a copy without scales in its place."""
    model = get_peft_model(nn.Sequential(int8_layer()), LoraConfig(r=4, target_modules=["0"], use_dora=True))
    model(torch.ones(1, 128))
    with pytest.raises(AttributeError, match="unsqueeze"):
        model(torch.ones(1, 128))


def test_dora_takes_payloads_that_are_plain_parameters_for_numbers() -> None:
    """peft 0.21.2 utils/integrations.py ``dequantize_module_weight``: why our int8 layers have a ``W_q``."""
    layer = int8_layer()
    layer.weight = nn.Parameter(layer.weight.data, requires_grad=False)
    assert dequantize_module_weight(layer) is layer.weight


def test_dora_takes_norms_of_int8_weights_with_the_scales_of_before_olora() -> None:
    """peft 0.21.2 utils/integrations.py ``dequantize_bnb_weight``: why engine/model.py measures magnitudes anew."""
    config = LoraConfig(r=4, target_modules=["0"], use_dora=True, init_lora_weights="olora")
    adapted = get_peft_model(nn.Sequential(int8_layer()), config)
    layer = adapted.base_model.model[0]
    assert not torch.equal(layer.base_layer.state.SCB, layer.base_layer.weight.SCB)


def test_deepspeed_is_told_to_keep_the_optimizer_that_was_asked_for(tmp_path: Path) -> None:
    """deepspeed 0.19.8 runtime/engine.py: by default it puts its own on the host."""
    settings = {"strategy": "zero2", "strategy.offload_optimizer": True}
    values = {"model": str(tmp_path), "data": "none.jsonl"}
    config = read(values, where="test", base=tmp_path, assignments=settings)
    made = deepspeed_config(config, Compute.BF16, hidden_size=64)
    assert made["zero_force_ds_cpu_optimizer"] is False
    assert made["zero_optimization"]["offload_optimizer"]["device"] == "cpu"


def test_versions_that_were_not_tried_on_cpu_ranks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_ranks.check_tested("fsdp2", "torch")
    monkeypatch.setitem(cpu_ranks.TESTED, "torch", ("1.0",))
    with pytest.raises(cpu_ranks.BadInput, match=r"fsdp2 on CPU ranks was tested with torch 1\.0, installed is"):
        cpu_ranks.check_tested("fsdp2", "torch")
