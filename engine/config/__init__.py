"""The contract on what a run is, shared by the engine and ``qltui``; imports no torch.

``run_config`` declares every field, ``reading`` turns files and ``--set`` into a RunConfig, ``formats`` knows what rows
of data look like, ``schema`` is the machinery under them.
"""

import engine.config.quick_msgspec  # noqa: F401  (before any other import of msgspec)
from engine.config.choices import (
    Attention,
    Checkpointing,
    Compute,
    DataFormat,
    Device,
    LoraInit,
    Loss,
    LossOn,
    Method,
    Optimizer,
    QuantizationType,
    Schedule,
    Storage,
    StrategyName,
    Task,
    Tracker,
)
from engine.config.run_config import ALIASES, FIELDS, SCHEMA_VERSION, RunConfig, get
from engine.config.schema import ConfigError, Field, Problem

__all__ = [
    "ALIASES", "FIELDS", "SCHEMA_VERSION", "Attention", "Checkpointing", "Compute", "ConfigError", "DataFormat",
    "Device", "Field", "LoraInit", "Loss", "LossOn", "Method", "Optimizer", "Problem", "QuantizationType", "RunConfig",
    "Schedule", "Storage", "StrategyName", "Task", "Tracker", "get",
]  # fmt: skip
