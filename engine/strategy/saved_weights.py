"""Keep autograd from holding the weights DeepSpeed gathers.

DeepSpeed lets go of a gathered weight by giving its parameter an empty tensor. A view of it that autograd saved, such
as the transposed weight of ``torch.nn.functional.linear``, keeps the memory until backward is through: all the weights
are whole at its start. DeepSpeed's own answer, ``memory_efficient_linear``, replaces torch's function for the process
and knows no other one. Here a saved view is kept as the parameter it is of and taken anew in backward, when DeepSpeed
has gathered the parameter again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor


class SavedView(NamedTuple):
    """Where in a parameter a view lies."""

    parameter: Tensor
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    """From the parameter's first number."""


def without_gathered_weights() -> torch.autograd.graph.saved_tensors_hooks:
    """A context for forward passes in which views of DeepSpeed's parameters are not held."""
    return torch.autograd.graph.saved_tensors_hooks(_put_away, _take_back)


def _put_away(saved: Tensor) -> Tensor | SavedView:
    parameter: Any = saved._base
    if parameter is None or not hasattr(parameter, "ds_id"):
        return saved
    return SavedView(parameter, saved.size(), saved.stride(), saved.storage_offset() - parameter.storage_offset())


def _take_back(kept: Tensor | SavedView) -> Tensor:
    if isinstance(kept, SavedView):
        parameter = kept.parameter.detach()
        return parameter.as_strided(kept.size, kept.stride, parameter.storage_offset() + kept.offset)
    return kept
