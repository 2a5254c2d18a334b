"""Plain YAML to keys with places, in a fraction of the time that the whole parser takes to load."""

from __future__ import annotations

from typing import Any

from engine.config import plain_yaml
from qltui.configs.foreign.keys import Entry


def read_plain(text: str) -> list[Entry] | None:
    """The entries of a plain mapping, as :mod:`.yaml_keys` has them; None where only that can tell."""
    try:
        leaves = plain_yaml.read_leaves(text)
    except plain_yaml.NotPlain:
        return None
    return [Entry(".".join(leaf.path), _bare(leaf.value), leaf.line, leaf.start, leaf.end) for leaf in leaves]


def _bare(value: Any) -> Any:
    """A value without what is in a list's mappings: no reader asks more than that they are there."""
    return [{} if isinstance(item, dict) else item for item in value] if isinstance(value, list) else value
