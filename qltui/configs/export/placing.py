"""Where an export's files go: one file, or a folder with all that belongs to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engine.config.schema import ConfigError, Problem
from qltui.configs.export.exporting import export
from qltui.configs.writing import write_text

if TYPE_CHECKING:
    from engine.config import RunConfig
    from qltui.configs.export.exporting import Exported


class Placed(NamedTuple):
    """An export with the place of each of its files."""

    exported: Exported
    files: dict[Path, str]
    """Their texts, the main file's first."""


def placed(config: RunConfig, program: str, out: str) -> Placed:
    """A run for ``program``, to be written to ``out``: a file, or a folder if that exists or the name ends with ``/``.

    Raises:
        ConfigError: the run, or something in it, is nothing that the program can do; or ``out`` is no name of a file.
    """
    if "\0" in out:
        raise ConfigError([Problem("--out", "", "no file's name has a null character.", "Name another place.")])
    place = Path(os.path.expanduser(out))  # Path's own raises for users there are not, and is_dir for long names
    if not (os.path.isdir(place) or out.endswith(os.sep)):
        exported = export(config, program, file=place.name)
        return Placed(exported, {place: exported.text})
    exported = export(config, program, str(place.absolute()))
    beside = {place / name: text for name, text in exported.companions.items()}
    return Placed(exported, {place / exported.file: exported.text, **beside})


def write(path: Path, text: str) -> None:
    """Write one of them, whole or not at all, and the folders it needs.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
