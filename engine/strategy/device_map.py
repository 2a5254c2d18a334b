"""Which GPU holds which part of a model whose layers lie on several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D

from engine.config.layer_split import Ends, LayerSize, layer_bytes, layers_by_device
from engine.errors import BadInput
from engine.strategy.base import sharding_units
from engine.waiting_experts import fused_experts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.config import RunConfig


def spread(model: Any, config: RunConfig, capacities: list[int], width: int) -> dict[str, int]:
    """The number of the GPU by the name of the part, of a model that has no numbers yet.

    What comes before the layers is on the first GPU, and what has no weights; what comes after them is on the last, but
    for a head that shares the embeddings' weight.

    Args:
        capacities: bytes of each GPU.
        width: bytes of a number computed with.

    Raises:
        BadInput: a GPU cannot hold the weights it would get.
    """
    layers = layers_of(model)
    sizes = {layer: size_of(layer) for layer in layers}
    ends = ends_of(model)
    counts = layers_by_device(config, list(sizes.values()), ends, len(capacities), width)
    of_layers = iter([gpu for gpu, count in enumerate(counts) for _ in range(count)])
    last = len(capacities) - 1
    places: dict[str, int] = {}
    held = [0] * len(capacities)
    reached = False
    for name, part in parts(model, set(layers)):
        if part in sizes:
            reached = True
            gpu = next(of_layers)
            held[gpu] += layer_bytes(config, sizes[part], width)
        else:
            weights = [] if part is None else list(part.parameters())
            shared = ends.tied and part is model.get_output_embeddings()
            gpu = last if reached and weights and not shared else 0
            held[gpu] += 0 if shared else sum(weight.numel() for weight in weights) * width
        places[name] = gpu
    for gpu, (taken, room) in enumerate(zip(held, capacities, strict=True)):
        if taken > room:
            raise BadInput(
                f"strategy.name: GPU {gpu} of {len(capacities)} would hold {taken / 2**30:.1f} GiB of weights and has"
                f" {room / 2**30:.1f}; use more GPUs, qlora, or fsdp2 with offload.",
                "cuda_oom",
            )
    return places


def parts(module: nn.Module, layers: set[nn.Module], name: str = "") -> Iterator[tuple[str, nn.Module | None]]:
    """(name, part) in the order of their definition: layers, modules that hold none, and numbers beside modules."""
    for own, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
        yield f"{name}{own}", None
    for own, child in module.named_children():
        if child in layers or layers.isdisjoint(child.modules()):
            yield f"{name}{own}", child
        else:
            yield from parts(child, layers, f"{name}{own}.")


def layers_of(model: Any) -> list[nn.Module]:
    """The layers of the stack, in their order."""
    units = sharding_units(model)
    return [unit for unit in units if isinstance(unit, GradientCheckpointingLayer)] or units


def size_of(layer: nn.Module) -> LayerSize:
    """A layer's numbers by what is done with them."""
    linears = [module for module in layer.modules() if isinstance(module, nn.Linear | Conv1D)]
    quantizable = sum(linear.weight.numel() for linear in linears)
    quantizable += sum(getattr(module, name).numel() for module, name in fused_experts(layer))
    others = sum(parameter.numel() for parameter in layer.parameters()) - quantizable
    return LayerSize(quantizable, others, sum(sum(linear.weight.shape) for linear in linears))


def ends_of(model: Any) -> Ends:
    """Embeddings and head."""
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head is not None and head.weight is embeddings.weight
    return Ends(
        embeddings=embeddings.weight.numel(), head=0 if tied or head is None else head.weight.numel(),
        vocabulary=embeddings.weight.shape[0], hidden_size=model.config.get_text_config().hidden_size, tied=tied,
    )  # fmt: skip
