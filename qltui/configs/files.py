"""The files a run is launched from, as they stand in its directory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from engine.config.choices import Compute
from engine.config.deepspeed import STAGES, deepspeed_config
from engine.config.ranks import compute_type
from qltui.configs.model_files import hidden_size
from qltui.configs.writing import run_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.config import RunConfig
    from engine.events import RunDirectory
    from qltui.facts.gpus import Gpu

MIXED_PRECISION = {Compute.BF16: "bf16", Compute.FP16: "fp16", Compute.FP32: "no"}


def write_files(run: RunDirectory, config: RunConfig, ranks_per_node: int, gpus: Sequence[Gpu]) -> None:
    """Write the files of a run that takes ``gpus`` of this machine; without any its ranks compute on CPU.

    Raises:
        OSError: the folder can't be written.
    """
    for name, text in file_texts(config, ranks_per_node, gpus).items():
        (run.path / name).write_text(text, "utf-8")


def file_texts(config: RunConfig, ranks_per_node: int, gpus: Sequence[Gpu]) -> dict[str, str]:
    """The text of each file :func:`write_files` writes, by name."""
    compute = _compute(config, gpus)
    texts = {"run.yaml": run_yaml(config), "accelerate.yaml": accelerate_yaml(config, ranks_per_node, gpus, compute)}
    if (text := deepspeed_json(config, compute)) is not None:
        texts["deepspeed.json"] = text
    return texts


def _compute(config: RunConfig, gpus: Sequence[Gpu]) -> Compute:
    """The precision the ranks will compute in; AUTO if a GPU's driver does not tell what it can."""
    capabilities = [gpu.capability[0] for gpu in gpus if gpu.capability]
    if len(capabilities) < len(gpus):
        return config.precision.compute
    return compute_type(config, capabilities)


def deepspeed_json(config: RunConfig, compute: Compute) -> str | None:
    """What DeepSpeed is given; None under other strategies, and where the engine alone will know what it depends on.

    The engine makes it again from ``run.yaml``, the loaded model and the GPU: this is for people to read, and for other
    programs.
    """
    if config.strategy.name not in STAGES or compute is Compute.AUTO:
        return None
    hidden = hidden_size(config.model.path, config.model.revision)
    return None if hidden is None else json.dumps(deepspeed_config(config, compute, hidden), indent=2) + "\n"


def accelerate_yaml(config: RunConfig, ranks_per_node: int, gpus: Sequence[Gpu], compute: Compute) -> str:
    """The launch as Accelerate's own configuration file describes one.

    The engine's launcher does not read it: it is for those who start ``engine.train`` with ``accelerate launch``.
    """
    comment = (
        "# Starts the ranks: accelerate launch --config_file accelerate.yaml --module engine.train FOLDER\n"
        f"# The strategy, {config.strategy.name.value}, is not Accelerate's to set up: the ranks do it by run.yaml.\n"
    )
    fields = accelerate(config, ranks_per_node, gpus, compute)
    return comment + "".join(f"{key}: {json.dumps(value)}\n" for key, value in fields.items())


def accelerate(config: RunConfig, ranks_per_node: int, gpus: Sequence[Gpu], compute: Compute) -> dict[str, Any]:
    """Its fields: how ranks are started. They shard by themselves, so fsdp2 and ZeRO are no types of launch here.

    MULTI_GPU is the type that starts a process a rank, ranks on CPU too: MULTI_CPU starts a single one unless there is
    MPI (accelerate 1.15.0 commands/launch.py ``simple_launcher``).
    """
    processes = ranks_per_node * config.hardware.nodes
    fields: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "debug": False,
        "distributed_type": "NO" if processes == 1 else "MULTI_GPU",
        "enable_cpu_affinity": False,
        "machine_rank": 0,
        "main_process_port": 0,  # a free one
        "main_training_function": "main",
        "num_machines": config.hardware.nodes,
        "num_processes": processes,
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": not gpus,
    }
    if gpus:
        fields["gpu_ids"] = ",".join(gpu.uuid for gpu in gpus)
    if compute is not Compute.AUTO:
        fields["mixed_precision"] = MIXED_PRECISION[compute]
    return dict(sorted(fields.items()))
