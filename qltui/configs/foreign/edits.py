"""One key of a foreign file changed in its text, whatever the file is written in, and everything else left."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from qltui.configs.foreign.files import written
from qltui.configs.foreign.keys import Unreadable
from qltui.configs.foreign.reading import Format
from qltui.configs.foreign.spots import AFTER, REMOVE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qltui.configs.foreign.keys import Entry

PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
"""Text that YAML and a shell take as it stands."""
YAML_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
UNWRITABLE = ("&", "*", "!", "|", ">")
"""What a YAML value begins with that stands for more than itself."""


def edited(text: str, path: str, kind: Format, changes: Mapping[str, Any]) -> str | None:
    """The text with new values for keys of one format in it; None where one can't be written.

    The result is read again: a text that came to say anything else too is given up.
    """
    for key, value in changes.items():
        parts = written(text, path)
        entries = next((entries for one, entries in parts if one is kind), [])
        new = _changed(text, path, kind, entries, key, value)
        if new is None or not _says(new, path, kind, entries, key, value):
            return None
        text = new
    return text


def _says(text: str, path: str, kind: Format, before: list[Entry], key: str, value: Any) -> bool:
    """Whether a text says what ``before`` does but for one key."""
    try:
        after = next((entries for one, entries in written(text, path) if one is kind), [])
    except Unreadable:
        return False
    wanted = {name: said for name, said in _said(before).items() if name != key and not name.startswith(f"{key}.")}
    if value is not REMOVE:
        wanted[key] = _plain(value)
    return _said(after) == wanted


def _said(entries: list[Entry]) -> dict[str, Any]:
    return {entry.key: _plain(entry.value) for entry in entries if entry.value not in (None, {})}


def _plain(value: Any) -> Any:
    """A value by what it says: a command line knows text alone."""
    return [_plain(item) for item in value] if isinstance(value, list) else str(value).lower()


def _changed(text: str, path: str, kind: Format, entries: list[Entry], key: str, value: Any) -> str | None:
    """The text with one key of its ``entries`` changed, unproven."""
    entry = next((entry for entry in reversed(entries) if entry.key == key), None)
    is_section = any(one.key.startswith(f"{key}.") for one in entries)
    sections = [key[:at] for at, character in enumerate(key) if character == "."]
    if any(one.key in sections and one.value not in (None, "", {}) for one in entries):
        return None  # what would be its section is a single value
    if is_json(text):
        from qltui.configs.foreign import edit_json

        if value is REMOVE:
            return edit_json.remove(text, key)
        if entry is not None and not is_section:
            return f"{text[: entry.start]}{json.dumps(value)}{text[entry.end :]}"
        return edit_json.insert(text, key, json.dumps(value))
    if is_command(text, path):
        return _in_command(text, kind, entries, entry, key, value)
    return _in_yaml(text, entry, key, value, is_section=is_section)


def _in_yaml(text: str, entry: Entry | None, key: str, value: Any, *, is_section: bool) -> str | None:
    from qltui.configs.foreign import edit_yaml

    if value is REMOVE:
        return edit_yaml.remove(text, key)
    if is_section:
        return None
    if entry is None:
        return edit_yaml.insert(text, key, yaml_value(value), AFTER.get(key.split(".")[0], ()))
    if entry.start < 0:
        return edit_yaml.fill(text, key, yaml_value(value))
    if text[entry.start] in UNWRITABLE:
        return None
    return text[: entry.start] + yaml_value(value, text[entry.start : entry.end]) + text[entry.end :]


def _in_command(text: str, kind: Format, entries: list[Entry], entry: Entry | None, key: str, value: Any) -> str | None:
    from qltui.configs.foreign import edit_command
    from qltui.configs.foreign.command import LAUNCH_FLAGS

    if value is REMOVE:
        return edit_command.remove(text, entry) if entry is not None else None
    spelt = yaml_value(value) if not isinstance(value, list) else " ".join(map(_word, value))
    if entry is None:
        bare = kind is Format.ACCELERATE and value is True and key in LAUNCH_FLAGS
        is_name = kind is Format.OPENRLHF
        inserted = edit_command.insert(text, entries, key, "" if bare else spelt, is_name=is_name)
        return inserted.replace(f"--{key} ", f"--{key}", 1) if inserted and bare else inserted
    if entry.start < 0:
        return None
    gap = " " if entry.start == entry.end else ""
    return text[: entry.start] + gap + yaml_value(value, text[entry.start : entry.end]) + text[entry.end :]


def is_json(text: str) -> bool:
    """Whether values are written as JSON has them."""
    return text.lstrip()[:1] in ("{", "[")


def is_command(text: str, path: str) -> bool:
    """Whether it is a script rather than a file of keys."""
    return len(written(text, path)) > 1


def json_value(value: Any, old: str) -> str:
    """A value as JSON writes it, in the case of the ``old`` one; a word for a number or a flag becomes that."""
    if isinstance(value, str) and old.strip('"').isupper():
        value = value.upper()
    is_bare = isinstance(value, str) and (value.isdigit() if old.isdigit() else {value, old} <= {"true", "false"})
    return str(value) if is_bare else json.dumps(value)


def yaml_value(value: Any, old: str = "") -> str:
    """A value as YAML or a shell writes it, in the case and the quotes of the ``old`` one."""
    if isinstance(value, str) and old.strip("'\"").isupper():
        value = value.upper()
    if isinstance(value, str) and (value.isdigit() if old.isdigit() else {value, old.lower()} <= {"true", "false"}):
        return value
    if isinstance(value, bool):
        return str(value) if old in ("True", "False") else str(value).lower()
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
