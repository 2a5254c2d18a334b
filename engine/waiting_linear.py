"""Quantised linear layers whose weights wait on the host, as their file has them, to be quantised block by block.

Transformers quantise every weight as it is read, on the device it is for: the whole model is there, quantised, before
anything can shard it (5.23 core_model_loading.py ``convert_and_load_state_dict_in_model``). In :func:`weights_wait` it
only notes the weight, mapped from its file, and the layer keeps an empty one in its place, by whose type, device and
settings PEFT attaches adapters as it would to the quantised one. :func:`settle` then quantises the weights of a block.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

import bitsandbytes
import torch
from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit
from transformers import PreTrainedModel
from transformers.core_model_loading import ConversionOps
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer
from transformers.quantizers.quantizer_bnb_8bit import Bnb8BitHfQuantizer

from engine.quantized_linear import hold_int8_once
from engine.waiting_experts import names_of_fused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor, nn


class _Waiting:
    """A layer whose weight is not quantised yet. An empty one of the quantised type stands in for it."""

    plain: Tensor
    """The weight, on the host; a row for each output."""
    dtype: torch.dtype
    """Type the weight is cast to before it is quantised."""

    @property
    def W_q(self) -> Tensor:  # noqa: N802
        """By this name PEFT knows layers that it is to ask for their numbers (see ``ShardableInt8Linear``)."""
        return self.plain


class WaitingLinear4bit(_Waiting, Linear4bit):  # type: ignore[misc]
    """A ``Linear4bit`` that waits; PEFT takes it for one."""

    @staticmethod
    def empty(like: Any) -> Params4bit:
        """What stands in for the weight; ``like`` has the settings it is to be quantised with."""
        return Params4bit(torch.empty(0, dtype=like.quant_storage), **{**vars(like), "bnb_quantized": True})

    @property
    def quantized_bytes(self) -> int:
        """Of the weight once it is quantised, without its scales."""
        itemsize: int = self.quant_storage.itemsize
        return -(-self.plain.numel() // (2 * itemsize)) * itemsize

    def quantized(self, device: torch.device) -> Params4bit:
        """The weight, quantised on ``device`` anew."""
        settings = {**vars(self.weight), "module": None, "bnb_quantized": False}
        return Params4bit(self.plain.to(device=device, dtype=self.dtype), **settings).to(device)

    def dequantize(self) -> Tensor:
        """The weight's numbers as they will be computed with; DoRA begins with their norms."""
        weight: Any = self.quantized(self.weight.device)
        numbers: Tensor = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
        return numbers

    def settle(self, device: torch.device) -> None:
        """Become the ``Linear4bit`` that Transformers would have loaded on ``device``."""
        weight: Any = self.quantized(device)
        weight.module, self.quant_state, self.weight = self, weight.quant_state, weight
        del self.plain, self.dtype
        self.__class__ = Linear4bit


class WaitingInt8Linear(_Waiting, Linear8bitLt):  # type: ignore[misc]
    """A ``Linear8bitLt`` that waits; PEFT takes it for one."""

    @staticmethod
    def empty(_like: Any) -> Int8Params:
        """What stands in for the weight."""
        return Int8Params(torch.empty(0, dtype=torch.int8), requires_grad=False)

    @property
    def quantized_bytes(self) -> int:
        """Of the weight once it is quantised, without its scales."""
        return self.plain.numel()

    def quantized(self, device: torch.device) -> Int8Params:
        """The weight, quantised on ``device`` anew: bitsandbytes quantises what comes from the host alone."""
        return Int8Params(self.plain.to(self.dtype), requires_grad=False).to(device)

    def dequantize(self) -> Tensor:
        """The weight's numbers in float32, as they will be computed with; DoRA begins with their norms."""
        weight: Any = self.quantized(self.weight.device)
        numbers: Tensor = bitsandbytes.functional.int8_vectorwise_dequant(weight.CB, weight.SCB)
        return numbers

    def settle(self, device: torch.device) -> None:
        """Become the ``Linear8bitLt`` that Transformers would have loaded on ``device``."""
        self.weight = self.quantized(device)
        del self.plain, self.dtype
        self.__class__ = Linear8bitLt


Waiting = WaitingLinear4bit | WaitingInt8Linear


def waiting(model: nn.Module) -> list[Waiting]:
    """The layers of a model, or a part of one, whose weights wait."""
    return [module for module in model.modules() if isinstance(module, Waiting)]


