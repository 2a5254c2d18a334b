"""Any YAML 1.2, by ruamel, within the bounds of a configuration; :mod:`.plain_yaml` reads most of it sooner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engine.config.schema import ConfigError, Problem

MAX_NODES = 20_000
"""Values a file may have once its aliases are followed: far more than any configuration, far less than a bomb."""
MAX_DEPTH = 40
MAX_BRACKETS = 200
"""Brackets open at once before a text is parsed at all: far deeper ones take the parser seconds."""
TOO_DEEP = "is nested too deeply for a configuration."
TOO_MUCH = f"unfolds to more than {MAX_NODES} values or {MAX_DEPTH} levels."


def parse(text: str, where: str) -> Any:
    """A text's plain values, read safely: no tag makes an object.

    Raises:
        ConfigError: it is no YAML, with line and column, or holds more than any configuration.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if nesting(text) > MAX_BRACKETS:
        raise ConfigError([Problem(where, "", TOO_DEEP)])
    try:
        tree = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise ConfigError([Problem(place, "", f"is not valid YAML: {error.problem or error.context}.")]) from None
    except RecursionError:
        raise ConfigError([Problem(where, "", TOO_DEEP)]) from None
    except (YAMLError, ValueError) as error:
        raise ConfigError([Problem(where, "", f"is not valid YAML: {' '.join(str(error).split())}.")]) from None
    if _unfolds_too_far(tree):
        raise ConfigError([Problem(where, "", TOO_MUCH)])
    return tree


def nesting(text: str) -> int:
    """How deeply brackets are nested in each other, told without parsing."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _unfolds_too_far(tree: Any) -> bool:
    """Whether there are too many values where each alias stands for all it names, or one without end."""
    left = MAX_NODES
    waiting = [(tree, 0)]
    while waiting:
        value, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            return True
        if isinstance(value, (list, Mapping)):
            inner = value.values() if isinstance(value, Mapping) else value
            waiting += [(one, depth + 1) for one in inner]
    return False
