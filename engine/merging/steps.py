"""What training did to each weight of the base, as steps that give the merged one. All arithmetic is in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import Conv2d, Embedding, ParamWrapper
from peft.utils import ModulesToSaveWrapper, TrainableTokensWrapper
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    Trained = Callable[[str], Tensor]
    """Gives a trained parameter whole, by its name in the adapted model."""

ADAPTER = "default"
WRAPPERS = ("base_layer", "original_module", "token_adapter")
"""Names that PEFT's wrappers give to what they wrap, or keep their own in."""
BLOCK = 1 << 22
"""Numbers of a weight that are in float32 at once."""


class LowRank(NamedTuple):
    """LoRA: ``scaling * B @ A`` is added; DoRA's magnitude then takes the place of the norm of each output."""

    a: str
    b: str
    scaling: float
    magnitude: str | None
    is_transposed: bool
    """The weight lies as inputs x outputs, as Conv1D's and an embedding's do."""

    def apply(self, weight: Tensor, trained: Trained) -> Tensor:
        """The weight, changed in place. Its numbers are rounded once."""
        left, right = trained(self.b).float(), trained(self.a).float()
        if self.is_transposed:
            left, right = right.T, left.T
        if self.magnitude is None:
            for rows in _rows(weight):
                weight[rows] = _with_delta(weight[rows], left[rows], right, self.scaling)
            return weight
        magnitude = trained(self.magnitude).float().view(-1)
        outputs = 0 if self.is_transposed else 1  # norms are taken along the inputs
        squares = torch.zeros_like(magnitude)
        for rows in _rows(weight):
            of_block = _with_delta(weight[rows], left[rows], right, self.scaling).square().sum(outputs)
            if self.is_transposed:
                squares += of_block
            else:
                squares[rows] = of_block
        factor = magnitude / squares.sqrt()
        for rows in _rows(weight):
            changed = _with_delta(weight[rows], left[rows], right, self.scaling)
            weight[rows] = (changed * (factor if self.is_transposed else factor[rows, None])).to(weight.dtype)
        return weight


class ExpertsLowRank(NamedTuple):
    """LoRA on fused experts: each has its part of A's rows and every n-th of B's columns (peft 0.21.2 ParamWrapper)."""

    a: str
    b: str
    scaling: float
    is_transposed: bool
    """Each expert's weight lies as inputs x outputs."""

    def apply(self, weight: Tensor, trained: Trained) -> Tensor:
        """The weight, changed in place."""
        if weight.dim() == 2:
            return LowRank(self.a, self.b, self.scaling, None, is_transposed=False).apply(weight, trained)
        a, b = trained(self.a).float(), trained(self.b).float()
        count = weight.shape[0]
        a, b = a.view(count, -1, a.shape[-1]), b.view(b.shape[0], -1, count)
        for expert in range(count):
            left, right = b[:, :, expert], a[expert]
            if self.is_transposed:
                left, right = right.T, left.T
            weight[expert] = _with_delta(weight[expert], left, right, self.scaling)
        return weight


class Rows(NamedTuple):
    """Rows of an embedding or a head that were trained by themselves."""

    values: str
    rows: list[int]

    def apply(self, weight: Tensor, trained: Trained) -> Tensor:
        """The weight, changed in place."""
        weight[self.rows] = trained(self.values).to(weight.dtype)
        return weight


class Whole(NamedTuple):
    """A parameter that was trained itself."""

    values: str

    def apply(self, weight: Tensor | None, trained: Trained) -> Tensor:
        """What was trained; the weight there was is not needed."""
        return trained(self.values).clone()  # steps that follow change it in place


Step = LowRank | ExpertsLowRank | Rows | Whole


def base_name(name: str) -> str:
    """A parameter's or module's name in the base model, by its name in the adapted one."""
    name = name.removeprefix("base_model.model.").replace(f".modules_to_save.{ADAPTER}", "")
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def is_adapter(name: str) -> bool:
    """Whether a parameter of an adapted model, by its name there, is PEFT's own and no weight of the base."""
    return any(part.startswith(("lora_", "trainable_tokens_")) for part in name.split("."))