def stand_in_on(model: nn.Module, device: torch.device) -> None:
    """Have the weights that wait stood in for on ``device``: PEFT makes adapters there, and DoRA's norms."""
    for layer in waiting(model):
        layer.weight.data = layer.weight.data.to(device)


def settle(block: nn.Module, device: torch.device) -> None:
    """Quantise the weights of a block that wait, on the device it is for."""
    for layer in waiting(block):
        layer.settle(device)
    hold_int8_once(block)


@contextlib.contextmanager
def weights_wait() -> Iterator[None]:
    """Inside, models that Transformers load to be quantised by bitsandbytes keep their weights waiting.

    Checkpoints that are quantised already are loaded as ever.
    """
    before = dict(AUTO_QUANTIZER_MAPPING)
    AUTO_QUANTIZER_MAPPING.update(bitsandbytes_4bit=_Waits4bit, bitsandbytes_8bit=_Waits8bit)
    try:
        yield
    finally:
        AUTO_QUANTIZER_MAPPING.update(before)


@contextlib.contextmanager
def read_as_stored(names: Callable[[nn.Module], Iterable[str]]) -> Iterator[None]:
    """Inside, Transformers read these parameters in the type of their file, and make those that it lacks as wanted.

    What ``_Waits.read_as_stored`` does for weights that wait.
    """
    own_plan = PreTrainedModel._get_dtype_plan

    def plan(model: Any, dtype: torch.dtype) -> dict[str, torch.dtype | None]:
        return own_plan(model, dtype) or _uncast(names(model))

    PreTrainedModel._get_dtype_plan = plan
    try:
        yield
    finally:
        PreTrainedModel._get_dtype_plan = own_plan


def _uncast(names: Iterable[str]) -> dict[str, torch.dtype | None]:
    """A plan that casts none of these weights. Transformers look for its keys, as patterns, anywhere in a name."""
    return {f"{name}$": None for name in names}


class _Waits:
    """Of a quantizer of Transformers': replaces the layers it would, and leaves their weights as the file has them."""

    kind: ClassVar[type[Waiting]]
    dtype: torch.dtype | None = None
    """Type to cast waiting weights to; None where Transformers do."""

    def _process_model_before_weight_loading(self, model: Any, *arguments: Any, **options: Any) -> None:
        super()._process_model_before_weight_loading(model, *arguments, **options)  # type: ignore[misc]
        self.read_as_stored(model)

    def read_as_stored(self, model: Any) -> None:
        """Have weights that wait read in the type of their file: cast, each rank would hold a copy of the whole model.

        Transformers take the type of a weight from this plan, in which None is no cast. Where a model keeps some of
        its weights in a type of their own, the plan stays as it is.
        """
        own_plan = model._get_dtype_plan

        def plan(dtype: torch.dtype) -> dict[str, torch.dtype | None]:
            del model._get_dtype_plan
            planned: dict[str, torch.dtype | None] = own_plan(dtype)
            if planned:
                return planned
            self.dtype = dtype
            kinds = (Linear4bit, Linear8bitLt)
            linear = [f"{name}.weight" for name, module in model.named_modules() if isinstance(module, kinds)]
            return _uncast((*linear, *names_of_fused(model)))

        model._get_dtype_plan = plan

    def get_quantize_ops(self) -> ConversionOps:
        return _Wait(self.kind, self.dtype)


class _Waits4bit(_Waits, Bnb4BitHfQuantizer):  # type: ignore[misc]
    kind = WaitingLinear4bit


class _Waits8bit(_Waits, Bnb8BitHfQuantizer):  # type: ignore[misc]
    kind = WaitingInt8Linear


class _Wait(ConversionOps):  # type: ignore[misc]
    """Notes a weight where Transformers would quantise it."""

    def __init__(self, kind: type[Waiting], dtype: torch.dtype | None) -> None:
        self._kind = kind
        self._dtype = dtype

    def convert(self, input_dict: dict[str, Any], model: Any = None, **_others: Any) -> dict[str, Any]:
        placed: dict[str, Any] = {}
        for name, value in input_dict.items():
            plain = value[0] if isinstance(value, list) else value
            layer = model.get_submodule(name.rpartition(".")[0])
            layer.__class__ = self._kind
            layer.plain = plain.T if issubclass(layer.source_cls, Conv1D) else plain
            layer.dtype = self._dtype or plain.dtype
            placed[name] = self._kind.empty(layer.weight)
        return placed
