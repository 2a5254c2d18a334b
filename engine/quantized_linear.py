"""Quantised linear layers that hold their weight once, so that it can be sharded and gathered.

bitsandbytes' own layers make backward keep what forward computed with: of a weight that was gathered for forward, the
whole of it until backward is through, which is all that partitioning had saved (bitsandbytes 0.50.2
autograd/_functions.py ``MatMul8bitLt``, ``MatMul4Bit``). Its int8 layer keeps one more copy in its state
(nn/modules.py ``Linear8bitLt``), and its input where gradient checkpointing cannot let go of it. Those here look their
weight up again in backward, and keep nothing else.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import bitsandbytes
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.autograd.function import FunctionCtx


class _FrozenMatmul(torch.autograd.Function):
    """``input @ weight.T`` with bitsandbytes' kernels, the weight looked up at its module again in backward."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, module: ShardableInt8Linear | ShardableLinear4bit) -> Tensor:
        ctx.module = module
        return module.product(input)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        module: ShardableInt8Linear | ShardableLinear4bit = ctx.module  # type: ignore[attr-defined]
        return module.input_gradient(gradients[0]), None


class ShardableInt8:
    """Of a module with a frozen weight in int8.

    Its ``weight`` is the payload, and the scales lie in its state; or, after :func:`shard_int8_as`, both are parameters
    of a type that a strategy moves, ``weight`` with the payload's bytes end to end and ``SCB``.
    """

    weight: Any
    state: Any
    SCB: Any

    @property
    @abstractmethod
    def payload_shape(self) -> tuple[int, int]:
        """Rows, which have a scale each, and columns."""

    @property
    def payload(self) -> Tensor:
        """The weight's int8 numbers."""
        return int8_payload(self.weight.data, *self.payload_shape)

    @property
    def scales(self) -> Tensor:
        """The largest number of each row, in float32: what 127 of the payload stands for."""
        scales: Tensor = self.SCB.data if self.state.SCB is None else self.state.SCB
        return scales


class ShardableInt8Linear(ShardableInt8, Linear8bitLt):  # type: ignore[misc]
    """A frozen ``Linear8bitLt`` after loading, a row for each output; PEFT takes it for one."""

    @property
    def payload_shape(self) -> tuple[int, int]:
        return self.out_features, self.in_features

    @property
    def W_q(self) -> Tensor:  # noqa: N802
        """The payload. By this name, HQQ's, PEFT knows layers that it is to ask for their numbers, as DoRA does.

        It would else go by the parameter's class, and take a plain one for the numbers themselves (0.21.2
        utils/integrations.py ``dequantize_module_weight``).
        """
        return self.payload

    def dequantize(self) -> Tensor:
        """The weight as numbers in float32: the very ones that PEFT makes of bitsandbytes' own layer."""
        numbers: Tensor = bitsandbytes.functional.int8_vectorwise_dequant(self.payload, self.scales)
        return numbers

    def product(self, input: Tensor) -> Tensor:
        """``input @ weight.T``."""
        state = bitsandbytes.MatmulLtState()
        state.has_fp16_weights, state.threshold = False, self.state.threshold
        state.CB, state.SCB = self.payload, self.scales
        output: Tensor = bitsandbytes.matmul(input, state.CB, state=state)
        return output

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """Of the input, from that of the output."""
        return gradient @ int8_numbers(self.payload, self.scales, gradient.dtype)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = _FrozenMatmul.apply(x, self)  # type: ignore[no-untyped-call]
        return output if self.bias is None else output + self.bias.to(output.dtype)


class ShardableLinear4bit(Linear4bit):  # type: ignore[misc]
    """A frozen ``Linear4bit`` after loading; PEFT takes it for one."""

    def product(self, input: Tensor) -> Tensor:
        """``input @ weight.T + bias``; autograd sees nothing of it."""
        output: Tensor = Linear4bit.forward(self, input)
        return output

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """Of the input, from that of the output, in the type the layer computes in."""
        compute = self.compute_dtype or gradient.dtype
        weight: Tensor = bitsandbytes.functional.dequantize_4bit(self.weight.data, self.weight.quant_state).to(compute)
        return (gradient.to(compute) @ weight).to(gradient.dtype)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = _FrozenMatmul.apply(x, self)  # type: ignore[no-untyped-call]
        return output


def int8_payload(held: Tensor, rows: int, columns: int) -> Tensor:
    """The payload of a weight as it is held: itself, or its bytes end to end as :func:`shard_int8_as` lays them."""
    if held.dtype is torch.int8:
        return held
    return held.view(torch.int8)[: rows * columns].view(rows, columns)


def int8_numbers(payload: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """What an int8 weight stands for: payload times the scale of its row over 127, multiplied in float32."""
    return payload.to(dtype).mul_((scales / 127.0).unsqueeze(1))


def hold_int8_once(model: nn.Module) -> None:
    """Turn every loaded 8-bit layer of ``model`` into one that holds its weight once, as a plain parameter."""
    layers: list[Any] = [module for module in model.modules() if type(module) is Linear8bitLt]
    for module in layers:
        weight = module.weight
        payload = weight.CB if weight.CB is not None else weight.data
        scale = weight.SCB if weight.SCB is not None else module.state.SCB
        _turn_into(ShardableInt8Linear, module)
        module.weight = nn.Parameter(payload.detach(), requires_grad=False)
        module.state.CB, module.state.SCB = None, scale.detach()


def shard_int8_as(model: nn.Module, dtype: torch.dtype) -> None:
    """Make payload and scales of every int8 weight frozen parameters that a strategy shards and gathers; once.

    The payload's bytes are laid end to end and seen as ``dtype``, zeros after the last; they are never numbers of it.
    """
    for module in model.modules():
        if isinstance(module, ShardableInt8) and module.state.SCB is not None:
            payload = module.weight.data.reshape(-1)
            if missing := -payload.numel() % dtype.itemsize:
                payload = nn.functional.pad(payload, (0, missing))
            module.weight = nn.Parameter(payload.view(dtype), requires_grad=False)
            module.SCB = nn.Parameter(module.state.SCB, requires_grad=False)
            module.state.SCB = None


def look_4bit_up_again(model: nn.Module) -> None:
    """Turn every loaded 4-bit layer of ``model`` into one whose backward holds no weight."""
    for module in model.modules():
        if type(module) is Linear4bit:
            _turn_into(ShardableLinear4bit, module)


def _turn_into(kind: type[nn.Module], module: nn.Module) -> None:
    """Make ``module`` one of ``kind``, also where Accelerate's hooks, put on it over several devices, hold its forward.

    They keep that of the class it had when they came (accelerate 1.15.0 hooks.py ``add_hook_to_module``).
    """
    module.__class__ = kind
    if "_old_forward" in vars(module):
        module._old_forward = kind.forward.__get__(module)
