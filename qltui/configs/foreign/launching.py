"""What says how the processes are started: Accelerate, DeepSpeed and the launchers' own options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qltui.configs.foreign.keys import MIXED_PRECISION, flag, integer, mixed, number, positive, text
from qltui.configs.foreign.shared import OTHER, TRUE_FALSE, fsdp, micro_batch, precision, zero

if TYPE_CHECKING:
    from qltui.configs.foreign.keys import Keys

VENDORS = {
    "MULTI_GPU": None, "MULTI_CPU": "cpu", "MULTI_NPU": OTHER, "MULTI_XPU": "intel", "MULTI_MLU": OTHER,
    "MULTI_HPU": "intel_gaudi", "MULTI_SDAA": OTHER, "MULTI_MUSA": OTHER,
}  # fmt: skip
"""Accelerate's kinds of data parallelism, by whose devices they use; a GPU may be NVIDIA's or AMD's."""

IN_FILE = (
    "gradient_accumulation_steps", "gradient_clipping", "zero_stage", "offload_optimizer_device",
    "offload_param_device", "offload_param_nvme_path", "offload_optimizer_nvme_path", "zero3_save_16bit_model",
)  # fmt: skip
"""What Accelerate refuses beside ``deepspeed_config_file`` (1.15, utils/dataclasses.py _deepspeed_config_checks)."""


def accelerate(keys: Keys, *, as_options: bool = False) -> None:
    """Accelerate's YAML, or, ``as_options``, the options of ``accelerate launch``, which have no sections."""
    keys.say("launcher", "accelerate")
    keys.take("world_size", "num_processes", convert=positive)
    keys.take("nodes", "num_machines", convert=positive)
    value = keys.get("mixed_precision", mixed)
    keys.say("precision", value, "mixed_precision", {name: word for word, name in MIXED_PRECISION.items()})
    _strategy(keys, as_options=as_options)
    if keys.get("use_cpu", flag) or keys.get("cpu", flag):
        keys.say("gpu_vendor", "cpu", "use_cpu" if keys.has("use_cpu") else "cpu", {})
    elif keys.reading.values.get("gpu_vendor", "nvidia") == "nvidia":
        _spread(keys)
    backend = keys.get("dynamo_backend" if as_options else "dynamo_config.dynamo_backend", text)
    if backend:
        keys.say("compile", backend.lower() != "no", "dynamo_config.dynamo_backend", {})
    _parallelism(keys, "parallelism_config_" if as_options else "parallelism_config.parallelism_config_")


def _strategy(keys: Keys, *, as_options: bool) -> None:
    kind = keys.get("distributed_type", text, quiet=True)
    if keys.get("use_deepspeed", flag):
        kind = "DEEPSPEED"
    elif keys.get("use_fsdp", flag):
        kind = "FSDP"
    elif keys.get("multi_gpu", flag):
        kind = "MULTI_GPU"
    kind = (kind or "").upper()
    if kind == "DEEPSPEED":
        _deepspeed(keys, "" if as_options else "deepspeed_config.")
    elif kind == "FSDP":
        switch = "use_fsdp" if keys.has("use_fsdp") else "distributed_type"
        fsdp(keys, ("",) if as_options else ("fsdp_config.",), "fsdp1", switch)
        values, place = keys.reading.values, keys.reading.places.get("state_dict_type")
        if place:  # Accelerate hands it on as an environment variable too
            keys.say("state_dict_env", values["state_dict_type"], place.key, place.spelling)
    elif kind in VENDORS:
        keys.say("strategy", "ddp", "distributed_type" if keys.has("distributed_type") else "multi_gpu", {})
        keys.say("gpu_vendor", VENDORS[kind], "distributed_type", {})
    elif kind in ("NO", "FALSE") and keys.reading.values.get("world_size", 1) == 1:
        keys.say("strategy", "single", "distributed_type", {})
    elif kind and kind not in ("NO", "FALSE"):
        keys.say("strategy", OTHER, "distributed_type", {})


