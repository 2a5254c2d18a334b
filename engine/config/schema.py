"""Machinery of the configuration: fields declared once, read by YAML, ``--set``, forms and help.

Knows nothing of training: ``engine.config`` declares, this module walks, converts and explains.
msgspec does the typing; it is used instead of pydantic because importing pydantic and building these
models alone takes longer than ``qltui launch`` may (``docs/speed.md``).
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import NODEFAULT, Meta


class Problem(NamedTuple):
    """One thing wrong with what the user gave: where it stands, what it is and what to do about it."""

    where: str
    """File or option the value came from."""
    field: str
    """Dotted path of the field, or '' when it is about the file as a whole."""
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.where, self.field) if part)
        sentence = f"{place}: {self.message}" if place else self.message
        return f"{sentence} {self.remedy}".rstrip()


class ConfigError(ValueError):
    """The user's input cannot be used; ``problems`` says each reason."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of fields. Unknown keys are errors; values never change after they were read."""


def about(
    label: str, meaning: str, *, unit: str = "", advanced: bool = False, is_path: bool = False, **limits: Any
) -> Meta:
    """Describe a field, once for all who show or check it.

    ``unit`` is what the number counts; ``advanced`` fields are folded away in forms; ``is_path`` marks a value that
    may name a local file or folder; ``limits`` are msgspec's (``ge``, ``le``, ``gt``, ``min_length``, ``pattern``).
    """
    return Meta(
        title=label,
        description=meaning,
        extra={"unit": unit, "advanced": advanced, "is_path": is_path},
        **limits,
    )


class Field(NamedTuple):
    """What is declared of one field, ready to be shown or checked."""

    path: str
    """Dotted path, as in ``method.lora.rank``."""
    label: str
    meaning: str
    unit: str
    advanced: bool
    is_path: bool
    annotation: Any
    """The type with its limits, as msgspec takes it."""
    default: Any
    """The default, or ``msgspec.NODEFAULT`` where a value must be given."""
    choices: tuple[str, ...]
    """Allowed values of an enumeration, else empty."""
    kind: str
    """One of choice, flag, integer, number, text, list, mapping: what a form shows."""

    @property
    def required(self) -> bool:
        return self.default is NODEFAULT

    @property
    def default_text(self) -> str:
        """The default as one types it."""
        return "" if self.required or self.default is None else as_text(self.default)


def as_text(value: Any) -> str:
    """A value the way ``--set`` and the form read it back."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(as_text(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {as_text(item)}" for key, item in value.items()) + "}"
    return str(value)


def _members(annotation: Any) -> tuple[Any, ...]:
    """The plain types an annotation allows, without None and without limits."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(inner for arm in typing.get_args(annotation) for inner in _members(arm))
    return () if annotation is type(None) else (annotation,)


def _kind(members: tuple[Any, ...]) -> str:
    names = {typing.get_origin(member) or member for member in members}
    if any(isinstance(member, type) and issubclass(member, enum.Enum) for member in members):
        return "choice" if len(members) == 1 else "text"
    for kind, wanted in (("list", list), ("mapping", dict), ("text", str), ("flag", bool), ("number", float)):
        if wanted in names:
            return kind
    return "integer"


def walk(section: type[Section], prefix: str = "") -> Iterator[Field]:
    """Every field under ``section``, nested ones by dotted path, in the order they are declared."""
    for item in msgspec.structs.fields(section):
        annotation = item.type
        members = _members(annotation)
        path = f"{prefix}{item.name}"
        if len(members) == 1 and isinstance(members[0], type) and issubclass(members[0], Section):
            yield from walk(members[0], f"{path}.")
            continue
        meta = annotation.__metadata__[0]
        default = item.default_factory() if item.default_factory is not NODEFAULT else item.default
        enums = [member for member in members if isinstance(member, type) and issubclass(member, enum.Enum)]
        yield Field(
            path, meta.title, meta.description, meta.extra["unit"], meta.extra["advanced"], meta.extra["is_path"],
            annotation, default, tuple(str(value.value) for one in enums for value in one), _kind(members),
        )  # fmt: skip


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """'Did you mean ...?' for a word nobody knows, or what there is to choose from."""
    import difflib

    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    if not close:  # people type one part of a dotted path
        close = [path for path in known if word.rsplit(".", 1)[-1] in path.split(".")][:3]
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(known)}." if len(known) <= 12 else ""


def flatten(tree: Mapping[str, Any], fields: Mapping[str, Field], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested mapping as (dotted path, value); stops at fields, which may be mappings themselves."""
    for key, value in tree.items():
        path = f"{prefix}{key}"
        is_section = any(name.startswith(f"{path}.") for name in fields)
        if isinstance(value, Mapping) and path not in fields and (is_section or value):
            yield from flatten(value, fields, f"{path}.")
        elif not (value is None and is_section):  # a section left empty in YAML reads as null
            yield path, value


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`flatten`."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value
    return tree


def convert(field: Field, value: Any) -> Any:
    """A value as the field's own type; numbers in a list of texts are texts, as the indices of GPUs are typed.

    Raises:
        ValueError: the value is of another type, or out of its limits; the message says which was expected.
    """
    if isinstance(value, list) and field.kind == "list":
        value = [str(one) if type(one) is int else one for one in value]
    try:
        return msgspec.convert(value, field.annotation, strict=not isinstance(value, str))
    except msgspec.ValidationError as error:
        if field.choices and field.kind == "choice":
            raise ValueError(
                f"{as_text(value)!r} is not one of {', '.join(field.choices)}."
                + (f" {nearest(str(value), field.choices)}" if isinstance(value, str) else "")
            ) from None
        expected = str(error).split(" - at ")[0].replace("`", "")
        given = type(value).__name__ if isinstance(value, (list, dict)) else repr(value)
        if "matching regex" in expected:  # the field's meaning says in words what the pattern allows
            raise ValueError(f"{given} is not allowed.") from None
        raise ValueError(f"{expected} (given: {given}).") from None
