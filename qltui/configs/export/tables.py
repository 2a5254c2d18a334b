"""What the tables of programs are made of: rows that carry our fields over, and rows that say why they can't be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.choices import Method
from engine.config.run_config import FIELDS, get

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.config.choices import Compute, DataFormat
    from engine.config.run_config import RunConfig


class _LeftOut:
    """The type of :data:`LEFT_OUT`."""


LEFT_OUT = _LeftOut()
"""In the place of a value: the program's own default is meant, and the key isn't written."""


class Given(NamedTuple):
    """What a row's value is made of."""

    config: RunConfig
    """With the strategy the other program can run it under."""
    compute: Compute
    """The precision it will compute in, resolved for GPUs of today where it was left open."""
    rows: DataFormat | None
    """The layout of its data; None where nothing here tells."""
    folder: str | None
    """Where companion files are written; None where the main file is written alone."""

    def value(self, path: str) -> Any:
        """A field's value by dotted path, as a file has it."""
        return plain(get(self.config, path))

    @property
    def has_adapter(self) -> bool:
        return self.config.method.name is not Method.FULL

    def is_default(self, path: str) -> bool:
        return bool(get(self.config, path) == FIELDS[path].default)


class Row(NamedTuple):
    """A key of the other program, dotted where it stands in a section."""

    key: str
    value: Callable[[Given], Any]
    carries: tuple[str, ...] = ()
    """Our fields that it says."""
    note: Callable[[Given], str | None] = lambda _: None
    """What is not quite the same there; stands above it as a comment."""


class Lost(NamedTuple):
    """Fields that the program has no key for."""

    fields: tuple[str, ...]
    why: str
    """Stands as a comment in their place; ``{value}`` is the first field's."""
    when: Callable[[Given], bool] | None = None
    """Whether it matters; without it where any of them differs from its default."""

    def matters(self, given: Given) -> bool:
        if self.when is not None:
            return self.when(given)
        return not all(map(given.is_default, self.fields))


class Refusal(NamedTuple):
    """What the program cannot run at all."""

    field: str
    when: Callable[[Given], bool]
    message: str
    remedy: str


class Program(NamedTuple):
    """Another program that trains."""

    name: str
    """As ``--to`` takes it, and the stem of its file."""
    title: str
    """With the version whose sources its keys were read in."""
    entries: tuple[Row | Lost, ...]
    """In the order of its file."""
    refusals: tuple[Refusal, ...]
    start: Callable[[Given, str], str]
    """The command that starts it, by the name of its file."""
    companions: Callable[[Given], Mapping[str, str]] = lambda _: {}
    """Other files it needs, by name."""


def field(
    key: str, path: str, *, when: Callable[[Given], bool] | None = None, words: Mapping[Any, Any] | None = None,
    note: Callable[[Given], str | None] = lambda _: None,
) -> Row:  # fmt: skip
    """A key that says one field as it is, or by the word the program has for it (LEFT_OUT for none)."""

    def value(given: Given) -> Any:
        if when is not None and not when(given):
            return LEFT_OUT
        return given.value(path) if words is None else words[given.value(path)]

    return Row(key, value, (path,), note)


def unless_default(key: str, path: str) -> Row:
    """A key written only where the field was changed."""
    return field(key, path, when=lambda given: not given.is_default(path))


def fixed(key: str, value: Any, when: Callable[[Given], bool] = lambda _: True) -> Row:
    """A key that always says the same, where it is written."""
    return Row(key, lambda given: value if when(given) else LEFT_OUT)


def plain(value: Any) -> Any:
    """A field's value without its enumeration, whole numbers as such."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return getattr(value, "value", value)
