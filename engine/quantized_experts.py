"""Fused experts held in 4 bits or in int8.

Transformers 5 keep the experts of a layer as parameters of three dimensions, which bitsandbytes passes by: a mixture of
experts loaded "in 4 bits" has nearly all of its weights in 16 bit (transformers 5.23 quantizers/quantizer_bnb_4bit.py
replaces ``nn.Linear`` alone). Here such a parameter is quantised as a linear's weight is, expert by expert. While a
layer computes, it has its numbers in the parameter's place, where PEFT adds its adapters to them; backward makes them
again, so that none are kept from forward on.

bitsandbytes' own ``replace_parameter_4bit`` is a parametrization, and so are PEFT's adapters: the two together fail
where one layer has several adapted parameters (bitsandbytes 0.50.2, peft 0.21.2).
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from bitsandbytes import MatmulLtState, functional
from peft.tuners.lora.layer import ParamWrapper
from torch import Tensor, nn

from engine.config import Method
from engine.quantized_linear import ShardableInt8, int8_numbers, int8_payload
from engine.waiting_experts import experts_of, fused_experts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engine.config.run_config import MethodConfig

NAMES_OF_COUNT = ("num_local_experts", "num_experts", "n_routed_experts")
"""By which configurations of Transformers say how many experts a layer has."""
PACKED = "packed"
"""Name of the module, in the experts' own, that holds their packed parameters by name."""
INT8 = "int8"
"""The kind that is no type of 4 bits."""
BLOCK = 64
"""Weights that a 4-bit scale is for, bitsandbytes' default."""


class Packing(NamedTuple):
    """How experts are quantised."""

    kind: str
    """nf4, fp4 or int8."""
    dtype: torch.dtype
    """Type of the numbers they stand for."""
    nested: bool = False
    """Whether the scales of 4 bits are quantised too."""
    storage: torch.dtype = torch.uint8
    """Type that packed 4 bits are seen as."""


def packing_of(method: MethodConfig, dtype: torch.dtype, storage: torch.dtype = torch.uint8) -> Packing | None:
    """How a method quantises experts, if it does."""
    kinds = {Method.QLORA: method.quantization.type.value, Method.INT8: INT8}
    if method.name not in kinds:
        return None
    return Packing(kinds[method.name], dtype, method.quantization.double_quantization, storage)


class PackedWeight(nn.Module, ABC):
    """A frozen fused parameter, quantised; called, it gives its numbers."""

    @torch.no_grad()
    def __init__(self, fused: Tensor, device: torch.device, packing: Packing) -> None:
        super().__init__()
        self.shape, self.dtype = fused.shape, packing.dtype
        experts, count = experts_of(fused), len(fused)
        if fused.shape[1:].numel() % BLOCK:  # blocks go from one expert into the next
            experts, count = [torch.stack(list(experts))], 1
        pieces = (self._quantized(one.to(device, self.dtype), packing.kind) for one in experts)
        packed, scales = _end_to_end(pieces, count)
        self.weight = nn.Parameter(self._take(packed, scales, packing), requires_grad=False)

    @abstractmethod
    def numbers(self, whole: Callable[[Any], Tensor]) -> Tensor:
        """What the weight stands for, ``whole`` giving the value of a parameter that may be sharded."""

    @torch.no_grad()
    def forward(self) -> Tensor:
        return self.numbers(torch.Tensor.detach)

    @abstractmethod
    def _quantized(self, expert: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        """(packed bytes, float32 scales) of an expert."""

    @abstractmethod
    def _take(self, packed: Tensor, scales: Tensor, packing: Packing) -> Tensor:
        """Keep the scales of all experts; what their packed bytes are to be held as."""


class Packed4bitWeight(PackedWeight):
    """With bitsandbytes' kernels, and to the bits they would make of the whole at once."""

    def _quantized(self, expert: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        packed, state = functional.quantize_4bit(expert, quant_type=kind)
        return packed, state.absmax

    def _take(self, packed: Tensor, scales: Tensor, packing: Packing) -> Tensor:
        settings: dict[str, Any] = {
            "shape": self.shape, "dtype": self.dtype, "blocksize": BLOCK, "quant_type": packing.kind,
            "code": functional.get_4bit_type(packing.kind, device=scales.device),
        }  # fmt: skip
        if packing.nested:
            mean = scales.mean()
            scales, of_scales = functional.quantize_blockwise(scales - mean, blocksize=256)
            settings |= {"offset": mean, "state2": of_scales}
        self.quant_state = functional.QuantState(absmax=scales, **settings)
        return packed.view(packing.storage).unsqueeze(1)

    def numbers(self, whole: Callable[[Any], Tensor]) -> Tensor:
        numbers: Tensor = functional.dequantize_4bit(whole(self.weight), self.quant_state)
        return numbers


class PackedInt8Weight(ShardableInt8, PackedWeight):
    """A row of the payload is a row of an expert's matrix, as that stands in the parameter."""

    @property
    def payload_shape(self) -> tuple[int, int]:
        return self.shape[:-1].numel(), self.shape[-1]

    def _quantized(self, expert: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        rows = expert.float().flatten(end_dim=-2)
        scales = rows.abs().amax(dim=1)
        steps = 127.0 / scales.clamp(min=torch.finfo(torch.float32).tiny)
        return (rows * steps.unsqueeze(1)).round().to(torch.int8), scales

    def _take(self, packed: Tensor, scales: Tensor, packing: Packing) -> Tensor:
        self.state = MatmulLtState()
        self.state.SCB = scales
        return packed.view(torch.int8).view(self.payload_shape)

    def numbers(self, whole: Callable[[Any], Tensor]) -> Tensor:
        payload = int8_payload(whole(self.weight), *self.payload_shape)
        scales = whole(self.SCB) if self.state.SCB is None else self.state.SCB
        return int8_numbers(payload, scales, self.dtype).view(self.shape)


def _end_to_end(pieces: Iterable[tuple[Tensor, Tensor]], count: int) -> list[Tensor]:
    """Both tensors of equal pieces laid end to end, the first as bytes; no piece is kept beside the whole."""
    wholes: list[Tensor] = []
    for number, (packed, scales) in enumerate(pieces):
        flat = (packed.view(torch.uint8).flatten(), scales.flatten())
        wholes = wholes or [one.new_empty(count, one.numel()) for one in flat]
        for whole, one in zip(wholes, flat, strict=True):
            whole[number] = one
    return [whole.flatten() for whole in wholes]


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


def quantize_experts(part: nn.Module, device: torch.device | None, packing: Packing) -> None:
    """Quantise the fused experts in a part of a model, on ``device``, or each where it is."""
    for experts, name in list(fused_experts(part)):
        fused = getattr(experts, name)
        delattr(experts, name)
        if PACKED not in experts._modules:
            experts.add_module(PACKED, nn.ModuleDict())
            called = _outermost(part, experts)
            called.forward = functools.partial(_with_numbers, experts, called.forward)
        experts.get_submodule(PACKED).add_module(name, pack(fused, device or fused.device, packing))


def pack(fused: Tensor, device: torch.device, packing: Packing) -> PackedWeight:
    """A fused parameter, quantised on ``device``."""
    return (PackedInt8Weight if packing.kind == INT8 else Packed4bitWeight)(fused, device, packing)


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
