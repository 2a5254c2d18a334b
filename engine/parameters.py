"""Parameters of a model: which are trained, and which lie here whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name; tied ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def cast(part: nn.Module, dtype: torch.dtype) -> None:
    """Cast the floating parameters of a part of a model, but for those that are sharded already."""
    for parameter in part.parameters():
        if parameter.is_floating_point() and not is_sharded(parameter):
            parameter.data = parameter.data.to(dtype)


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether only this rank's part of a tensor is here."""
    return hasattr(tensor, "to_local") or hasattr(tensor, "ds_id")
