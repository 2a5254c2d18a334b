"""Fused experts that wait on the host, as their file has them, to be put together block by block.

Most checkpoints have a matrix for each expert, of which Transformers make one parameter of three dimensions as they
read: a copy of nearly all of a model on the host, once a rank (5.23 core_model_loading.py ``WeightConverter``). In
:func:`experts_wait` such a parameter keeps the matrices instead, mapped from their file; it has the shape of all of
them and the memory of one number. PEFT attaches adapters to it by its shape, type and device.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.core_model_loading import Concatenate, MergeModulelist, WeightConverter

from engine.parameters import is_sharded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Matrices = dict[str, list[Tensor]]
"""By pattern of a converter, a matrix for each expert."""


class WaitingExperts(nn.Parameter):
    """A fused parameter that is still to be put together."""

    source: WeightConverter
    """What Transformers would put it together with."""
    matrices: Matrices

    def __new__(cls, like: Tensor, source: WeightConverter, matrices: Matrices) -> WaitingExperts:
        """``like`` has the shape and type that it is to have."""
        one = torch.zeros((), dtype=like.dtype)
        waiting: Any = super().__new__(cls, one.expand(like.shape), requires_grad=True)
        waiting.source, waiting.matrices = source, matrices
        return waiting  # type: ignore[no-any-return]

    def experts(self) -> Iterator[Tensor]:
        """One after another, each as the whole will have it, on the host and in the type of the file."""
        for number in range(self.shape[0]):
            found: dict[str, Any] = {pattern: [each[number]] for pattern, each in self.matrices.items()}
            for operation in self.source.operations:
                found = operation.convert(
                    found, source_patterns=self.source.source_patterns, target_patterns=self.source.target_patterns
                )
            (expert,) = found.values()
            yield expert[0]


def fused_experts(part: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """(module, name of the parameter) of fused experts that are not quantised."""
    for module in part.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            continue
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.dim() == 3 and parameter.is_floating_point():
                yield module, name


def names_of_fused(model: nn.Module) -> list[str]:
    """Names, in the model, of its fused experts."""
    names = {module: name for name, module in model.named_modules()}
    return [f"{names[module]}.{name}" for module, name in fused_experts(model)]


def experts_of(parameter: Tensor) -> Iterable[Tensor]:
    """The matrices of a fused parameter, whether it waits or not."""
    return parameter.experts() if isinstance(parameter, WaitingExperts) else parameter.unbind()


def settle_experts(part: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Put together, on ``device``, the experts that wait in a part of a model; cast those that came in another type."""
    for module, name in fused_experts(part):
        fused = getattr(module, name)
        if isinstance(fused, WaitingExperts):
            whole = torch.empty(fused.shape, dtype=dtype, device=device)
            for place, expert in zip(whole, fused.experts(), strict=True):
                place.copy_(expert)
            setattr(module, name, nn.Parameter(whole, requires_grad=fused.requires_grad))
        elif not is_sharded(fused):
            fused.data = fused.data.to(dtype)


@contextlib.contextmanager
def experts_wait() -> Iterator[None]:
    """Inside, models that Transformers load to the host have fused experts that wait.

    Those alone whose matrices are stacked, and perhaps laid side by side: what other conversions make is made as ever.
    """
    own = WeightConverter.convert

    def convert(converter: WeightConverter, name: str, model: Any = None, *others: Any, **named: Any) -> Any:
        if _stacks_experts(converter):
            matrices, like = converter.materialize_tensors(), model.get_parameter(name)
            if all(len(each) == len(like) and len({one.shape for one in each}) == 1 for each in matrices.values()):
                waiting = WaitingExperts(like, converter, matrices)
                if next(waiting.experts()).shape == like.shape[1:]:
                    return {name: waiting}
            converter.collected_tensors.update(matrices)
        return own(converter, name, model, *others, **named)

    WeightConverter.convert = convert
    try:
        yield
    finally:
        WeightConverter.convert = own


def _stacks_experts(converter: WeightConverter) -> bool:
    """Whether what a converter does to all experts it can do to each of them."""
    first, *rest = converter.operations
    return (
        isinstance(first, MergeModulelist) and first.dim == 0
        and all(isinstance(one, Concatenate) and one.dim > 0 for one in rest)
        and len(converter.target_patterns) == 1 and converter.quantization_operation is None
    )  # fmt: skip
