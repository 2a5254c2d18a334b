"""New values into foreign files, with everything else left as it stands: comments, order, indentation."""

from __future__ import annotations

import json
import re
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qltui.configs.foreign.files import read_content, read_text
from qltui.configs.foreign.keys import Unreadable
from qltui.configs.foreign.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qltui.configs.foreign.reading import Place

PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
"""Text that YAML and a shell take as it stands."""
YAML_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")


class Patched(NamedTuple):
    """Files with new values in them."""

    texts: dict[str, str]
    """The new text of each file that changes, by its path."""
    missing: dict[str, str]
    """Names that no file has a key for that could be rewritten, with the reason."""
    diff: str
    """What changes, as a unified diff."""


def patched(reading: Reading, patch: Mapping[str, Any]) -> Patched:
    """Write ``{name: new value}`` into the texts of a reading's files.

    Every text is read again after each change: one that doesn't come to say the new value is given up, so that no text
    is damaged.

    Raises:
        Unreadable: a file can't be read any more.
    """
    texts: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name, value in patch.items():
        if reading.values.get(name) == value:
            continue
        place = reading.places.get(name)
        if place is None:
            missing[name] = "no file has a key for it" if name not in reading.values else "it follows from other keys"
            continue
        text = texts.get(place.file)
        new = _replaced(text if text is not None else read_text(Path(place.file)), place.file, name, value)
        if new is None:
            missing[name] = f"{place.file}:{place.line}: {place.key} can't be rewritten to it by itself"
        else:
            texts[place.file] = new
    diff = "".join(_diff(path, read_text(Path(path)), text) for path, text in texts.items())
    return Patched(texts, missing, diff)


def _replaced(text: str, path: str, name: str, value: Any) -> str | None:
    """The text with one value exchanged; None where that can't be done."""
    place = _read(text, path).places.get(name)
    if place is None or place.start < 0 or text[place.start : place.start + 1] in ("&", "*", "!", "|", ">"):
        return None
    if place.spelling is not None:
        if value not in place.spelling:
            return None
        value = place.spelling[value]
    new = text[: place.start] + _spelt(value, text, place) + text[place.end :]
    try:
        again = _read(new, path)
    except Unreadable:
        return None
    wanted = value if place.spelling is None else next(said for said, file in place.spelling.items() if file == value)
    return new if again.values.get(name) == wanted else None


def _read(text: str, path: str) -> Reading:
    reading = Reading(path, None)
    read_content(reading, text)
    return reading


def _spelt(value: Any, text: str, place: Place) -> str:
    """A value as the file would write it, in the quotes that stood there."""
    old = text[place.start : place.end]
    if isinstance(value, str) and old.strip("'\"").isupper():
        value = value.upper()
    if isinstance(value, str) and (value.isdigit() if old.isdigit() else {value, old.lower()} <= {"true", "false"}):
        return value
    if text.lstrip()[0] in "{[":
        return json.dumps(value)
    if isinstance(value, bool):
        spelt = str(value) if old in ("True", "False") else str(value).lower()
        return spelt if old else f" {spelt}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_word(str(item)) for item in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, str):
        quote = old[:1] if old[:1] in ("'", '"') and old[:1] not in value else ""
        return f"{quote}{value}{quote}" if quote else _word(value)
    return str(value)


def _word(text: str) -> str:
    return text if PLAIN.fullmatch(text) and text.lower() not in YAML_WORDS else json.dumps(text)


def _diff(path: str, old: str, new: str) -> str:
    lines = unified_diff(old.splitlines(), new.splitlines(), path, path, lineterm="", n=2)
    return "".join(f"{line}\n" for line in lines)
