"""Weights gathered for forward are let go of before backward, and the gradients are the same bits."""

from __future__ import annotations

from collections.abc import Callable

import bitsandbytes
import pytest
import torch
from accelerate import dispatch_model
from peft import LoraConfig, get_peft_model
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from engine.quantized_linear import hold_int8_once, look_4bit_up_again
from engine.strategy.saved_weights import without_gathered_weights
from engine.strategy.zero import _check_that_gradients_pass


def plain() -> nn.Module:
    return nn.Linear(64, 96).requires_grad_(False)


def trained() -> nn.Module:
    return nn.Linear(64, 96)


def four_bit() -> nn.Module:
    layer = bitsandbytes.nn.Linear4bit(64, 96, compute_dtype=torch.bfloat16, quant_type="nf4").to("cpu")
    layer.support_avx512bf16_for_cpu = False
    return layer.requires_grad_(False)


def eight_bit() -> nn.Module:
    layer = bitsandbytes.nn.Linear8bitLt(64, 96, bias=False, has_fp16_weights=False, threshold=6.0)
    return layer.to("cpu").requires_grad_(False)


class Experts(nn.Module):
    """Several matrices in one parameter, as mixtures of experts keep them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 64, 64), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.weight[1] + x @ self.weight[3].t()).relu()


@pytest.mark.parametrize("make", [plain, trained, four_bit, Experts])
def test_backward_takes_weights_gathered_anew(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    layer, input = make(), torch.randn(3, 5, 64)
    output, expected = gradients(layer, input, weight_kept=True)
    look_4bit_up_again(layer)
    layer.weight.ds_id = 0  # as DeepSpeed marks its parameters
    output_now, found = gradients(layer, input, weight_kept=False)
    assert torch.equal(output, output_now)
    assert len(expected) == len(found)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_without_it_the_weights_stay() -> None:
    """What is worked around; if this fails the package can go: torch saves ``weight.t()`` of a linear layer."""
    layer, input = plain(), torch.randn(3, 64, requires_grad=True)
    output, gathered = forward(layer, input)
    assert not gathered.expired()
    del output
    assert gathered.expired()


def test_int8_layers_keep_no_input() -> None:
    """So that gradient checkpointing can let go of it; with the gradients of bitsandbytes' own layer."""
    layer, input = eight_bit(), torch.randn(3, 5, 64)
    output, expected, kept = with_input_let_go_of(layer, input)
    assert kept, "bitsandbytes' own layer keeps none either: this class can go"
    hold_int8_once(layer_of := nn.Sequential(layer))
    output_now, found, kept = with_input_let_go_of(layer_of[0], input)
    assert not kept
    assert torch.equal(output, output_now)
    torch.testing.assert_close(found, expected)


def with_input_let_go_of(layer: nn.Module, input: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Output and gradient of the input, and whether the layer kept what it was given."""
    leaf = input.clone().requires_grad_()
    given = leaf * 2
    reference = StorageWeakRef(given.untyped_storage())
    output = layer(given)
    del given
    kept = not reference.expired()
    output.square().sum().backward()
    assert leaf.grad is not None
    return output.detach(), leaf.grad, kept


def test_dora_on_int8_layers_is_that_on_bitsandbytes_own() -> None:
    """PEFT reads the same numbers, bit by bit, in every forward: output and gradients are the same."""
    (output, expected), (output_now, found) = (dora(held=held) for held in (False, True))
    torch.testing.assert_close(output, output_now)
    assert len(found) == 4, "those of the input, of A, of B and of the magnitudes"
    torch.testing.assert_close(found, expected)


def dora(*, held: bool) -> tuple[Tensor, list[Tensor]]:
    """Output and gradients of an int8 layer with DoRA that has learnt something, in its first forward."""
    torch.manual_seed(0)
    layer, input = eight_bit(), torch.randn(3, 5, 64, requires_grad=True)
    numbers = dequantize_module_weight(layer)
    model = get_peft_model(nn.Sequential(layer), LoraConfig(r=4, target_modules=["0"], use_dora=True))
    nn.init.normal_(model.base_model.model[0].lora_B.default.weight)
    if held:
        hold_int8_once(model)
        assert torch.equal(dequantize_module_weight(layer), numbers)
        with torch.no_grad():
            model(input)
    output = model(input)
    output.square().sum().backward()
    assert torch.equal(dequantize_module_weight(layer), numbers)
    trained = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    return output.detach(), [one for one in (input.grad, *trained) if one is not None]


def test_int8_layers_are_ours_behind_accelerates_hooks() -> None:
    """Over several devices, as a pipeline lays them, every layer is called through a hook."""
    model, input = nn.Sequential(eight_bit()), torch.randn(3, 64)
    dispatch_model(model, {"": "cpu"}, force_hooks=True)
    before = model(input)
    hold_int8_once(model)
    assert model[0].state.CB is None
    assert torch.equal(model(input), before)


def test_a_unit_that_gradients_do_not_pass_stops_the_run() -> None:
    """DeepSpeed would reduce its gradients before they are there."""
    unit = nn.Linear(4, 4)
    unit.register_forward_pre_hook(_check_that_gradients_pass)
    unit(torch.ones(1, 4, requires_grad=True))
    with pytest.raises(RuntimeError, match="gradients pass"):
        unit(torch.ones(1, 4))
    with torch.no_grad():
        unit(torch.ones(1, 4))


def gradients(layer: nn.Module, input: Tensor, *, weight_kept: bool) -> tuple[Tensor, list[Tensor]]:
    """The layer's output, and gradients of input and of what is trained; between them the weight may be let go of."""
    input = input.clone().requires_grad_()
    layer.zero_grad()
    if weight_kept:
        output = layer(input)
    else:
        kept = layer.weight.data.clone()
        with without_gathered_weights():
            output, gathered = forward(layer, input)
        assert gathered.expired(), "autograd holds the gathered weight"
        layer.weight.data = kept
    output.float().square().sum().backward()
    trained = [parameter.grad for parameter in layer.parameters() if parameter.requires_grad]
    return output.detach(), [one.clone() for one in (input.grad, *trained) if one is not None]


def forward(layer: nn.Module, input: Tensor) -> tuple[Tensor, StorageWeakRef]:
    """Compute with a gathered copy of the weight, which is then let go of as DeepSpeed does it."""
    partition = layer.weight.data.new_empty(0)
    layer.weight.data = layer.weight.data.clone()
    gathered = StorageWeakRef(layer.weight.data.untyped_storage())
    output = layer(input)
    layer.weight.data = partition
    return output, gathered
