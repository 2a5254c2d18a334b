"""The merged weights of a model that is being trained, one after the other, without a change to it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import bitsandbytes.functional
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from torch import nn

from engine.merging.names import as_in_files, groups_of_model
from engine.merging.steps import base_name, is_adapter, lies_transposed, merged, steps
from engine.parameters import whole_value
from engine.quantized_experts import PACKED, PackedWeight
from engine.quantized_linear import ShardableInt8Linear, int8_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    Numbers = Callable[[], Tensor]


@torch.no_grad()  # not a context inside: that would hold for the caller too, between one weight and the next
def iter_merged(model: Any, dtype: torch.dtype = torch.bfloat16) -> Iterator[tuple[str, Tensor]]:
    """The weights of ``model`` with its adapter merged into them, as the base's own checkpoint names them.

    For a trainer that hands its weights to a server while it trains: one weight is whole at a time, on the device the
    rank computes on, and nothing of the training state changes. A collective: where weights are sharded (FSDP2, ZeRO-3)
    every rank must go through all of them, and every rank is given them. Quantised weights come as the numbers they
    are computed with. To be called between optimizer steps.

    Args:
        model: a PEFT model, or one without adapters; may be wrapped by DDP or a DeepSpeed engine.
        dtype: what floating weights are given in.
    """
    while isinstance(getattr(model, "module", None), nn.Module):
        model = model.module
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    todo = steps(model)
    by_name = dict(model.named_parameters(remove_duplicate=False))
    weights = _base_weights(model)

    def one(name: str) -> Tensor:
        return merged(weights[name](), todo.get(name, []), lambda trained: whole_value(by_name[trained]), dtype)

    for group in groups_of_model(base, _without_tied(base, weights, todo)):
        yield from as_in_files(base, {name: one(name) for name in group}).items()


def _base_weights(model: nn.Module) -> dict[str, Numbers]:
    """How each weight of the base is had whole and as numbers that may be changed, by its name in the base."""
    found: dict[str, Numbers] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, PackedWeight):
            found[base_name(path).replace(f".{PACKED}.", ".")] = functools.partial(module.numbers, whole_value)
            continue
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{path}.{name}" if path else name
            if is_adapter(full) or name == "SCB" or path.endswith(f".{PACKED}"):
                continue
            at = base_name(full)
            if name == "weight" and isinstance(module, (Linear4bit, Linear8bitLt)):
                found[at] = functools.partial(_of_quantized, module)
            elif at not in found or "modules_to_save" not in path:
                found[at] = functools.partial(_copy, parameter)
    for name, buffer in _kept_buffers(model).items():
        found.setdefault(base_name(name), buffer.clone)
    return found


def _kept_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The buffers that a checkpoint has."""
    kept = {
        f"{path}.{name}" if path else name: buffer
        for path, module in model.named_modules()
        for name, buffer in module.named_buffers(recurse=False)
        if name not in module._non_persistent_buffers_set
    }
    return {name: buffer for name, buffer in kept.items() if not is_adapter(name)}


def _without_tied(base: Any, weights: dict[str, Any], todo: dict[str, Any]) -> list[str]:
    """Names of the weights without those that repeat another, and are changed as it is."""
    tied = base.all_tied_weights_keys if base.config.get_text_config().tie_word_embeddings else {}
    return [name for name in weights if not (name in tied and todo.get(name) == todo.get(tied[name]))]


def _copy(parameter: nn.Parameter) -> Tensor:
    return whole_value(parameter).clone()


def _of_quantized(layer: Any) -> Tensor:
    """The numbers of a linear layer in 4 or 8 bit, as the base's files have the weight laid out."""
    if isinstance(layer, Linear4bit):
        state = getattr(layer.weight, "quant_state", None) or layer.quant_state  # a sharded weight has lost it
        numbers: Tensor = bitsandbytes.functional.dequantize_4bit(whole_value(layer.weight), state)
    elif isinstance(layer, ShardableInt8Linear):
        payload = int8_payload(whole_value(layer.weight), layer.out_features, layer.in_features)
        scales = whole_value(layer.SCB) if layer.state.SCB is None else layer.state.SCB
        numbers = bitsandbytes.functional.int8_vectorwise_dequant(payload, scales)
    else:
        scales = layer.weight.SCB if layer.weight.SCB is not None else layer.state.SCB
        numbers = bitsandbytes.functional.int8_vectorwise_dequant(layer.weight.data, scales)
    return numbers.T.contiguous() if lies_transposed(layer) else numbers
