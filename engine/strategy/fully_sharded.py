"""torch's FSDP2: every rank holds a part of every weight and gathers a layer at a time.

The model is sharded with ``fully_shard`` itself rather than through Accelerate, whose preparation leaves integer 4-bit
weights unsharded, needs other ranks than CPU ones, and casts packed bytes by value (accelerate 1.15.0
utils/fsdp_utils.py ``fsdp2_prepare_model``).
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard

from engine.collective import world
from engine.config import Method
from engine.parameters import trainable
from engine.quantized_linear import shard_int8_as
from engine.strategy.base import DTYPES, Strategy, blocks
from engine.strategy.cpu_ranks import check_tested

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from engine.config import RunConfig
    from engine.strategy.base import MakeOptimizer, See


class FullySharded(Strategy):
    """FSDP2 over all ranks; a group each for decoder layers, embeddings and head, the rest in the root's."""

    shards_parameters = True
    shards_optimizer = True

    def __init__(self, config: RunConfig, *, tracking_folder: str) -> None:
        super().__init__(config, tracking_folder=tracking_folder)
        if self.device.type == "cpu":
            check_tested("fsdp2", "torch")

    @property
    def packed_dtype(self) -> torch.dtype:
        """float32: the one type that FSDP2 of every supported torch shards and moves bit by bit.

        On CUDA its copy into the gather buffer rewrites NaN patterns of 16-bit types, which packed bytes contain;
        integer parameters are refused by torch 2.11.
        """
        return torch.float32

    def place(self, model: nn.Module, see: See) -> None:
        root: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
        sharded: dict[str, Any] = {
            "mesh": init_device_mesh(self.device.type, (world()[1],)),
            "mp_policy": self._mixed_precision(),
            "offload_policy": CPUOffloadPolicy() if self.config.strategy.offload_parameters else OffloadPolicy(),
        }
        head = root.get_output_embeddings()
        *layers, rest = blocks(root)
        for block in (*layers, *_ends(root, layers), rest):
            self.settle(block)
            see(block)
            shard_int8_as(block, self.packed_dtype)
            # Backward begins with the head, so it stays whole after forward.
            own: dict[str, Any] = {"reshard_after_forward": False} if block is head else {}
            fully_shard(block, **sharded, **own)
        embeddings: nn.Module = root.get_input_embeddings()
        first: Any = layers[0] if layers else None
        if first is not None and not any(weight.requires_grad for weight in embeddings.parameters()):
            # Else backward would gather frozen embeddings beside the first layer, for nothing.
            first.set_modules_to_backward_prefetch([first])

    def prepare(self, model: nn.Module, make_optimizer: MakeOptimizer) -> None:
        self.model = self.unwrapped = model
        self.optimizer = self.accelerator.prepare(make_optimizer(list(trainable(model).values())))

    def _mixed_precision(self) -> MixedPrecisionPolicy:
        """A casting policy only where every weight is trained: it would rewrite packed bytes by value."""
        if self.config.method.name is Method.FULL:
            return MixedPrecisionPolicy(param_dtype=DTYPES[self.compute], reduce_dtype=torch.float32)
        return MixedPrecisionPolicy()

    @contextlib.contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Gradients are reduced with every micro batch: kept for the last, each rank would hold all of them whole."""
        yield

    def expected_bytes(self, parameter: nn.Parameter) -> int:
        return _share(parameter) * parameter.element_size()

    def _optimizer_share(self, trained: list[nn.Parameter]) -> int:
        return sum(_share(parameter) for parameter in trained)


def _ends(root: Any, layers: list[nn.Module]) -> list[nn.Module]:
    """Embeddings and head, which the root would keep whole from forward to backward.

    Not where they share a weight, or are a part of one of the layers, as BERT's are.
    """
    ends = [end for end in (root.get_input_embeddings(), root.get_output_embeddings()) if end is not None]
    users = Counter(parameter for module in root.modules() for parameter in module.parameters(recurse=False))
    inside = {module for layer in layers for module in layer.modules()}
    return [end for end in ends if end not in inside and all(users[weight] == 1 for weight in end.parameters())]


def _share(parameter: nn.Parameter) -> int:
    """Numbers of this rank's part of a parameter that is cut along its first dimension into equal parts."""
    rows = parameter.shape[0] if parameter.dim() else 1
    return math.ceil(rows / world()[1]) * (parameter.numel() // max(rows, 1))