def steps(model: nn.Module) -> dict[str, list[Step]]:
    """The steps for every weight that training changed, by its name in the base model, in their order.

    Raises:
        NotImplementedError: an adapter of a kind that is not known here.
    """
    found: dict[str, list[Step]] = {}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for path, module in model.named_modules():
        for name, step in _steps_of(path, module, names):
            found.setdefault(name, []).append(step)
    # What was trained whole is the base of its other steps, and rows that were trained by themselves come last.
    order = (Whole, LowRank, ExpertsLowRank, Rows)
    return {name: sorted(of_one, key=lambda step: order.index(type(step))) for name, of_one in found.items()}


def _steps_of(path: str, module: Any, names: dict[int, str]) -> Iterator[tuple[str, Step]]:
    at = base_name(path)
    if isinstance(module, ModulesToSaveWrapper):
        for name, _ in module.modules_to_save[ADAPTER].named_parameters():
            if not is_adapter(name):
                full = f"{path}.modules_to_save.{ADAPTER}.{name}"
                yield base_name(full), Whole(full)
    elif isinstance(module, TrainableTokensWrapper):
        values = module.token_adapter.trainable_tokens_delta[ADAPTER]
        yield f"{at}.weight", Rows(names[id(values)], list(module.token_adapter.token_indices[ADAPTER]))
    elif isinstance(module, LoraLayer):
        yield _adapted_name(at, module), _low_rank(path, module)


def _adapted_name(at: str, module: Any) -> str:
    return f"{at}.{module.parameter_name if isinstance(module, ParamWrapper) else 'weight'}"


def _low_rank(path: str, module: Any) -> Step:
    scaling = float(module.scaling[ADAPTER])
    if isinstance(module, Conv2d) or module.lora_bias.get(ADAPTER):
        raise NotImplementedError(f"{base_name(path)}: adapters of convolutions, or with a bias, are not merged")
    if isinstance(module, Embedding):
        a, b = (f"{path}.lora_embedding_{half}.{ADAPTER}" for half in "AB")
    else:
        a, b = (f"{path}.lora_{half}.{ADAPTER}.weight" for half in "AB")
    if isinstance(module, ParamWrapper):
        experts = module.get_base_layer()
        return ExpertsLowRank(a, b, scaling, bool(getattr(experts, "is_transposed", False)))
    magnitude = f"{path}.lora_magnitude_vector.{ADAPTER}.weight" if module.use_dora.get(ADAPTER) else None
    return LowRank(a, b, scaling, magnitude, isinstance(module, Embedding) or lies_transposed(module.get_base_layer()))


def lies_transposed(layer: nn.Module) -> bool:
    """Whether the base's files have a linear layer's weight as inputs x outputs; quantised, outputs come first."""
    return isinstance(layer, Conv1D) or issubclass(getattr(layer, "source_cls", object), Conv1D)


def merged(weight: Tensor | None, todo: list[Step], trained: Trained, dtype: torch.dtype) -> Tensor:
    """What comes of a weight of the base, which may be changed in place; None where the base has none.

    Given in ``dtype`` where it is floating, rounded to it once.
    """
    if weight is not None and weight.is_floating_point() and weight.dtype is not dtype:
        weight = weight.float()
    for step in todo:
        weight = step.apply(weight, trained)  # type: ignore[arg-type]
    assert weight is not None
    return weight.to(dtype) if weight.is_floating_point() else weight


def _with_delta(block: Tensor, left: Tensor, right: Tensor, scaling: float) -> Tensor:
    return (left @ right).mul_(scaling).add_(block)


def _rows(weight: Tensor) -> Iterator[slice]:
    """A weight's rows, in blocks that are small in float32."""
    step = max(1, BLOCK // max(1, weight[0].numel()))
    return (slice(begin, begin + step) for begin in range(0, weight.shape[0], step))
