"""All that can be known to be wrong with a run before it is launched, without torch: files, machine, combinations."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config.cells import ZERO, refused
from engine.config.formats import (
    FILE_FORMATS,
    MAPPING_EXAMPLE,
    ROW_FORMATS,
    detect,
    format_problem,
    row_problem,
    wanted,
)
from engine.config.ranks import BF16_CAPABILITY, ONE_RANK, gpus_per_node, ranks_per_node, uses_gpu
from engine.config.run_config import Attention, Compute, DataFormat, Device, Method, Optimizer, StrategyName, get
from engine.config.schema import Problem
from qltui.configs.data_files import Sample, UnusableData, read_sample
from qltui.configs.host_memory import check_host_memory
from qltui.configs.model_files import check_model, missing
from qltui.facts import gpus

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig


def check(config: RunConfig) -> list[Problem]:
    """Every problem that can be known now; empty if the run may be launched. Reads files and the GPU driver only."""
    return [*refused(config), *_check_hardware(config), *check_files(config)]


def check_files(config: RunConfig) -> list[Problem]:
    """What is wrong with what the run needs to find: packages, model, data, the run it continues."""
    problems = _check_packages(config)
    problems += _check_parent(config)
    problems += check_model(config.model.path, config.model.tokenizer)
    if format_flaw := format_problem(config.data.format, config.model.task):
        problems.append(Problem("", "data.format", f"{format_flaw}."))
    else:
        problems += _check_data(config.data.path, "data.path", config)
        if config.data.eval_path is not None:
            problems += _check_data(config.data.eval_path, "data.eval_path", config)
    template = config.data.chat_template
    if template is not None and not Path(template).is_file():
        problems.append(Problem(template, "data.chat_template", "there is no such file."))
    return problems


def _check_hardware(config: RunConfig) -> list[Problem]:
    wanted_device = config.hardware.device
    visible = [] if wanted_device is Device.CPU else gpus.visible_gpus()
    if wanted_device is Device.CUDA and not visible:
        message = "cuda is asked for, but this machine shows no NVIDIA GPU."
        return [Problem("", "hardware.device", message, "Set it to cpu, or check the driver with `qltui doctor`.")]
    problems = []
    for name in config.hardware.gpus:
        if gpus.find(name, visible) is None:
            there = ", ".join(str(gpu.number) for gpu in visible) or "none"
            problems.append(Problem("", "hardware.gpus", f"there is no GPU {name}.", f"This machine shows: {there}."))
    ranks = config.hardware.ranks_per_node
    strategy = config.strategy.name
    if strategy in ONE_RANK and (ranks or 1) > 1:
        problems.append(Problem("", "strategy.name", f"{strategy.value} runs one rank, not {ranks}; choose ddp."))
    if uses_gpu(config, len(visible)):
        named = [gpu for name in config.hardware.gpus if (gpu := gpus.find(name, visible))]
        usable = len(config.hardware.gpus) or len(visible)
        return (
            problems + _check_gpus(config, usable) + _check_bf16(config, named or visible) + check_host_memory(config)
        )
    return problems + _check_cpu_ranks(config)


def _check_gpus(config: RunConfig, usable: int) -> list[Problem]:
    """What the number of GPUs rules out."""
    if config.strategy.name is StrategyName.PIPELINE and usable < 2:
        message = f"pipeline spreads layers over GPUs, and there is {usable}."
        return [Problem("", "strategy.name", message, "Use single, or two GPUs or more.")]
    ranks = ranks_per_node(config, usable)
    if ranks <= usable:
        return []
    message = f"{ranks} ranks want a GPU each, and there are {usable}."
    remedy = "Set it to that or less, or leave it empty; set hardware.device=cpu for CPU ranks."
    return [Problem("", "hardware.ranks_per_node", message, remedy)]


def _check_bf16(config: RunConfig, usable: list[gpus.Gpu]) -> list[Problem]:
    """Whether the GPUs compute bf16, if it is asked for; by capability, since torch says yes where it is emulated."""
    used = usable[: gpus_per_node(config, len(usable))]
    lacking = [gpu for gpu in used if gpu.capability and gpu.capability[0] < BF16_CAPABILITY]
    if config.precision.compute is not Compute.BF16 or not lacking:
        return []
    message = f"GPU {lacking[0].number} ({lacking[0].name}) computes no bf16."
    return [Problem("", "precision.compute", message, "Use fp16 or auto, or name other GPUs in hardware.gpus.")]


def _check_cpu_ranks(config: RunConfig) -> list[Problem]:
    """What needs a GPU, where there is none or CPU ranks are asked for."""
    problems = []
    if config.strategy.name is StrategyName.PIPELINE:
        message = "pipeline spreads layers over GPUs, and the ranks compute on CPU."
        problems.append(Problem("", "strategy.name", message, "Use single, or fsdp2 or zero3 to split the weights."))
    for field in ("strategy.offload_optimizer", "strategy.offload_parameters"):
        if get(config, field):
            message = "the ranks compute on CPU, where there is no GPU memory to offload from."
            problems.append(Problem("", field, message, "Turn it off."))
    if config.precision.compute is Compute.FP16:
        problems.append(Problem("", "precision.compute", "fp16 needs a GPU; use fp32 or bf16 on CPU ranks."))
    if config.model.attention is Attention.FLASH_ATTENTION_2:
        problems.append(Problem("", "model.attention", "flash_attention_2 needs a GPU; use sdpa or auto."))
    if config.training.optimizer is Optimizer.PAGED_ADAMW_8BIT:
        message = "paged_adamw_8bit needs a GPU; use adamw_8bit on CPU ranks."
        problems.append(Problem("", "training.optimizer", message))
    if config.method.name is Method.INT8 and config.method.lora.use_dora:
        message = "DoRA on int8 weights needs a GPU; turn it off, or use qlora on CPU ranks."
        problems.append(Problem("", "method.lora.use_dora", message))
    return problems


def _check_packages(config: RunConfig) -> list[Problem]:
    needed = [("tracking.report_to", tracker.value, tracker.value) for tracker in config.tracking.report_to]
    if config.model.attention is Attention.FLASH_ATTENTION_2:
        needed.append(("model.attention", "flash_attn", "flash-attn"))
    if config.strategy.name in ZERO:
        needed.append(("strategy.name", "deepspeed", "deepspeed"))
    return [
        Problem("", field, f"needs the package {package}, which is not installed.", f"Run: pip install {package}")
        for field, module, package in needed
        if importlib.util.find_spec(module) is None
    ]


def _check_parent(config: RunConfig) -> list[Problem]:
    if config.parent is None:
        return []
    from qltui.runs import store

    try:
        store.find_parent(config.parent)
    except store.RunNotFound as error:
        return [Problem("", "parent", str(error))]
    return []


def _check_data(name: str, field: str, config: RunConfig) -> list[Problem]:
    path = Path(name)
    if not path.exists():
        return missing(name, field, "dataset")
    endings = f"Give one file: {', '.join(FILE_FORMATS)}."
    if path.is_dir():
        files = (file for pattern in ("*", "*/*") for file in path.glob(pattern))
        if any(file.suffix.lower() in FILE_FORMATS for file in files):
            return []  # a data set as the hub lays it out; which of the files count, only ``datasets`` knows
        return [Problem(name, field, "is a folder without data files.", endings)]
    builder = FILE_FORMATS.get(path.suffix.lower())
    if builder is None:
        ending = f"its ending {path.suffix!r} says" if path.suffix else "it has no ending that says"
        return [Problem(name, field, f"{ending} no format that can be read.", endings)]
    try:
        sample = read_sample(path, builder)
    except UnusableData as error:
        return [Problem(_place(name, error.line), field, error.message, error.remedy)]
    return _check_rows(sample, name, field, config)


def _check_rows(sample: Sample, name: str, field: str, config: RunConfig) -> list[Problem]:
    data, task = config.data, config.model.task
    row_format = data.format if data.format is not DataFormat.AUTO else detect(sample.columns, data.columns, task)
    if row_format is None:
        message = f"its columns ({', '.join(sample.columns)}) fit no format that is known."
        remedy = (
            f"Wanted is one of {wanted(task)}. Columns of other names: --set data.columns='{MAPPING_EXAMPLE[task]}'."
        )
        return [Problem(name, field, message, remedy)]
    if mapping_problem := _check_mapping(sample, name, row_format, data.columns):
        return [mapping_problem]
    flaws = [(row, flaw) for row in sample.rows if (flaw := row_problem(row.values, row_format, data.columns))]
    if not flaws:
        return []
    row, flaw = flaws[0]
    message = f"row {row.number} {flaw}"
    if len(flaws) > 1:
        message += f", and {len(flaws) - 1} more of the first {len(sample.rows)} rows cannot be used either"
    remedy = (
        f"Correct or remove it; the format {row_format.value} needs {' + '.join(ROW_FORMATS[row_format].required)}."
    )
    return [Problem(_place(name, row.line), field, f"{message}.", remedy)]


def _check_mapping(sample: Sample, name: str, row_format: DataFormat, mapping: dict[str, str]) -> Problem | None:
    """``data.columns`` against the format's columns, and the optional ones against the file's, where any may lack."""
    required, optional, _ = ROW_FORMATS[row_format]
    for ours, theirs in mapping.items():
        if ours not in (*required, *optional):
            message = f"{ours!r} is no column of the format {row_format.value}."
            return Problem("", "data.columns", message, f"Its columns are {', '.join((*required, *optional))}.")
        if ours in optional and theirs not in sample.columns:
            remedy = f"Its columns are {', '.join(sample.columns)}."
            return Problem(name, "data.columns", f"has no column {theirs!r} to be {ours}.", remedy)
    return None


def _place(name: str, line: int | None) -> str:
    return name if line is None else f"{name}:{line}"
