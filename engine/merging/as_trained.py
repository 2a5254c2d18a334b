"""The base's weights as a run computed with them: cast, quantised, and without what an initialisation took out."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import bitsandbytes.functional
import torch
from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora.bnb import Linear4bit as LoraLinear4bit
from peft.tuners.lora.bnb import Linear8bitLt as LoraLinear8bit
from torch import nn
from transformers.quantizers.auto import AutoHfQuantizer

from engine.merging.steps import LowRank
from engine.model import quantization_of
from engine.quantized_experts import pack, packing_of
from engine.strategy.base import DTYPES
from engine.waiting_experts import names_of_fused

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch import Tensor

    from engine.config import Compute, RunConfig
    from engine.merging.steps import Step

TAKES_OUT = ("pissa", "olora")
"""Initialisations that move a part of each adapted weight into its adapter; PEFT does it again as it loads one."""


class AsTrained:
    """What a run made of its base's weights before the first step."""

    def __init__(
        self, base: nn.Module, config: RunConfig, compute: Compute, adapter: LoraConfig, not_quantized: list[str] | None
    ) -> None:
        """``base`` has no numbers; ``adapter`` is as it was saved; ``not_quantized`` are a classifier's own modules."""
        self._dtype = DTYPES[compute]
        self._adapter = adapter
        self._quantization = quantization_of(config.method, compute, torch.uint8)
        self._packing = packing_of(config.method, self._dtype)
        self.linear: set[str] = set()
        """Names of the linear layers' weights that are quantised."""
        self.experts: set[str] = set()
        """Names of the fused experts that are quantised."""
        if self._quantization is not None:
            self._quantization.llm_int8_skip_modules = not_quantized
            self.linear = set(_quantized_layers(base, self._quantization))
            self.experts = set(names_of_fused(base))

    def changes(self, name: str, todo: list[Step]) -> bool:
        """Whether a weight's numbers are others than those of its file, but for being cast."""
        return name in self.linear or name in self.experts or self._is_taken_from(todo)

    def _is_taken_from(self, todo: list[Step]) -> bool:
        return self._adapter.init_lora_weights in TAKES_OUT and any(isinstance(step, LowRank) for step in todo)

    def __call__(self, name: str, weight: Tensor, todo: list[Step], *, is_transposed: bool) -> Tensor:
        """The numbers of a weight, given as the base's file has it and to be merged with ``todo``."""
        weight = weight.to(self._dtype)
        if self._packing is not None and name in self.experts:
            numbers: Tensor = pack(weight, weight.device, self._packing)()
            return numbers
        taken_from = self._is_taken_from(todo)
        if name not in self.linear and not taken_from:
            return weight
        plain = weight.T.contiguous() if is_transposed else weight
        layer = self._quantized(plain) if name in self.linear else _linear(nn.Linear, plain)
        if taken_from:
            self._take_out(layer)
        numbers = _numbers(layer)
        return numbers.T.contiguous() if is_transposed else numbers

    def _settings(self) -> dict[str, Any]:
        wanted: Any = self._quantization
        return {"compress_statistics": wanted.bnb_4bit_use_double_quant, "quant_type": wanted.bnb_4bit_quant_type}

    def _quantized(self, weight: Tensor) -> Any:
        wanted: Any = self._quantization
        if wanted.load_in_4bit:
            layer = _linear(Linear4bit, weight)
            layer.weight = Params4bit(weight, requires_grad=False, **self._settings()).to("cpu")
            return layer
        layer = _linear(Linear8bitLt, weight)
        layer.weight = Int8Params(weight, requires_grad=False).to("cpu")
        return layer

    def _take_out(self, layer: Any) -> None:
        """Have PEFT initialise an adapter on a layer, as it did when the run began."""
        kinds = {Linear4bit: LoraLinear4bit, Linear8bitLt: LoraLinear8bit}
        adapter = copy.copy(self._adapter)
        adapter.use_dora = False  # its magnitudes were saved
        kinds.get(type(layer), LoraLinear)(layer, "default", config=adapter, r=adapter.r, lora_alpha=adapter.lora_alpha)


def _linear(kind: Any, weight: Tensor) -> Any:
    with torch.device("meta"):
        layer = kind(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


def _numbers(layer: Any) -> Tensor:
    weight = layer.weight
    if isinstance(weight, Params4bit):
        numbers: Tensor = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
    elif isinstance(weight, Int8Params):
        numbers = bitsandbytes.functional.int8_vectorwise_dequant(weight.data, weight.SCB)
    else:
        numbers = weight.data
    return numbers


def _quantized_layers(base: nn.Module, quantization: Any) -> list[str]:
    """Names of the weights that Transformers would quantise."""
    model: Any = copy.deepcopy(base)
    quantizer = AutoHfQuantizer.from_config(quantization, pre_quantized=False)
    quantizer._process_model_before_weight_loading(model, device_map=None)
    kinds = (Linear4bit, Linear8bitLt)
    return [f"{name}.weight" for name, module in model.named_modules() if isinstance(module, kinds)]
