"""The bundled table: numbers of the ``config.json`` of widely used open models, by their id on the hub.

``known.json`` holds one model a line; ``like`` names the model whose numbers it shares.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("known.json")

VARIANT = re.compile(r"(meta|base|pt|it|instruct|chat|hf|unsloth|bnb|4bit|8bit|bf16)")
"""Parts of a name that do not change the architecture."""
MIRRORS = ("unsloth", "nousresearch")
"""Organisations that publish others' models under the models' own names."""
CONVERTED = ("phi3",)
"""Families that a mirror rewrites as another."""


def config_of(name: str) -> dict[str, Any] | None:
    """The numbers of the model called ``name``, in any case of letters; a variant tuned from it has the same."""
    config = _exactly(name.lower()) or _by_plain_name(name.lower())
    if config is None or "like" not in config:
        return config
    return {**(config_of(config["like"]) or {}), **{key: config[key] for key in config if key != "like"}}


def names() -> list[str]:
    """Every name in the table, as it is written on the hub."""
    return list(_table())


def nearest(name: str, most: int = 3) -> list[str]:
    """Names in the table that look like ``name``, the likeliest first."""
    import difflib

    wanted, names = name.lower(), {key.lower(): key for key in _table()}
    last_parts = {key.rpartition("/")[2]: full for key, full in names.items()}
    whole = difflib.get_close_matches(wanted, names, most, 0.75)
    last = difflib.get_close_matches(wanted.rpartition("/")[2], last_parts, most, 0.6)
    return list(dict.fromkeys([*(names[key] for key in whole), *(last_parts[key] for key in last)]))[:most]


def _exactly(name: str) -> dict[str, Any] | None:
    return next((config for key, config in _table().items() if key.lower() == name), None)


def _by_plain_name(name: str) -> dict[str, Any] | None:
    organisation, _, model = name.rpartition("/")
    plain = _plain(model)
    for key, config in _table().items():
        owner, _, known = key.lower().rpartition("/")
        if _plain(known) != plain:
            continue
        if organisation == owner or (organisation in MIRRORS and config.get("model_type") not in CONVERTED):
            return config
    return None


def _plain(model: str) -> str:
    return "-".join(part for part in model.split("-") if not VARIANT.fullmatch(part))


@cache
def _table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = json.loads(FILE.read_bytes())
    return table
