"""RunConfig to the text of ``run.yaml``, and texts to files."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from engine.config.run_config import FIELDS, get
from engine.config.schema import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from engine.config.run_config import RunConfig

PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./ +-]*(?<! )")
"""Text that YAML 1.2 takes as it stands, unless it is one of its words."""
ALWAYS_SAID = ("schema_version", "name", "method.name", "strategy.name")
"""Fields that a fragment has even where they are the defaults."""
YAML_WORDS = ("null", "true", "false", "y", "n", "yes", "no", "on", "off")


def run_yaml(config: RunConfig) -> str:
    """Every field of a configuration, defaults too, so that the file says the same to every later version."""
    return "\n".join(_lines(config, FIELDS)) + "\n"


def fragment_yaml(config: RunConfig) -> str:
    """What a configuration says otherwise than the defaults, and the choices that make it what it is."""
    said = [path for path, field in FIELDS.items() if path in ALWAYS_SAID or get(config, path) != field.default]
    return "\n".join(_lines(config, said)) + "\n"


def _lines(config: RunConfig, paths: Iterable[str]) -> Iterator[str]:
    """Fields in the order they are declared, each section opened once, those without a section first."""
    opened: list[str] = []
    for path in sorted(paths, key=lambda path: "." in path):
        *sections, name = path.split(".")
        for depth, section in enumerate(sections):
            if opened[: depth + 1] != sections[: depth + 1]:
                yield f"{'  ' * depth}{section}:"
                opened = sections[: depth + 1]
        yield f"{'  ' * len(sections)}{name}: {value_text(get(config, path))}"


def value_text(value: Any) -> str:
    """A value as YAML has it on one line."""
    if isinstance(value, str):
        text = as_text(value)
        is_plain = PLAIN.fullmatch(text) and text.lower() not in YAML_WORDS
        return text if is_plain else '"' + "".join(map(_escaped, text)) + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(value_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{value_text(key)}: {value_text(item)}" for key, item in value.items()) + "}"
    return as_text(value)


def typed_text(value: Any) -> str:
    """A value as it is typed in the form or after ``--set``: texts bare, those in lists quoted where YAML needs it."""
    return value_text(value) if isinstance(value, (list, dict)) else as_text(value)


def _escaped(character: str) -> str:
    """A character as it stands between double quotes in YAML."""
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def write_text(path: Path, text: str) -> None:
    """Put ``text`` in the place of a file, whole or not at all; the mode of one that is there stays."""
    target = path.resolve()  # a link stays one
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        aside.write_text(text, "utf-8", newline="")
        if target.exists():
            aside.chmod(target.stat().st_mode)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
