"""The architecture of a model, exact by module, from its ``config.json``: without torch, without the network.

``of_config`` takes the content of a ``config.json``; ``find`` looks for it: in a folder, in the copy fetched from the
hub, in the bundled table of open models.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qltui.facts.models import known
from qltui.facts.models.building import build
from qltui.facts.models.config_json import BadConfig
from qltui.facts.models.shape import Architecture, Layer, Linear

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Architecture", "BadConfig", "Layer", "Linear", "UnknownModel", "find", "of_config"]

LARGEST_FILE = 16 * 1024**2
"""Bytes; no config.json comes near it."""


class UnknownModel(LookupError):
    """Nothing on this machine tells what the model is made of."""

    def __init__(self, name: str, nearest: list[str]) -> None:
        """``nearest`` are known names that look like ``name``."""
        self.name = name
        self.nearest = nearest
        meant = f"Did you mean {' or '.join(nearest)}? " if nearest else ""
        super().__init__(
            f"{name}: no such folder, no copy fetched from the hub, and not among the models known by heart. {meant}"
            "Give a folder that holds the model's config.json (that file alone is enough)."
        )


def of_config(config: Mapping[str, Any]) -> Architecture:
    """The architecture of a model with this ``config.json``; ``known`` is False where it had to be estimated.

    Raises:
        BadConfig: a number is missing or cannot be one; the message names its key.
    """
    return build(config)


def find(name: str, fetched: Path | None = None) -> Architecture:
    """The architecture of the model ``name``: a folder with a ``config.json`` (or that file), or an id on the hub.

    ``fetched`` is the folder that holds the copy of that id on this machine, if there is one; it outranks the bundled
    table. Asks no network.

    Raises:
        UnknownModel: there is no such folder, no copy, and the table does not have it.
        BadConfig: the file is none, or a number in it is missing or cannot be one; the message names file and key.
    """
    for folder in (name, fetched):
        if folder is not None:
            for file in (folder, os.path.join(folder, "config.json")):
                if os.path.isfile(file):
                    return _of_file(Path(file))
    if os.path.isdir(name):
        raise BadConfig(f"{name}: the folder has no config.json")
    config = known.config_of(name)
    if config is None:
        raise UnknownModel(name, known.nearest(name))
    return of_config(config)


def _of_file(file: Path) -> Architecture:
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise BadConfig("it is too large for the config.json of a model")
        content = json.loads(file.read_bytes())
        if not isinstance(content, dict):
            raise BadConfig("it holds no object with the numbers of a model")
        return of_config(content)
    except BadConfig as error:
        raise BadConfig(f"{file}: {error}") from None
    except OSError as error:
        raise BadConfig(f"{file}: it cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise BadConfig(f"{file}: it is no JSON") from None
