"""Inputs of layers that recompute, kept in host memory from forward to backward.

Of a checkpointed layer autograd keeps the input alone. Here it goes to the host as it is saved and comes back when
backward recomputes the layer, on the stream that computes: in order with everything else, and waited for by the GPU
alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class OnHost(NamedTuple):
    """A tensor in host memory, and where it is to be used."""

    values: Tensor
    device: torch.device


def keep_inputs_on_host(layers: Iterable[Any]) -> None:
    """Have ``layers``, Transformers' own with checkpointing enabled, keep the tensors they are given on the host."""
    for layer in layers:
        layer._gradient_checkpointing_func = _offloading(layer._gradient_checkpointing_func)


def _offloading(checkpoint: Any) -> Any:
    def checkpoint_offloaded(layer: Any, *inputs: Any) -> Any:
        # Seen by the inputs alone: what the layer saves on its way is its own checkpoint's.
        with torch.autograd.graph.saved_tensors_hooks(_to_host, _from_host):
            return checkpoint(layer, *inputs)

    return checkpoint_offloaded


def _to_host(tensor: Tensor) -> OnHost:
    on_gpu = tensor.device.type != "cpu"
    values = torch.empty_like(tensor, device="cpu", pin_memory=on_gpu)  # pinned: else the host would wait
    return OnHost(values.copy_(tensor, non_blocking=on_gpu), tensor.device)


def _from_host(kept: OnHost) -> Tensor:
    return kept.values.to(kept.device, non_blocking=True)
