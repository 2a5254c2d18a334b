"""Options into a command line and out of it, everything else left as it stands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qltui.configs.foreign.keys import Entry


def insert(text: str, options: Sequence[Entry], key: str, value: str, *, is_name: bool = False) -> str | None:
    """The text with an option after the last of ``options`` that stands in it; None where none does.

    A dotted key becomes an option that holds JSON, unless it ``is_name`` of an option as it stands.
    """
    end = max((option.end for option in options if option.end > 0), default=0)
    if not end:
        return None
    name, *inside = [key] if is_name else key.split(".")
    if inside:
        value = f"'{_json(inside, value)}'"
    line = text[text.rfind("\n", 0, end) + 1 : end]
    is_spread = "\\\n" in text[text.rfind("\n", 0, end) - 1 : end + 200]
    indent = line[: len(line) - len(line.lstrip())]
    gap = f" \\\n{indent}" if is_spread and indent else " "
    return f"{text[:end]}{gap}--{name} {value}{text[end:]}"


def remove(text: str, option: Entry) -> str | None:
    """The text without an option and its value; None where they came out of a variable."""
    if option.start < 0:
        return None
    name = re.escape(option.key).replace("_", "[-_]")
    space = r"(?:\\\r?\n|\s)"
    between = "" if option.value is True and option.start == option.end else f"(?:=|{space}+)"
    match = re.search(rf"{space}+--?{name}{between}$", text[: option.start])
    return text[: match.start()] + text[option.end :] if match else None


def _json(names: list[str], value: str) -> str:
    name, *rest = names
    return f'{{"{name}": {_json(rest, value) if rest else value}}}'
