"""Fused experts held in 4 bits.

Transformers 5 keep the experts of a layer as parameters of three dimensions, which bitsandbytes passes by: a mixture of
experts loaded "in 4 bits" has nearly all of its weights in 16 bit (transformers 5.23 quantizers/quantizer_bnb_4bit.py
replaces ``nn.Linear`` alone). Here such a parameter is quantised as a linear's weight is. While a layer computes, it
has its numbers in the parameter's place, where PEFT adds its adapters to them; backward makes them again, so that none
are kept from forward on.

bitsandbytes' own ``replace_parameter_4bit`` is a parametrization, and so are PEFT's adapters: the two together fail
where one layer has several adapted parameters (bitsandbytes 0.50.2, peft 0.21.2).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import bitsandbytes.functional
import torch
from peft.tuners.lora.layer import ParamWrapper
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES_OF_COUNT = ("num_local_experts", "num_experts", "n_routed_experts")
"""By which configurations of Transformers say how many experts a layer has."""
PACKED = "packed"
"""Name of the module, in the experts' own, that holds their packed parameters by name."""


class PackedWeight(nn.Module):
    """A frozen parameter of any shape in 4 bits; called, it gives its numbers."""

    def __init__(self, weight: Tensor, storage: torch.dtype, kind: str, nested: bool) -> None:
        super().__init__()
        packed, self.quant_state = bitsandbytes.functional.quantize_4bit(
            weight, compress_statistics=nested, quant_type=kind, quant_storage=storage
        )
        self.weight = nn.Parameter(packed, requires_grad=False)

    @torch.no_grad()
    def forward(self) -> Tensor:
        numbers: Tensor = bitsandbytes.functional.dequantize_4bit(self.weight.data, self.quant_state)
        return numbers


class PackedView(NamedTuple):
    """Where in the numbers of a packed parameter a tensor lies that autograd wanted to keep."""

    packed: PackedWeight
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


def has_experts(config: Any) -> bool:
    """Whether a model of this configuration has layers of experts."""
    text = config.get_text_config()
    return any((getattr(text, name, None) or 0) > 1 for name in NAMES_OF_COUNT)


def fused_experts(part: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """(module, name of the parameter) of fused experts that are not quantised yet."""
    for module in part.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            continue
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.dim() == 3 and parameter.is_floating_point():
                yield module, name


def quantize_experts(
    part: nn.Module, device: torch.device | None, *, storage: torch.dtype, kind: str, nested: bool
) -> None:
    """Quantise the fused experts in a part of a model.

    Args:
        device: what they are for; None if they are there.
        storage: type the packed bytes are seen as.
        kind: nf4 or fp4.
        nested: whether scales are quantised too.
    """
    for experts, name in list(fused_experts(part)):
        weight = getattr(experts, name).data
        weight = weight if device is None else weight.to(device)
        delattr(experts, name)
        if PACKED not in experts._modules:
            experts.add_module(PACKED, nn.ModuleDict())
            called = _outermost(part, experts)
            called.forward = functools.partial(_with_numbers, experts, called.forward)
        experts.get_submodule(PACKED).add_module(name, PackedWeight(weight, storage, kind, nested))


def _outermost(part: nn.Module, experts: nn.Module) -> nn.Module:
    """The module that is called in the experts' place: PEFT wraps them once for each parameter it adapts."""
    wrappers = [module for module in part.modules() if isinstance(module, ParamWrapper)]
    inner = {wrapper.base_layer for wrapper in wrappers}
    around = (one for one in wrappers if one.get_base_layer() is experts and one not in inner)
    return next(around, experts)


def _with_numbers(experts: nn.Module, forward: Any, *arguments: Any, **options: Any) -> Any:
    """A forward pass in which the experts have numbers, none of which are kept for backward."""
    _again.clear()
    packed: dict[str, Any] = dict(experts.get_submodule(PACKED).named_children())
    numbers = {name: one() for name, one in packed.items()}
    by_place = {value.untyped_storage().data_ptr(): packed[name] for name, value in numbers.items()}
    for name, value in numbers.items():
        experts.register_parameter(name, nn.Parameter(value, requires_grad=False))
    try:
        with torch.autograd.graph.saved_tensors_hooks(functools.partial(_put_away, by_place), _take_back):
            return forward(*arguments, **options)
    finally:
        for name in numbers:
            delattr(experts, name)


def _put_away(by_place: dict[int, PackedWeight], saved: Tensor) -> Tensor | PackedView:
    packed = by_place.get(saved.untyped_storage().data_ptr())
    if packed is None:
        return saved
    return PackedView(packed, saved.size(), saved.stride(), int(saved.storage_offset()))


_again: dict[PackedWeight, Tensor] = {}
"""Numbers of the experts whose backward runs: those computed one by one ask for them once each."""


def _take_back(kept: Tensor | PackedView) -> Tensor:
    if not isinstance(kept, PackedView):
        return kept
    if kept.packed not in _again:
        if len(_again) > 1:  # of the layer after this one
            _again.clear()
        _again[kept.packed] = kept.packed()
    return _again[kept.packed].as_strided(kept.size, kept.stride, kept.offset)
