"""Whether what offload puts into host memory has room there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.run_config import Compute, Method, StrategyName
from engine.config.schema import Problem
from qltui.configs import hub
from qltui.configs.model_files import count_parameters
from qltui.facts import host

if TYPE_CHECKING:
    from engine.config import RunConfig

BYTES_PER_WEIGHT = {Method.FULL: 2.0, Method.LORA: 2.0, Method.QLORA: 0.5, Method.INT8: 1.0}
"""In host memory; 16-bit ones take twice that where float32 is computed in."""

OPTIMIZER_BYTES_PER_WEIGHT = 12
"""float32 weights and Adam's two moments. Adapters' are too few to count."""


def check_host_memory(config: RunConfig) -> list[Problem]:
    """A problem if offload needs more than there is; a model that was not fetched yet is not judged.

    The need is a lower bound: embeddings, which are not quantised, and buffers come on top.
    """
    offload = config.strategy
    if not (offload.offload_parameters or offload.offload_optimizer):
        return []
    folder = hub.model_folder(config.model.path, config.model.revision)
    if folder is None:
        return []
    try:
        needed = offloaded_bytes(config, count_parameters(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return []  # weights that cannot be read are told where the model is checked
    _, available = host.memory()
    if needed <= available:
        return []
    field = "strategy.offload_parameters" if offload.offload_parameters else "strategy.offload_optimizer"
    message = f"would put at least {_gib(needed)} into host memory, and {_gib(available)} are free."
    return [Problem("", field, message, "Turn it off and use more GPUs, choose qlora, or free some memory.")]


def offloaded_bytes(config: RunConfig, parameters: int) -> int:
    """Bytes that go to host memory on a node, over all its ranks, of a model with so many parameters."""
    method, offload = config.method.name, config.strategy
    under_fsdp2 = offload.name is StrategyName.FSDP2
    total = 0.0
    full_on_host = method is Method.FULL and (offload.offload_optimizer or under_fsdp2)
    if full_on_host:
        total += parameters * OPTIMIZER_BYTES_PER_WEIGHT
    if offload.offload_parameters and not (full_on_host and under_fsdp2):  # there the float32 weights are the weights
        wide = config.precision.compute is Compute.FP32 and method in (Method.FULL, Method.LORA)
        total += parameters * BYTES_PER_WEIGHT[method] * (2 if wide else 1)
    return int(total)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
