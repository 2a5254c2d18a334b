"""New values into foreign files, with everything else left as it stands: comments, order, indentation."""

from __future__ import annotations

from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qltui.configs.foreign import spots
from qltui.configs.foreign.edits import UNWRITABLE, edited, is_json, json_value, yaml_value
from qltui.configs.foreign.files import read_content, read_text, written
from qltui.configs.foreign.keys import Unreadable
from qltui.configs.foreign.reading import Format, Reading
from qltui.configs.foreign.together import read_again

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qltui.configs.foreign.reading import Place
    from qltui.configs.mending import Mended

    Texts = Mapping[str, str]
    """The present text of each file, by its path."""


class Patched(NamedTuple):
    """Files with new values in them."""

    texts: dict[str, str]
    """The new text of each file that changes, by its path."""
    missing: dict[str, str]
    """Names that could not be written, with the reason."""
    diff: str
    """What changes, as a unified diff."""


def result_of(old: Texts, mended: Mended) -> Patched:
    """What came of texts."""
    new = {path: text for path, text in mended.texts.items() if text != old[path]}
    return Patched(new, mended.missing, "".join(_diff(path, old[path], text) for path, text in new.items()))


def texts_of(reading: Reading) -> dict[str, str]:
    """The texts of a reading's files as they stand on disk."""
    return {file.path: read_text(Path(file.path)) for file in reading.files}


def apply(reading: Reading, texts: Texts, patch: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """The texts with new values in them, and the names that could not be written, with the reason.

    ``reading`` is of these texts. What is written is read again; a text that doesn't come to say the new value is
    given up, so that none is damaged.
    """
    result = dict(texts)
    missing: dict[str, str] = {}
    for name, value in patch.items():
        now = read_again(reading, result)
        if now.values.get(name) == value:
            continue
        new = _in_place(now, result, name, value) or _anywhere(now, result, name, value)
        if new is None:
            missing[name] = _why_not(now, name)
        else:
            result.update(new)
    return result, missing


def _why_not(reading: Reading, name: str) -> str:
    place = reading.places.get(name)
    if place is not None:
        return f"{place.file}:{place.line}: {place.key} can't be rewritten to it by itself"
    return "no file has a key for it" if name not in reading.values else "it follows from other keys"


def _in_place(reading: Reading, texts: Texts, name: str, value: Any) -> dict[str, str] | None:
    """The one value exchanged that says it; None where no single one does."""
    place = reading.places.get(name)
    if place is None or place.file not in texts:
        return None
    text = texts[place.file]
    place = _read(text, place.file).places.get(name)
    if place is None or place.start < 0 or text[place.start : place.start + 1] in UNWRITABLE:
        return None
    if place.spelling is not None and value not in place.spelling:
        return None
    spelt = place.spelling[value] if place.spelling is not None else value
    new = text[: place.start] + _spelt(spelt, text, place) + text[place.end :]
    try:
        said = read_again(reading, {**texts, place.file: new}).values.get(name)
    except Unreadable:
        return None
    return {place.file: new} if said == value else None


def _anywhere(reading: Reading, texts: Texts, name: str, value: Any) -> dict[str, str] | None:
    """Keys of all files that have a say in it changed; one file gets new keys too where those there don't do."""
    now = dict(texts)
    for file in reading.files:
        now[file.path] = _with_keys(now[file.path], file.path, name, value, may_add=False)
    if read_again(reading, now).values.get(name) == value:
        return now
    for file in sorted(reading.files, key=lambda file: (not file.trains, file.format is Format.COMMAND)):
        text = _with_keys(now[file.path], file.path, name, value, may_add=True)
        if text != now[file.path]:
            now[file.path] = text
            break
    said = read_again(reading, now).values.get(name, value)  # nothing said leaves it to the program
    return now if now != texts and said == value else None


def _with_keys(text: str, path: str, name: str, value: Any, *, may_add: bool) -> str:
    """The text with the keys that have a say in it changed; as it is where one can't be."""
    parts = written(text, path)
    for kind, entries in parts:
        keys = {entry.key: entry.value for entry in entries}
        wanted = spots.changes(kind, name, value, keys, is_command=len(parts) > 1)
        as_one = may_add or spots.REMOVE in wanted.values()  # one key in the place of another
        changes = {key: new for key, new in wanted.items() if as_one or key in keys}
        text = edited(text, path, kind, changes) or text
    return text


def _read(text: str, path: str) -> Reading:
    reading = Reading(path, None)
    read_content(reading, text)
    return reading


def _spelt(value: Any, text: str, place: Place) -> str:
    """A value as the file would write it, in the quotes that stood there."""
    old = text[place.start : place.end]
    if is_json(text):
        return json_value(value, old)
    return yaml_value(value, old) if old else f" {yaml_value(value)}"


def _diff(path: str, old: str, new: str) -> str:
    lines = unified_diff(old.splitlines(), new.splitlines(), path, path, lineterm="", n=2)
    return "".join(f"{line}\n" for line in lines)
