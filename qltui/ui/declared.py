"""What the declaration of a field says, in words: the one source of the form's help and of F1."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import msgspec

from engine.config import ALIASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.config import Field
    from qltui.advice.rule import Rule

KINDS = {
    "flag": "on or off", "integer": "a whole number", "number": "a number", "text": "text",
    "list": "a list: [a, b]", "mapping": "names with values: {a: b}",
}  # fmt: skip
BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def values(field: Field) -> str:
    """What may stand there: its choices, or its kind with bounds and unit."""
    if field.kind == "choice":
        return ", ".join(field.choices)
    kind = KINDS["integer" if field.choices else field.kind]  # words that stand beside a number
    return ", ".join([*field.choices, kind, *_bounds(field), *([field.unit] if field.unit else [])])


def table(field: Field) -> list[tuple[str, str]]:
    """(what, told) of all that is declared but label and meaning."""
    return [("values", values(field)), ("default", default(field).removeprefix("default ")), ("path", names(field))]


def rules(field: Field) -> list[Rule]:
    """Rules for runs of ours that speak of it."""
    from qltui.advice.evaluation import OURS
    from qltui.advice.words import PATHS

    return [rule for rule in OURS if rule.field and field.path in (rule.field, PATHS.get(rule.field))]


def _bounds(field: Field) -> list[str]:
    return [
        f"{words} {value}"
        for meta in _metas(field.annotation)
        for name, words in BOUNDS.items()
        if (value := getattr(meta, name)) is not None
    ]


def default(field: Field) -> str:
    """What holds where nothing is given."""
    if field.required:
        return "must be given"
    if field.kind == "flag":
        return f"default {'on' if field.default else 'off'}"
    return "may be left empty" if field.default in (None, "", [], {}) else f"default {field.default_text}"


def names(field: Field) -> str:
    """How it is addressed on the command line: its dotted path, and its short name where it has one."""
    short = [alias for alias, path in ALIASES.items() if path == field.path]
    return " or ".join([field.path, *short])


def line(field: Field) -> str:
    """All of it but the meaning, short."""
    unit = [field.unit] if field.unit else []
    return " · ".join([*unit, default(field), *_bounds(field), names(field)])


def _metas(annotation: Any) -> Iterator[msgspec.Meta]:
    """Every description in a type, of its arms too."""
    yield from (one for one in getattr(annotation, "__metadata__", ()) if isinstance(one, msgspec.Meta))
    for inner in typing.get_args(annotation):
        yield from _metas(inner)
