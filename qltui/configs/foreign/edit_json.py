"""Keys into JSON text and out of it, everything else left as it stands: comments, order, indentation."""

from __future__ import annotations

import re
from typing import NamedTuple

from qltui.configs.foreign.json_keys import TOKEN


class _Member(NamedTuple):
    """One key of an object with its value, by where they stand."""

    start: int
    end: int


class _Object(NamedTuple):
    start: int
    """Of its opening brace."""
    end: int
    """Of its closing brace."""
    members: list[_Member]
    last_comma: int
    """After the comma that follows the last member; 0 where there is none, as JSON wants it."""


def insert(text: str, key: str, value: str) -> str | None:
    """The text with a dotted key that it lacks, at the end of its object; objects it lacks are made."""
    objects, _ = _Walk(text).walked()
    *sections, _ = parts = key.split(".")
    depth = next((depth for depth in range(len(sections), -1, -1) if ".".join(sections[:depth]) in objects), None)
    if depth is None:
        return None
    holder = objects[".".join(sections[:depth])]
    is_spread = "\n" in text[holder.start : holder.end]
    inner = _indent(text, holder.members[0].start) if holder.members else _indent(text, holder.start) + "  "
    new = _nested(parts[depth:], value, inner if is_spread else None)
    if not holder.members:
        return f"{text[: holder.start + 1]}{new}{text[holder.end :]}"
    last = holder.last_comma or holder.members[-1].end
    comma = "" if holder.last_comma else ","
    if not is_spread:
        return f"{text[:last]}{comma} {new}{text[last:]}"
    before_brace = text.rfind("\n", 0, holder.end)
    at = max(before_brace, last)  # comments after the last member stay beside it
    return f"{text[:last]}{comma}{text[last:at]}\n{inner}{new}{text[at:]}"


def remove(text: str, key: str) -> str | None:
    """The text without a dotted key, its value and its comma."""
    objects, members = _Walk(text).walked()
    member = members.get(key)
    if member is None:
        return None
    start, end = member
    siblings = objects[key.rpartition(".")[0]].members
    following = re.compile(r"\s*,").match(text, end)
    if following:
        end = following.end()
    elif len(siblings) > 1:
        start = text.rindex(",", 0, start)
    line = text.rfind("\n", 0, start) + 1
    if following and not text[line:start].strip():
        rest = re.compile(r"[ \t]*\r?\n").match(text, end)
        if rest:
            return text[:line] + text[rest.end() :]
    return text[:start] + text[end:]


def _nested(names: list[str], value: str, indent: str | None) -> str:
    """``"a": {"b": value}``; over several lines where ``indent`` is that of the first."""
    name, *rest = names
    if not rest:
        return f'"{name}": {value}'
    if indent is None:
        return f'"{name}": {{{_nested(rest, value, None)}}}'
    deeper = indent + "  "
    return f'"{name}": {{\n{deeper}{_nested(rest, value, deeper)}\n{indent}}}'


def _indent(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip())]


class _Walk:
    """Objects and members of a text that is known to be JSON, by dotted key."""

    def __init__(self, text: str) -> None:
        self.tokens = [match for match in TOKEN.finditer(text) if match.lastgroup not in ("space", "comment")]
        self.at = 0
        self.objects: dict[str, _Object] = {}
        self.members: dict[str, _Member] = {}

    def walked(self) -> tuple[dict[str, _Object], dict[str, _Member]]:
        self._object("")
        return self.objects, self.members

    def _object(self, key: str) -> None:
        start = self.tokens[self.at].start()
        self.at += 1
        members: list[_Member] = []
        last_comma = 0
        while (word := self.tokens[self.at].group()) != "}":
            if word == ",":
                last_comma = self.tokens[self.at].end()
                self.at += 1
                continue
            last_comma = 0
            name = f"{key}.{word[1:-1]}" if key else word[1:-1]
            begun = self.tokens[self.at].start()
            self.at += 2  # the key and its colon
            self._value(name)
            members.append(_Member(begun, self.tokens[self.at - 1].end()))
            self.members[name] = members[-1]
        self.objects[key] = _Object(start, self.tokens[self.at].start(), members, last_comma)
        self.at += 1

    def _value(self, key: str) -> None:
        word = self.tokens[self.at].group()
        if word == "{":
            self._object(key)
        elif word == "[":
            self.at += 1
            while self.tokens[self.at].group() != "]":
                self._value(f"{key}[]")
                self.at += self.tokens[self.at].group() == ","
            self.at += 1
        else:
            self.at += 1
