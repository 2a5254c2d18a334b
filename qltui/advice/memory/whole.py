"""Bytes of a model as a whole, however it is spread: its weights as a method keeps them, and a checkpoint of a run."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from engine.config.choices import Compute, Method
from engine.config.run_config import build
from qltui.advice.memory.held import FLOAT32, Job, scale_bytes

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig
    from qltui.facts.architecture import Architecture

SAVED = 3 * FLOAT32
"""Of a trained weight: it and its two moments, in float32 whatever the optimizer keeps."""


@lru_cache(maxsize=64)
def weight_bytes(architecture: Architecture, method: Method, *, double_quantization: bool = True) -> int:
    """Of all weights with their scales; those of a plain model are in 16 bit."""
    kept = Method.LORA if method is Method.FULL else method
    values = {"method.name": kept, "method.quantization.double_quantization": double_quantization}
    config = build({"model.path": "any", "data.path": "any", **values})
    job = Job(config=config, architecture=architecture, compute=Compute.BF16, world_size=1)
    return sum(job.weights) + scale_bytes(job)


def checkpoint_bytes(config: RunConfig, architecture: Architecture) -> int:
    """Of one checkpoint of a run of ours: what is trained, with its moments."""
    return Job(config=config, architecture=architecture, compute=Compute.BF16, world_size=1).trained * SAVED
