"""A training described in another program's files, as a run of ours: near enough to plan its memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.reading import read
from engine.config.schema import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.config.run_config import RunConfig

METHODS = {"full": "full", "lora": "lora", "qlora4": "qlora", "int8": "int8"}
STRATEGIES = {
    "single": "single", "ddp": "ddp", "pipeline": "pipeline", "fsdp1": "fsdp2", "fsdp2": "fsdp2", "zero1": "zero1",
    "zero2": "zero2", "zero3": "zero3",
}  # fmt: skip
COMPUTE = {"bf16": "bf16", "fp16": "fp16", "fp32": "fp32"}
SAME = {
    "model": "model.path", "max_length": "data.max_length", "micro_batch_size": "training.micro_batch_size",
    "gradient_accumulation_steps": "training.gradient_accumulation_steps", "lora_rank": "method.lora.rank",
    "cpu_offload_params": "strategy.offload_parameters", "cpu_offload_opt": "strategy.offload_optimizer",
    "dora": "method.lora.use_dora",
}  # fmt: skip
"""Names of the rules and the fields that mean the same."""


def as_run(values: Mapping[str, Any], ranks: int) -> RunConfig | None:
    """A RunConfig for the memory plan, on ``ranks`` GPUs; None where no model or method is said, or none of ours.

    Where nothing says how the work is spread over several GPUs, it is data-parallel, as launchers do it.
    """
    if not isinstance(values.get("model"), str) or values.get("method") not in METHODS:
        return None
    strategy = STRATEGIES.get(values.get("strategy", ""), "ddp" if ranks > 1 else "single")
    converted: dict[str, Any] = {
        "data.path": "unknown.jsonl", "method.name": METHODS[values["method"]], "strategy.name": strategy,
        "precision.compute": COMPUTE.get(values.get("precision", ""), "auto"),
        "training.gradient_checkpointing": "none" if values.get("gc", "none") == "none" else "all",
        "training.loss": "full",  # fused ones are not planned (qltui/advice/fitting_others.py)
        "training.optimizer": "adamw_8bit" if "8bit" in str(values.get("optim", "")) else "adamw",
    }  # fmt: skip
    converted |= {field: values[name] for name, field in SAME.items() if values.get(name) is not None}
    if strategy == "fsdp2" and converted.get("strategy.offload_parameters"):
        converted["strategy.offload_optimizer"] = True
    try:
        return read(converted, where="the files", base=Path("/"))
    except ConfigError:
        return None
