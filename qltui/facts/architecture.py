"""The architecture of a model, exact by module, from its ``config.json``: without torch, without the network.

``of_config`` takes the content of a ``config.json``; ``find`` looks for it: in a folder, in a copy fetched from the
hub, in the bundled table of open models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qltui.facts.models.building import build
from qltui.facts.models.config_json import BadConfig
from qltui.facts.models.shape import Architecture, Layer, Linear

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Architecture", "BadConfig", "Layer", "Linear", "of_config"]


def of_config(config: Mapping[str, Any]) -> Architecture:
    """The architecture of a model with this ``config.json``; ``known`` is False where it had to be estimated.

    Raises:
        BadConfig: a number is missing or cannot be one; the message names its key.
    """
    return build(config)
