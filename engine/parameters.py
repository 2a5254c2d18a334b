"""Parameters of a model: which are trained, and which lie here whole."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

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


def whole_value(parameter: Any) -> torch.Tensor:
    """A parameter's whole value, in float32 where DeepSpeed keeps it so; a collective where it is sharded."""
    if parameter.requires_grad and (hasattr(parameter, "_z3_optimizer") or hasattr(parameter, "_hp_mapping")):
        from deepspeed.utils import safe_get_full_fp32_param

        shape = getattr(parameter, "ds_shape", parameter.shape)
        flat: torch.Tensor = safe_get_full_fp32_param(parameter).detach().flatten()
        return flat[: shape.numel()].view(shape)  # the rest pads the partitions
    if hasattr(parameter, "ds_id"):
        import deepspeed
        from deepspeed.runtime.zero.partition_parameters import ZeroParamStatus

        # Small ones lie here whole between steps, and gathering would split them when it is done.
        is_here = parameter.ds_status is ZeroParamStatus.AVAILABLE
        with contextlib.nullcontext() if is_here else deepspeed.zero.GatheredParameters([parameter]):
            gathered: torch.Tensor = parameter.detach().clone()
            return gathered
    value: torch.Tensor = parameter.detach()
    return value.full_tensor() if hasattr(value, "full_tensor") else value
