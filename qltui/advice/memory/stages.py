"""What each GPU has of a model whose layers lie on several: a model of its own, with some of the layers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from engine.config.choices import Checkpointing
from engine.config.layer_split import Ends, LayerSize, layers_by_device
from engine.config.quick_msgspec import msgspec
from qltui.advice.memory.held import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.config.run_config import RunConfig
    from qltui.facts.architecture import Architecture
    from qltui.facts.models.shape import Layer


def stages(job: Job) -> Iterator[Job]:
    """The job of each GPU in their order, equal ones once: its layers, and on the outer ones what is beside them."""
    architecture = job.architecture
    counts = split_of(job.config, architecture, job.gpus, job.width)
    seen, begun = set(), 0
    for gpu, count in enumerate(counts):
        part = _part(architecture, begun, count, gpu == 0, gpu == len(counts) - 1)
        recomputed = min(max(job.checkpointed - begun, 0), count)
        begun += count
        if (part, recomputed) not in seen:
            seen.add((part, recomputed))
            training = msgspec.structs.replace(
                job.config.training, gradient_checkpointing=recomputed or Checkpointing.NONE
            )  # fmt: skip
            config = msgspec.structs.replace(job.config, training=training)
            yield Job(config, part, job.compute, job.world_size, 1, job.tokens, job.same_lengths)


def split_of(config: RunConfig, architecture: Architecture, gpus: int, width: int) -> tuple[int, ...]:
    """How many layers each GPU takes, as the engine will place them (engine/strategy/device_map.py)."""
    return layers_by_device(config, _sizes(architecture), _ends(architecture), gpus, width)


@lru_cache(maxsize=64)
def _sizes(architecture: Architecture) -> tuple[LayerSize, ...]:
    return tuple(size for count, layer in architecture.layers for size in [_size(layer)] * count)


def _size(layer: Layer) -> LayerSize:
    modules = [linear for linear in layer.linears if linear.module]
    quantizable = sum(linear.inputs * linear.outputs * linear.matrices for linear in modules) + layer.fused
    features = sum((linear.inputs + linear.outputs) * linear.matrices for linear in modules)
    return LayerSize(quantizable, layer.parameters - quantizable, features)


def _ends(architecture: Architecture) -> Ends:
    return Ends(
        architecture.vocabulary * architecture.hidden_size, architecture.head, architecture.vocabulary,
        architecture.hidden_size, architecture.tied,
    )  # fmt: skip


@lru_cache(maxsize=512)
def _part(architecture: Architecture, begun: int, count: int, first: bool, last: bool) -> Architecture:
    """The layers from ``begun`` on, with what comes before them on the ``first`` GPU and after them on the ``last``."""
    has_head = first if architecture.tied else last
    layers, place = [], 0
    for length, layer in architecture.layers:
        inside = min(place + length, begun + count) - max(place, begun)
        place += length
        if inside > 0:
            layers.append((inside, layer))
    return architecture._replace(
        layers=tuple(layers),
        embeddings=architecture.embeddings if first else 0,
        vision=architecture.vision if first else 0,
        tied=architecture.tied and first,
        head=architecture.head if has_head else 0,
        vocabulary=architecture.vocabulary if has_head else 0,
        other=architecture.other if last else 0,
        outside=architecture.outside if last else (),
    )
