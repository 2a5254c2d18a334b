"""``config``: the fields of a configuration as they are declared; the documentation's tables are made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.run_config import ALIASES, FIELDS
from engine.config.schema import Field, nearest
from qltui.cli import exits

if TYPE_CHECKING:
    import argparse


def run_config(arguments: argparse.Namespace) -> int:
    """Print every field, or those at and under a dotted path."""
    fields = _at(arguments.field) or _at(ALIASES.get(arguments.field, arguments.field))
    if not fields:
        raise exits.Refused(f"there is no field {arguments.field!r}. {nearest(arguments.field, [*FIELDS, *ALIASES])}")
    print(_markdown(fields) if arguments.markdown else "\n\n".join(map(_paragraph, fields)))
    return exits.FINE


def _at(path: str | None) -> list[Field]:
    """The field at a dotted path, or those of a section; all of them without one."""
    return [field for field in FIELDS.values() if path is None or f"{field.path}.".startswith(f"{path}.")]


def _values(field: Field) -> str:
    """What may stand there, the unit included."""
    values = " | ".join(field.choices) if field.kind == "choice" else field.kind
    if field.choices and field.kind != "choice":
        values = " | ".join((*field.choices, "integer"))
    return f"{values}, {field.unit}" if field.unit else values


def _default(field: Field) -> str:
    if field.required:
        return "must be given"
    return f"default {field.default_text}" if field.default_text else "may be left empty"


def _aliases(field: Field) -> list[str]:
    return [alias for alias, path in ALIASES.items() if path == field.path]


def _paragraph(field: Field) -> str:
    also = "".join(f" (also {alias})" for alias in _aliases(field))
    return f"{field.path}{also}\n    {_values(field)}; {_default(field)}\n    {field.meaning}"


def _markdown(fields: list[Field]) -> str:
    """A table for each section."""
    tables: dict[str, list[str]] = {}
    for field in fields:
        section = field.path.rpartition(".")[0] or "The run"
        names = "<br>".join(f"`{name}`" for name in (field.path, *_aliases(field)))
        default = "**required**" if field.required else f"`{field.default_text}`" if field.default_text else ""
        values = _values(field).replace("|", "\\|")
        tables.setdefault(section, []).append(f"| {names} | {values} | {default} | {field.meaning} |")
    head = "| Field | Values | Default | Meaning |\n|---|---|---|---|"
    return "\n\n".join(f"## {section}\n\n{head}\n" + "\n".join(rows) for section, rows in tables.items())
