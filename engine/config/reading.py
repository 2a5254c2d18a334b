"""Configuration files and ``--set`` values to a RunConfig, with every problem named at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config import plain_yaml
from engine.config.run_config import ALIASES, FIELDS, SCHEMA_VERSION, RunConfig, build
from engine.config.schema import ConfigError, Problem, convert, flatten, nearest

MAX_FILE_BYTES = 200_000
"""A configuration is a page; anything this big is something else, and slow to read as YAML."""


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML 1.2 file as nested plain values.

    Raises:
        ConfigError: the file is missing, unreadable, too big, no YAML, or no mapping; with line and column.
    """
    where = str(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(
                [Problem(where, "", "is too big for a run file.", "Is it the data? Give it as data=FILE.")]
            )
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError([Problem(where, "", "there is no such file.")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(where, "", f"cannot be read as text ({error}).")]) from None
    tree = parse_yaml(text, where)
    if not isinstance(tree, dict):
        raise ConfigError(
            [Problem(where, "", "is not a mapping of fields to values.", "Write it as 'field: value' lines.")]
        )
    return tree


def parse_yaml(text: str, where: str) -> Any:
    """YAML 1.2 text, read safely: ``off`` is text, ``1e-4`` a number, no tag makes an object.

    Raises:
        ConfigError: it is no YAML, with line and column, or holds more than any configuration.
    """
    try:
        return plain_yaml.read_value(text)
    except plain_yaml.NotPlain:
        from engine.config import any_yaml  # only here: it takes time to import

        return any_yaml.parse(text, where)


def parse_assignment(text: str) -> tuple[str, Any]:
    """``key=value`` of ``--set``, the value read as YAML so that lists, numbers and null can be typed."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError([Problem("--set", text, "is not of the form key=value.")])
    key = ALIASES.get(key.strip(), key.strip())
    field = FIELDS.get(key)
    if field and field.kind == "text" and not value.startswith(("[", '"', "'")):
        # A path may hold what YAML would take for syntax; only null keeps its meaning.
        return key, None if value in ("null", "~") else value
    return key, parse_yaml(value, f"--set {key}")


def read(tree: Mapping[str, Any], *, where: str, base: Path, assignments: Mapping[str, Any] | None = None) -> RunConfig:
    """A RunConfig from a file's values and overriding assignments.

    Relative paths in the file are relative to ``base``, those in ``assignments`` to the working directory; both become
    absolute where they name something local, so that ``run.yaml`` means the same from anywhere.

    Raises:
        ConfigError: unknown keys, wrong types, values out of bounds, missing required fields: all of them at once.
    """
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for source, origin, folder in ((tree, where, base), (assignments or {}, "--set", Path.cwd())):
        for key, value in flatten(_expand(source, origin, problems), FIELDS):
            field = FIELDS.get(key)
            if field is None:
                problems.append(Problem(origin, key, "there is no such field.", nearest(key, [*FIELDS, *ALIASES])))
                continue
            try:
                converted = convert(field, value)
            except ValueError as error:
                problems.append(Problem(origin, key, str(error), _expectation(key)))
                continue
            if field.is_path and isinstance(converted, str):
                converted = localise(converted, folder)
            values[key] = converted
    failed = {problem.field for problem in problems}
    for field in FIELDS.values():
        if field.required and field.path not in values and field.path not in failed:
            problems.append(Problem(where, field.path, "must be given.", field.meaning))
    if values.get("schema_version", SCHEMA_VERSION) > SCHEMA_VERSION:
        problems.append(Problem(where, "schema_version", "is newer than this program reads.", "Update qltui."))
    if problems:
        raise ConfigError(problems)
    return build(values)


def read_file(path: Path, assignments: Mapping[str, Any] | None = None) -> RunConfig:
    """The RunConfig in a YAML file; see :func:`read`."""
    return read(load_yaml(path), where=str(path), base=path.resolve().parent, assignments=assignments)


def localise(value: str, base: Path) -> str:
    """An absolute path where ``value`` names or can only name something local, else ``value`` (a hub id)."""
    expanded = Path(os.path.expanduser(value))
    candidate = expanded if expanded.is_absolute() else base / expanded
    # Not Path.exists, which raises for names too long and for folders that may not be entered.
    if os.path.exists(candidate) or value.startswith((".", "/", "~")):
        return os.path.normpath(candidate)
    return value


def _expand(tree: Mapping[Any, Any], where: str, problems: list[Problem]) -> dict[str, Any]:
    """Aliases at the top level spelt out; a name given twice is a problem, not a race."""
    expanded: dict[str, Any] = {}
    for key, value in tree.items():
        if not isinstance(key, str):
            problems.append(Problem(where, str(key), "is not a field name.", "Names are text."))
            continue
        is_section = any(name.startswith(f"{key}.") for name in FIELDS)
        name = (
            ALIASES[key]
            if key in ALIASES and not (is_section and (isinstance(value, Mapping) or value is None))
            else key
        )
        if name != key and name in dict(flatten(tree, FIELDS)):
            problems.append(Problem(where, key, f"is given twice, as {key} and as {name}.", "Keep one."))
        expanded[name] = value
    return expanded


def _expectation(key: str) -> str:
    field = FIELDS[key]
    unit = f" In {field.unit}." if field.unit else ""
    return f"{field.label}: {field.meaning}{unit}"
