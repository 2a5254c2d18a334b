"""The files a run is launched from, as they stand in its directory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from engine.config.run_config import Compute
from qltui.configs.writing import run_yaml

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.events import RunDirectory

MIXED_PRECISION = {Compute.BF16: "bf16", Compute.FP16: "fp16", Compute.FP32: "no"}


def write_files(run: RunDirectory, config: RunConfig, ranks_per_node: int, on_gpu: bool) -> None:
    """Write ``run.yaml`` and ``accelerate.yaml``.

    Raises:
        OSError: the folder can't be written.
    """
    run.run_yaml.write_text(run_yaml(config), "utf-8")
    run.accelerate_yaml.write_text(accelerate_yaml(config, ranks_per_node, on_gpu), "utf-8")


def accelerate_yaml(config: RunConfig, ranks_per_node: int, on_gpu: bool) -> str:
    """The launch as Accelerate's own configuration file describes one.

    The engine's launcher does not read it: it is for those who start ``engine.train`` with ``accelerate launch``.
    """
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in accelerate(config, ranks_per_node, on_gpu).items())


def accelerate(config: RunConfig, ranks_per_node: int, on_gpu: bool) -> dict[str, Any]:
    """Its fields. ``precision.compute: auto`` is left to the engine, which asks the GPU; on CPU it is float32."""
    processes = ranks_per_node * config.hardware.nodes
    compute = config.precision.compute
    if compute is Compute.AUTO and not on_gpu:
        compute = Compute.FP32
    fields: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "debug": False,
        "distributed_type": "NO" if processes == 1 else "MULTI_GPU" if on_gpu else "MULTI_CPU",
        "enable_cpu_affinity": False,
        "machine_rank": 0,
        "main_training_function": "main",
        "num_machines": config.hardware.nodes,
        "num_processes": processes,
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": not on_gpu,
    }
    if compute is not Compute.AUTO:
        fields["mixed_precision"] = MIXED_PRECISION[compute]
    return dict(sorted(fields.items()))
