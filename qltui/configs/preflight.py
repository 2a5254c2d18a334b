"""What is wrong with what a run needs to find, known before it is launched, without torch: packages, model, data.

Combinations and the machine are the rules' (``qltui.advice``)."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config.cells import ZERO
from engine.config.choices import Attention, DataFormat
from engine.config.formats import (
    FILE_FORMATS,
    MAPPING_EXAMPLE,
    ROW_FORMATS,
    detect,
    format_problem,
    row_problem,
    wanted,
)
from engine.config.schema import Problem
from qltui.configs.data_files import Sample, UnusableData, read_sample
from qltui.configs.model_files import check_model, missing

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig


def check(config: RunConfig) -> list[Problem]:
    """Every problem of packages, model, data and the run it continues; empty if all is there. Reads files only."""
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
    if not os.path.exists(path):  # Path.exists raises for names too long
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
