"""8-bit linear layers whose weight is a plain parameter, so that it can be sharded and gathered.

bitsandbytes' own layer keeps the int8 weight a second time in its state, and its backward a third one that was gathered
in forward: partitioned, it would save nothing (bitsandbytes 0.50.2 nn/modules.py ``Linear8bitLt``,
autograd/_functions.py ``MatMul8bitLt``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bitsandbytes
import torch
from bitsandbytes.nn import Linear8bitLt
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.autograd.function import FunctionCtx


class _Int8Matmul(torch.autograd.Function):
    """``input @ weight.T`` with bitsandbytes' kernels, the weight looked up at its module again in backward."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, module: ShardableInt8Linear) -> Tensor:
        ctx.module = module
        state = bitsandbytes.MatmulLtState()
        state.has_fp16_weights, state.threshold = False, module.state.threshold
        state.CB, state.SCB = module.weight.data, module.state.SCB
        output: Tensor = bitsandbytes.matmul(input, module.weight.data, state=state)
        return output

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        module: ShardableInt8Linear = ctx.module  # type: ignore[attr-defined]
        return gradients[0] @ module.dequantized(gradients[0].dtype), None


class ShardableInt8Linear(Linear8bitLt):  # type: ignore[misc]
    """A frozen ``Linear8bitLt`` after loading; PEFT takes it for one."""

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """The weight as numbers: payload times the scale of its row over 127."""
        numbers: Tensor = self.weight.data.to(dtype) * (self.state.SCB / 127.0).to(dtype).unsqueeze(1)
        return numbers

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = _Int8Matmul.apply(x, self)  # type: ignore[no-untyped-call]
        return output if self.bias is None else output + self.bias.to(output.dtype)


def make_shardable(model: nn.Module) -> None:
    """Turn every loaded 8-bit layer of ``model`` into one that holds its weight once, as a plain parameter."""
    layers: list[Any] = [module for module in model.modules() if type(module) is Linear8bitLt]
    for module in layers:
        weight = module.weight
        payload = weight.CB if weight.CB is not None else weight.data
        scale = weight.SCB if weight.SCB is not None else module.state.SCB
        module.__class__ = ShardableInt8Linear
        module.weight = nn.Parameter(payload.detach(), requires_grad=False)
        module.state.CB, module.state.SCB = None, scale.detach()