def _deepspeed(keys: Keys, section: str) -> None:
    devices = {"opt": f"{section}offload_optimizer_device", "params": f"{section}offload_param_device"}
    zero(keys, f"{section}zero_stage", devices)
    beside = [f"{section}{name}" for name in IN_FILE if keys.has(f"{section}{name}")]
    if keys.refer(f"{section}deepspeed_config_file") and beside and section:
        keys.say("ds_file_and_more", True, beside[0], {})
    keys.take("gradient_accumulation_steps", f"{section}gradient_accumulation_steps", convert=positive)
    keys.take("max_grad_norm", f"{section}gradient_clipping", convert=number)
    keys.choose("gather_16bit_on_save", f"{section}zero3_save_16bit_model", spelt=TRUE_FALSE)
    keys.choose("zero3_init", f"{section}zero3_init_flag", spelt=TRUE_FALSE)


def _spread(keys: Keys) -> None:
    """Every process has a GPU of its own."""
    values = keys.reading.values
    if "world_size" in values:
        keys.say("n_gpus", values["world_size"], "num_processes")
        if values["world_size"] % values.get("nodes", 1) == 0:
            keys.say("n_gpus_per_node", values["world_size"] // values.get("nodes", 1), "num_processes", {})


def _parallelism(keys: Keys, prefix: str) -> None:
    sizes = {name: keys.get(f"{prefix}{name}_size", integer) or 1 for name in ("cp", "sp", "tp", "dp_replicate")}
    if any(keys.names(prefix)):
        keys.use(prefix)
        keys.say("uses_parallelism_config", True, next(keys.names(prefix)), {})
    if sizes["cp"] > 1:
        keys.say("sequence_parallel", "cp", f"{prefix}cp_size", {})
    elif sizes["sp"] > 1:
        keys.say("sequence_parallel", "ulysses", f"{prefix}sp_size", {})


def deepspeed(keys: Keys, section: str = "") -> None:
    """DeepSpeed's JSON; ``section`` where it stands inside another file."""
    of_zero = f"{section}zero_optimization."
    devices = {"opt": f"{of_zero}offload_optimizer.device", "params": f"{of_zero}offload_param.device"}
    zero(keys, f"{of_zero}stage", devices)
    if keys.get(f"{of_zero}cpu_offload", flag, quiet=True):  # before 0.3.16
        keys.say("cpu_offload_opt", True, f"{of_zero}cpu_offload")
    micro_batch(keys, f"{section}train_micro_batch_size_per_gpu")
    keys.take("global_batch_size", f"{section}train_batch_size", convert=positive)
    keys.take("gradient_accumulation_steps", f"{section}gradient_accumulation_steps", convert=positive)
    keys.take("max_grad_norm", f"{section}gradient_clipping", convert=number)
    precision(keys, f"{section}bf16.enabled", f"{section}fp16.enabled")
    gathering = ("stage3_gather_16bit_weights_on_model_save", "gather_16bit_weights_on_model_save",
                 "stage3_gather_fp16_weights_on_model_save")  # fmt: skip
    keys.take("gather_16bit_on_save", *(f"{of_zero}{name}" for name in gathering), convert=flag)
    fetching = ("stage3_use_all_reduce_for_fetch_params", "use_all_reduce_for_fetch_params")
    keys.take("ds_use_all_reduce_fetch", *(f"{of_zero}{name}" for name in fetching), convert=flag)
    keys.take("ds_warmup_num_steps", f"{section}scheduler.params.warmup_num_steps", convert=integer)


def torchrun(keys: Keys, launcher: str) -> None:
    """Options of torchrun and of DeepSpeed's launcher: how many processes on how many nodes."""
    keys.say("launcher", launcher)
    nodes = keys.take("nodes", "nnodes", "num_nodes", convert=_fixed) or (None if keys.has("nnodes") else 1)
    each = keys.take("n_gpus_per_node", "nproc_per_node", "num_gpus", convert=_fixed)
    if nodes and each:
        place = next(key for key in ("nproc_per_node", "num_gpus") if keys.has(key))
        keys.say("world_size", nodes * each, place, None if nodes == 1 else {})
        keys.say("n_gpus", nodes * each, place, None if nodes == 1 else {})


def _fixed(value: object) -> int | None:
    """A number of processes or nodes, where it is one: not 'gpu', nor '1:4'."""
    return positive(value) if re.fullmatch(r"\d+", str(value)) else None
