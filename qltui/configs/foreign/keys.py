"""A foreign file as a list of keys with places, and the words in which its values are read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from engine.config.schema import Problem
from qltui.configs.foreign.reading import Place, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

T = TypeVar("T")

TEMPLATE = re.compile(r"\$\{|\$\(|\$[A-Za-z_@*#0-9]|\{\{|\{%|^<[^|<>]*>$")
"""A value that something else fills in: ${NAME}, $NAME, {{ name }}, <your model>."""
UNSAID = ("auto", "none", "null", "")
"""Words that leave the choice to the tool."""


class Entry(NamedTuple):
    """A key of the file with its value; sections stand here by what is in them."""

    key: str
    value: Any
    line: int
    start: int
    end: int


class Tree(NamedTuple):
    """A file's entries, with what was noticed while they were read."""

    entries: list[Entry]
    problems: list[Problem] = []
    notes: list[Problem] = []
    loose: list[Problem] = []
    """What is no JSON though it can be read as such."""


class Unreadable(Exception):
    """The file can't be read as what it seems to be."""

    def __init__(self, line: int, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.line, self.message, self.remedy = line, message, remedy


def integer(value: Any) -> int:
    """A whole number, also if it is written as text or as 8.0."""
    if isinstance(value, bool):
        raise ValueError("is not a whole number")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("is not a whole number") from None
    if number != number or number in (float("inf"), float("-inf")) or number != int(number):
        raise ValueError("is not a whole number")
    return int(number)


def positive(value: Any) -> int | None:
    """A whole number of things; None for -1 and 0, by which tools mean that they find out themselves."""
    number = integer(value)
    return number if number > 0 else None


def number(value: Any) -> float:
    """A number, also if it is written as text: PyYAML reads 1e-4 as such."""
    if isinstance(value, bool):
        raise ValueError("is not a number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError("is not a number") from None


def flag(value: Any) -> bool:
    """Yes or no, in all the spellings that YAML 1.1 and command lines have for them."""
    word = str(value).lower()
    if word in ("true", "yes", "on", "1", "y", "1.0"):
        return True
    if word in ("false", "no", "off", "0", "n", "0.0"):
        return False
    raise ValueError("is neither true nor false")


def text(value: Any) -> str | None:
    """A word or a path; None where it is empty."""
    if isinstance(value, (dict, list)):
        raise ValueError("is not a single word")
    return str(value) or None


def words(value: Any) -> list[str]:
    """A list of words, also if it is written as 'a, b' or 'a b'."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return [word for word in re.split(r"[,\s]+", str(value)) if word]


def choice(spelt: Mapping[str, Any]) -> Callable[[Any], Any]:
    """One of the words in ``spelt``, whatever its case, as what it means; None for any other."""

    def read(value: Any) -> Any:
        return spelt.get(str(value).lower())

    return read


class Keys:
    """Reads entries into a :class:`Reading`, and keeps account of which were of use."""

    def __init__(self, reading: Reading, entries: list[Entry]) -> None:
        self.reading = reading
        self._entries: dict[str, Entry] = {entry.key: entry for entry in entries}
        self._used: set[str] = set()
        self._unclear: set[str] = set()
        reading.lines.update({entry.key: entry.line for entry in entries})

    def names(self, prefix: str = "") -> Iterator[str]:
        """Every key that begins so."""
        return (key for key in self._entries if key.startswith(prefix))

    def use(self, prefix: str) -> None:
        """Take every key that begins so as understood."""
        self._used.update(self.names(prefix))

    def has(self, key: str) -> bool:
        """Whether the key or section is there and not empty."""
        entry = self._entries.get(key)
        if entry is not None and entry.value not in (None, "", [], {}):
            return True
        return any(name.startswith(f"{key}.") for name in self._entries)

    def get(
        self, key: str, convert: Callable[[Any], T | None], *, quiet: bool = False, unsaid: Collection[str] = UNSAID
    ) -> T | None:
        """The value of a key; None where it is absent, left to the tool, filled in elsewhere, or wrong (a problem).

        ``quiet`` takes what doesn't fit for absent: for keys that may be of another kind. ``unsaid`` are the words by
        which this key leaves it to the tool.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._used.add(key)
        value = entry.value
        if value is None or (isinstance(value, str) and value.lower() in unsaid):
            return None
        where = f"{self.reading.path}:{entry.line}"
        if isinstance(value, str) and TEMPLATE.search(value):
            self._unclear.add(key)
            note = Problem(where, key, f"is filled in elsewhere ({value}): taken as unknown.")
            if note not in self.reading.notes:
                self.reading.notes.append(note)
            return None
        try:
            return convert(value)
        except ValueError as error:
            self._unclear.add(key)
            problem = Problem(where, key, f"{error} (given: {_shown(value)}).")
            if not quiet and problem not in self.reading.problems:
                self.reading.problems.append(problem)
            return None

    def is_unclear(self, *names: str) -> bool:
        """Whether a key that was looked at is there, but its value is filled in elsewhere or wrong."""
        return not self._unclear.isdisjoint(names)

    def say(self, name: str, value: Any, key: str | None = None, spelling: Mapping[Any, Any] | None = None) -> None:
        """Enter a value under the rules' name, with the place of ``key``; without a key it is the tool's default.

        ``spelling`` says how a new value is written there: None: as it is; an empty one: not in this one place.
        """
        if value is None:
            return
        self.reading.values[name] = value
        entry = self._entries.get(key) if key else None
        if entry is None and key:  # a section stands where its first key does
            first = next(self.names(f"{key}."), None)
            entry = self._entries[first]._replace(start=-1, end=-1) if first else None
        if entry is None:
            self.reading.places.pop(name, None)
        else:
            self._used.add(entry.key)
            self.reading.places[name] = Place(
                self.reading.path, entry.key, entry.line, entry.start, entry.end, spelling
            )  # fmt: skip

    def take(self, name: str, *keys: str, convert: Callable[[Any], Any]) -> Any:
        """Enter the first of ``keys`` that says something, as it is."""
        for key in keys:
            value = self.get(key, convert)
            if value is not None:
                self.say(name, value, key)
                return value
        return None

    def choose(self, name: str, *keys: str, spelt: Mapping[str, Any]) -> Any:
        """Enter the first of ``keys`` that is one of the words in ``spelt``, as what it means."""
        for key in keys:
            value = self.get(key, choice(spelt))
            if value is not None:
                self.say(name, value, key, {meaning: word for word, meaning in reversed([*spelt.items()])})
                return value
        return None

    def table(self, rows: Mapping[str, tuple[str, Callable[[Any], Any]]], prefix: str = "") -> None:
        """Enter many keys: ``{key: (name, how it is read)}``."""
        for key, (name, convert) in rows.items():
            self.take(name, f"{prefix}{key}", convert=convert)

    def refer(self, *keys: str) -> str | None:
        """Note that the file names another one."""
        for key in keys:
            name = self.get(key, text, quiet=True)
            if name:
                self.reading.references[key] = name
                return name
        return None

    def finish(self) -> None:
        """List what was of no use."""
        self.reading.ignored = [key for key in self._entries if key not in self._used]


def mixed(value: Any) -> str | None:
    """Accelerate's ``mixed_precision``, where ``no`` is a word and YAML 1.1 makes it False."""
    return MIXED_PRECISION.get("no" if value is False else str(value).lower())


MIXED_PRECISION = {"no": "fp32", "bf16": "bf16", "fp16": "fp16", "fp8": "fp8"}


def _shown(value: Any) -> str:
    return type(value).__name__ if isinstance(value, (list, dict)) else repr(value)[:60]
