"""Inputs of layers that recompute wait on the host: the same bits, and nothing of them kept where it computes."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from engine import offloaded_inputs
from engine.config import Checkpointing
from engine.loss import summed_loss
from engine.model import _checkpoint_layers

LAYERS, WIDTH, TOKENS = 4, 32, 50


def model_of() -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama", vocab_size=64, hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=LAYERS,
        num_attention_heads=4, num_key_value_heads=2, attention_dropout=0.1,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).train()


def gradients(model: Any) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(1)
    ids = torch.randint(0, 64, (2, TOKENS))
    loss = summed_loss(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids})
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize(("wanted", "count"), [(Checkpointing.ALL, LAYERS), (2, 2)])
def test_the_same_bits(wanted: Checkpointing | int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, offloaded = model_of(), model_of()
    _checkpoint_layers(plain, wanted, offload=False)
    _checkpoint_layers(offloaded, wanted, offload=True)
    gone: list[tuple[int, ...]] = []
    to_host = offloaded_inputs._to_host
    monkeypatch.setattr(offloaded_inputs, "_to_host", lambda one: gone.append(tuple(one.shape)) or to_host(one))
    loss, expected = gradients(plain)
    assert not gone
    same, found = gradients(offloaded)
    assert gone == [(2, TOKENS, WIDTH)] * count, "the inputs of those layers, and nothing else"
    assert torch.equal(loss, same)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_nothing_where_no_layer_recomputes() -> None:
    model = model_of()
    _checkpoint_layers(model, Checkpointing.NONE, offload=True)
    _, found = gradients(model)
    _, expected = gradients(model_of())
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_the_input_itself_is_let_go_of() -> None:
    """What a GPU would keep: of a layer's input the copy on the host alone is left."""
    kept = [kept_inputs(offload) for offload in (False, True)]
    assert kept == [LAYERS, 0]


def kept_inputs(offload: bool) -> int:
    """Inputs of layers that still live after forward."""
    model = model_of()
    _checkpoint_layers(model, Checkpointing.ALL, offload=offload)
    inputs: list[Any] = []
    for layer in model.model.layers:
        layer.register_forward_pre_hook(lambda _layer, given: inputs.append(weakref.ref(given[0].untyped_storage())))
    ids = torch.zeros((1, TOKENS), dtype=torch.long)
    logits = model(input_ids=ids, use_cache=False).logits
    assert logits.requires_grad
    return sum(one() is not None for one in inputs)
