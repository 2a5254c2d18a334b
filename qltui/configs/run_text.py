"""New values in the text of a ``run.yaml``, with everything else left as it stands: comments, order, indentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config.run_config import ALIASES, FIELDS
from qltui.configs.foreign import edit_yaml
from qltui.configs.foreign.edits import UNWRITABLE, yaml_value
from qltui.configs.foreign.keys import Unreadable
from qltui.configs.foreign.plain_yaml import read_plain
from qltui.configs.foreign.yaml_keys import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qltui.configs.foreign.keys import Entry


def with_values(text: str, patch: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The text with new values by dotted path, and the paths that could not be written, with the reason."""
    missing: dict[str, str] = {}
    for path, value in patch.items():
        new = _with_value(text, path, value)
        if new is None:
            missing[path] = "can't be rewritten by itself in this file"
        else:
            text = new
    return text, missing


def _with_value(text: str, path: str, value: Any) -> str | None:
    before = _said(text)
    names = {path, *(alias for alias, meant in ALIASES.items() if meant == path)}
    key = next((name for name in before if name in names), None)
    if value == FIELDS[path].default and value is None:  # nothing said is how one says nothing
        if key is None:
            return text
        new, written = edit_yaml.remove(text, key), None
    elif key is not None:
        new, written = _exchanged(text, before[key], value), key
    else:
        written = _new_key(before, path)
        section = written.split(".")[0]
        is_taken = section in before and section != written  # by the short name of another field
        put = edit_yaml.append if is_taken else edit_yaml.insert
        new = put(text, written, yaml_value(value))
    if new is None:
        return None
    expected = {name: entry.value for name, entry in before.items() if name != key}
    if written is not None:
        expected[written] = value
    try:
        now = _said(new)
    except Unreadable:
        return None
    return new if {name: entry.value for name, entry in now.items()} == expected else None


def _exchanged(text: str, entry: Entry, value: Any) -> str | None:
    if entry.start < 0:
        return edit_yaml.fill(text, entry.key, yaml_value(value))
    if text[entry.start] in UNWRITABLE:
        return None
    return text[: entry.start] + yaml_value(value, text[entry.start : entry.end]) + text[entry.end :]


def _new_key(said: Mapping[str, Entry], path: str) -> str:
    """How a field is written that the file doesn't name: as its neighbours are, in their section or by a short name."""
    section = path.split(".")[0]
    if any(name.startswith(f"{section}.") for name in said) or section not in ALIASES:
        return path
    alias = next((alias for alias, meant in ALIASES.items() if meant == path), None)
    return alias or path


def _said(text: str) -> dict[str, Entry]:
    entries = read_plain(text)
    found = entries if entries is not None else read_yaml(text, "").entries
    return {entry.key: entry for entry in found if entry.value is not None}
