"""What the user named, a preset or a file, to a RunConfig."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config.reading import parse_assignment
from engine.config.schema import ConfigError, Problem, nearest
from qltui.configs import presets
from qltui.configs.run_file import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.config.run_config import RunConfig


def load(target: str, assignments: Iterable[str] = ()) -> RunConfig:
    """The RunConfig of a preset's name or a YAML file's path, with ``--set`` texts (``key=value``) over it.

    Raises:
        ConfigError: neither exists, or what it says cannot be used; every problem at once.
    """
    problems = []
    values = {}
    for text in assignments:
        try:
            key, value = parse_assignment(text)
            values[key] = value
        except ConfigError as error:
            problems += error.problems
    try:
        config = read_file(locate(target), values)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return config


def locate(target: str) -> Path:
    """The file that is meant: a preset's by its bare name, any other by its path.

    Raises:
        ConfigError: it is neither a preset nor a file.
    """
    if (preset := presets.find(target)) is not None:
        return preset
    if os.sep in target or target.endswith((".yaml", ".yml")) or os.path.exists(target):
        return Path(target).expanduser()
    raise ConfigError([Problem(target, "", "is neither a preset nor a file.", nearest(target, presets.names()))])
