"""A run file with all that can be judged of it by itself: what the engine reads, and the machine it is planned for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config import reading
from engine.config.schema import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from engine.config.run_config import RunConfig

PLANNED_FOR = "hardware.planned_for"


def read_file(path: Path, assignments: Mapping[str, Any] | None = None) -> RunConfig:
    """The RunConfig in a YAML file, with values by dotted path over it.

    Raises:
        ConfigError: the file cannot be used, or says it is planned for what is no machine.
    """
    config = reading.read_file(path, assignments)
    if problem := machine_problem(config.hardware.planned_for):
        is_assigned = PLANNED_FOR in (assignments or {})
        raise ConfigError([Problem("--set" if is_assigned else str(path), PLANNED_FOR, problem)])
    return config


def machine_problem(described: str) -> str:
    """Why a text describes no machine, and how one is described; empty where it does, or says nothing."""
    if not described:
        return ""
    from qltui.facts import machine  # only here: most run files name none

    try:
        machine.parse(described)
    except machine.UnknownMachine as error:
        return str(error)
    return ""
