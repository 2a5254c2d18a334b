"""Presets: run files that come with the program, found from a checkout and from an installed wheel."""

from __future__ import annotations

from pathlib import Path

import qltui
from engine.config.reading import load_yaml
from engine.config.schema import ConfigError, Problem, nearest

PACKAGE = Path(qltui.__file__).parent


def folder() -> Path:
    """Where the presets lie."""
    installed = PACKAGE / "presets"
    return installed if installed.is_dir() else PACKAGE.parent / "presets"


def names() -> list[str]:
    """Names of all presets, sorted."""
    return sorted(file.stem for file in folder().glob("*.yaml"))


def path(name: str) -> Path:
    """The file of a preset.

    Raises:
        ConfigError: there is no such preset; names the nearest ones.
    """
    if name not in names():
        raise ConfigError([Problem("", name, "there is no such preset.", nearest(name, names()))])
    return folder() / f"{name}.yaml"


def describe() -> list[tuple[str, str]]:
    """Each preset's name and its line of description."""
    return [(name, str(load_yaml(path(name)).get("description", ""))) for name in names()]
