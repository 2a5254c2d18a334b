"""Where a run's rows come from, and how they are laid out, as far as this machine can tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.config.choices import DataFormat
from engine.config.formats import FILE_FORMATS, detect
from qltui.configs.data_files import UnusableData, read_sample

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig
    from qltui.configs.export.tables import Given


def layout(config: RunConfig) -> DataFormat | None:
    """The layout of a run's rows: the one it names, else what the file's columns are; None where neither is known."""
    data = config.data
    if data.format is not DataFormat.AUTO:
        return data.format
    path = Path(data.path)
    builder = FILE_FORMATS.get(path.suffix.lower())
    if builder is None or not path.is_file():
        return None
    try:
        return detect(read_sample(path, builder).columns, data.columns, config.model.task)
    except UnusableData:
        return None


def is_local(given: Given) -> bool:
    """Whether the rows lie in a file rather than on the hub."""
    return _reader(given.config.data.path) is not None


def table_reader(given: Given) -> str:
    """The name that the ``datasets`` library has for the file's kind."""
    return _reader(given.config.data.path) or "json"


def _reader(path: str) -> str | None:
    return FILE_FORMATS.get(Path(path).suffix.lower())
