"""One rank of int8 layers under FSDP2: ``python int8_rank.py FOLDER RANK RANKS``; writes ``FOLDER/RANK.json``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes
import torch
import torch.distributed as distributed
from bitsandbytes.nn import Linear8bitLt
from cells.ranks import leave
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from engine.audit import AuditFailure, WeightWatch, loaded_checksums
from engine.audit.sharding import copies_beside, held_bytes, whole_bytes
from engine.events import write_json
from engine.quantized_linear import ShardableInt8Linear, hold_int8_once, shard_int8_as

NOT_NUMBERS = [1, 0, -96, 127, 1, 0, -64, 127]
"""Payload bytes that, seen as float32, are a signalling NaN and a quiet one with a payload of its own."""


def main() -> None:
    folder, rank, ranks = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    # In training on CPU bitsandbytes dequantises and knows no threshold; this way it computes as on GPUs.
    bitsandbytes.MatmulLtState.is_training = False
    write_json(folder / f"{rank}.json", said(rank, ranks))
    distributed.destroy_process_group()
    leave(0)  # threads of libraries would end the process as crashed, now and then


def said(rank: int, ranks: int) -> dict[str, Any]:
    model, input = layers(), inputs()
    loaded = loaded_checksums(model)
    before = computed(model, input)
    without_outliers = computed(model, input, threshold=0.0)
    numbers = [layer.dequantize() for layer in int8_of(model)]

    shard_int8_as(model, torch.float32)
    mesh = init_device_mesh("cpu", (ranks,))
    for part in (*model, model):
        fully_shard(part, mesh=mesh)
    after = computed(model, input)
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    return {
        "same": [torch.equal(one, other) for one, other in zip(before, after, strict=True)],
        "outliers_count": not torch.equal(before[0], without_outliers[0]),
        "types": sorted({str(one.dtype) for one in frozen}),
        "share": [(held_bytes(one), whole_bytes(one)) for one in frozen],
        "copies": len(copies_beside(model)),
        "numbers_kept": numbers_kept(model, numbers),
        "weights": watched(model, loaded, input),
        "flipped": damaged(model, loaded, input, rank, lambda layer: layer.weight, flip_first_byte),
        "scales": damaged(model, loaded, input, rank, lambda layer: layer.SCB, swap_first_two),
    }


def layers() -> nn.Sequential:
    """Two int8 layers with what is trained between them. Of the second neither rows nor bytes divide evenly."""
    torch.manual_seed(0)
    wide = Linear8bitLt(64, 33, has_fp16_weights=False, threshold=6.0)
    odd = Linear8bitLt(33, 65, bias=False, has_fp16_weights=False, threshold=6.0)
    model = nn.Sequential(wide, nn.Linear(33, 33), odd).to("cpu")
    for layer in (wide, odd):
        layer.requires_grad_(False)
    hold_int8_once(model)
    wide.weight.data.view(-1)[: len(NOT_NUMBERS)] = torch.tensor(NOT_NUMBERS, dtype=torch.int8)
    return model


def inputs() -> Tensor:
    """With a feature far above the threshold."""
    input = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    input[:, 7] *= 30
    return input


def int8_of(model: nn.Module) -> list[ShardableInt8Linear]:
    return [module for module in model.modules() if isinstance(module, ShardableInt8Linear)]


def computed(model: nn.Module, input: Tensor, *, threshold: float = 6.0) -> list[Tensor]:
    """Output, and the gradient of the input."""
    for layer in int8_of(model):
        layer.state.threshold = threshold
    leaf = input.clone().requires_grad_()
    output = model(leaf)
    output.square().sum().backward()
    assert leaf.grad is not None
    return [output.detach(), leaf.grad]


def numbers_kept(model: Any, numbers: list[Tensor]) -> bool:
    """Whether DoRA would read the same numbers of gathered layers."""
    for part in (model, *model):
        part.unshard()
    kept = all(torch.equal(layer.dequantize(), known) for layer, known in zip(int8_of(model), numbers, strict=True))
    for part in (model, *model):
        part.reshard()
    return kept


def watched(model: nn.Module, loaded: dict[str, int], input: Tensor) -> str | None:
    """What the weight audit says of a forward pass."""
    watch = WeightWatch(model, loaded)
    watch.arm()
    model(input)
    try:
        return watch.verify()
    except AuditFailure as failure:
        return str(failure)


def damaged(
    model: nn.Module, loaded: dict[str, int], input: Tensor, rank: int,
    choose: Callable[[Any], Any], change: Callable[[Tensor], None],
) -> str | None:  # fmt: skip
    """What the weight audit says after the last rank's part of a layer was changed; it is changed back."""
    part = choose(int8_of(model)[0]).to_local()
    if last := rank == distributed.get_world_size() - 1:
        change(part)
    told = watched(model, loaded, input)
    if last:
        change(part)
    return told


def flip_first_byte(part: Tensor) -> None:
    part.view(torch.uint8)[0] ^= 1


def swap_first_two(part: Tensor) -> None:
    part[:2] = part[:2].flip(0)


if __name__ == "__main__":
    main()
