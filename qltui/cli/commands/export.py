"""``export``: a run as a configuration of another program."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from engine.config.schema import ConfigError, Problem
from qltui.cli import exits, output
from qltui.configs import loading, presets
from qltui.configs.export.exporting import export
from qltui.configs.export.placing import placed, write
from qltui.runs import store
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def run_export(arguments: argparse.Namespace) -> int:
    """Print the file, or write it and what goes with it; what is another there is said on stderr."""
    try:
        source = _source(arguments.target)
        config = loading.load(source, arguments.assignments)
        if arguments.out:
            exported, files = placed(config, arguments.to, arguments.out)
            _write(files, loading.locate(source))
        else:
            exported = export(config, arguments.to)
            print(exported.text, end="")
    except ConfigError as error:
        output.print_problems(error.problems)
        return exits.NO
    for note in exported.notes:
        print(clean(f"qltui: {note}"), file=sys.stderr)
    return exits.FINE


def _source(target: str) -> str:
    """The preset or file that is meant, or the run.yaml of the run.

    Raises:
        Refused: it is none of them, or the beginning of several runs' ids.
    """
    if presets.find(target) is not None or os.path.isfile(target):
        return target
    try:
        return str(store.find(target).run_yaml)
    except store.RunNotFound as error:
        raise exits.Refused(f"{target} is no preset and no file, and no run: {error}") from None


def _write(texts: dict[Path, str], source: Path) -> None:
    """Write all files, each whole or not at all.

    Raises:
        ConfigError: one of them is the ``source`` that the export is made from.
        Refused: one of them can't be written.
    """
    for path in texts:
        if os.path.exists(path) and path.samefile(source):
            raise ConfigError([Problem("--out", "", f"{path} is the run's own file.", "Name another one.")])
    for path, text in texts.items():
        try:
            write(path, text)
        except OSError as error:
            raise exits.Refused(f"--out: {path} can't be written ({error.strerror}). Name another place.") from None
        print(clean(f"wrote {path}"), file=sys.stderr)
